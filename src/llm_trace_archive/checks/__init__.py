"""What the archive claims, against what it holds: one `Result` for each check, whether it holds or not.

Enter: an archive, a workload, its open table. Leave: results, and their reports. Read result (what a check found; rows,
its first rows), package (everything but rows), integrity (the bytes), contents (what a readable table says: schema,
keys, relations, figures), provenance (the upstream files it restores), report.
"""
