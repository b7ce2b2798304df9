"""One folder per dialect: its routes read a body, ask `answer` for the answer, and write it in the dialect's shape."""
