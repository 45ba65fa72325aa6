"""Upstream formats, one module each, with reading and writing side by side.

In: the verified bytes of one upstream file. Out: its `Layout`, and its rows as batches of upstream fields. Backwards:
the layout and the text of the fields give the file's bytes again. Read `layout`, `csv` (with `text`), `registry`.
"""
