"""Logs of one's own as workloads: a recipe says how a log is read, and the result opens like any other.

Enters: a log, and a recipe of at most 60 lines with a section [log]. Leaves: a Parquet file of requests. Read reader
(lines to records), blocks (prompts to ids), importing (records to a workload); recipes/ has ready-made ones.
"""
