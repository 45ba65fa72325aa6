"""From a built archive to a published version.

Enters: a tagged archive with its tables, whose CITATION.cff names a reserved DOI. Leaves: a bundle, a record at Zenodo,
a revision on the Hugging Face Hub, and their URLs in the lock. Read in this order: `content`, `limits`, `gate`,
`bundle`, `record`, `differences`, `zenodo`, `hub`, `status`.
"""
