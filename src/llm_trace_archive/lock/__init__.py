"""From pinned upstream bytes to the lock, and back to the question whether the lock is true.

Enters: an archive, workloads, and the sources of upstream files. Leaves: checked Parquet files under `data/`,
`datapackage.json`, and everything generated from it. Read build (the whole run on one page), describe with card and
pages (what is generated), validate (runs the checks, and rebuilds).
"""
