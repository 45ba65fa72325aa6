"""From built to published: `selection` says what a release holds, `contents` makes all of it but the tables, `gate`
decides whether it may leave, `pack` writes it, `bundle` is the folder that both targets get, `zenodo` and
`hub` send it, `record` writes back where it is, `status` compares. `commands` are the commands.
"""
