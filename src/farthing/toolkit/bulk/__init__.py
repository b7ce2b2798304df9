"""The bulk job behind `farthing embed`: read rows, embed them in chunks, commit each chunk, assemble the output.

`job` runs it; `rows`, `reader` and the modules `read_*` are the input side, `writer` and `write_*` the output side,
`folder` keeps what is done on disk, `definition` says what makes two runs the same job.
"""
