"""What the archive claims, against what it holds: one `Result` for each check, whether it holds or not.

Enter: an archive, a workload, its open table. Leave: results, and their reports. Read result (what a check found; rows,
its first rows), package (everything but rows: with entry, where the lock says a table comes from, links, what is under
data/, and licences, their texts), integrity (the bytes), contents (what a readable table says: layout, schema,
constants, statistics, the lock's facts, keys, relations, figures), provenance (the upstream files it restores),
rewrite, sensitive, report.
"""
