"""Zenodo, or another InvenioRDM server.

Enters: a bundle. Leaves: a draft or a published record with exactly its files. Read in this order: `release`,
`metadata`, `deposit`, `invenio` (the client).
"""
