"""Who may call: keys, addresses behind proxies, and web pages."""
