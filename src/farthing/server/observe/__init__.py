"""What is told of requests: log lines, metrics, traces."""
