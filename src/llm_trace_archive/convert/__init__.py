"""From verified upstream files to the Parquet file of a workload, and back.

Forwards, `table` chains `read` (bytes to batches of upstream fields), `canonicalise` (fields to our columns) and
`parquet` (columns to the same bytes every time). Backwards, `restore` writes the upstream files again, and `prove`
compares them with the originals. `formats` does what depends on the file format, `transforms` what depends on a
recipe's rule: each works in both directions.
"""
