"""The bulk job behind `farthing embed`: read rows, embed them in chunks, commit each chunk, assemble the output.

`job` runs it. `farthing.toolkit.records` is the input side, `writer` and `write_*` are the output side. `folder` keeps
finished chunks on disk, and `definition` says when two runs are the same job.
"""
