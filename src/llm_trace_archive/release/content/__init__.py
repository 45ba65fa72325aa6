"""What a release holds, before anything is written.

Enters: an archive. Leaves: `Contents`, which lists the tables to copy and holds every text. Reads no table. Read in
this order: `selection`, `contents`, then one module per file that is written: `notice`, `readme`, `croissant`, `crate`.
`citation` reads CITATION.cff, and puts a version's DOI into it.
"""
