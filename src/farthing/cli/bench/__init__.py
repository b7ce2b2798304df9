"""`farthing bench`: measures how fast a model runs on this machine.

In: a model, or the shape of one. Out: a table, and one JSON line. It runs the engine directly: tokenising, HTTP and
waiting in queues are not measured.
"""
