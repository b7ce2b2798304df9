"""What the server tells of requests: log lines, metrics and traces."""
