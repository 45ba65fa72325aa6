"""Look-alikes: small synthetic upstream files in exactly the spelling of the published ones.

One module per trace, each with a `generate` that writes the files and, for files of lines, the `SHAPES` that every line
must have. In: a number of rows. Out: the same bytes on every machine. `kit` has what the modules share.
"""
