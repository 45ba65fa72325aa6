"""git-annex and DataLad: content that a clone fetches, locks and publishes.

Enters: an `Archive` in a git repository. Leaves: git-annex's records, links, commits, and content in the annex or at a
public place. Read setup and branch (the records that it reads); get; special_remote, the program that git-annex runs,
remote, its answers, and messages, how failures travel; then lock and publish.
"""
