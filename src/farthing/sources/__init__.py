"""Where models come from: local folders, hubs, the package index. The result is a folder on this machine."""
