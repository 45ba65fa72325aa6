"""Export requests to the files that serving tools read: one dialect per tool, one module per dialect in `dialects`.

Enters: an opened or shaped table of requests, through the few methods of it that give rows and their sources. Leaves: a
file or a folder that the tool reads, and a text beside it that says how, and what was changed. Read dialect (what a
dialect is), registry (which there are), rows (which requests, on which clock, with which blocks), blocks (ids for other
block sizes), write (bytes), readme (the text), run (all of it in order).
"""
