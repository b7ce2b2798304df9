"""From requests to batches and back: cleaning, tokenising, queueing, the worker thread, the public Embedder."""
