"""One HTTP connection: its bytes, its body, its errors, its end."""
