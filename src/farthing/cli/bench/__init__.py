"""`farthing bench`: how fast a model runs on this machine.

In: a model, or the shape of one. Out: a table, and one JSON line. It drives the engine itself: tokenising, HTTP and
waiting in queues are not measured.
"""
