"""One HTTP connection: its bytes, the bodies of its requests, its errors, and its end."""
