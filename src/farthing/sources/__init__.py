"""Where models come from: local folders, hubs, the package index. Ends with a folder on this machine."""
