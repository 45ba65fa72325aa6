"""The gate: whether an archive may be released.

Enters: an archive and its upstream files. Leaves: a `Report` with every result; one finding stops the release. Read in
this order: `check`, `state`, `rights`, `sensitive`.
"""
