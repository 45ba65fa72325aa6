"""The Hugging Face Hub.

Enters: a bundle. Leaves: one commit in a dataset repo with exactly its files, and a tag. Read in this order: `release`,
`errors`.
"""
