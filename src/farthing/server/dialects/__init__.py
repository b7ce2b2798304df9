"""One file a dialect: routes that read a body, ask `farthing.server.dialects.answer` for the answer, and write it in its shape."""
