"""Zenodo, or another InvenioRDM server.

Enters: a bundle, or an archive whose next version needs a DOI. Leaves: a draft or a published record with exactly the
bundle's files. Read in this order: `release`, `metadata`, `deposit`, `invenio` (the client), `answers`.
"""
