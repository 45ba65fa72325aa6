"""From built to published: `gate` decides what may leave, `bundle` is the folder that both targets get, `zenodo` and
`hub` send it, `record` writes back where it is, `status` compares. `commands` are the commands.
"""
