"""Which callers are let in: keys, addresses behind proxies, and web pages."""
