"""What the archive's checks and the Frictionless plugin both ask of a table. Imports nothing else of ours.

Enter: arrays, and for keys a function that reads the batches of a table. Leave: masks and numbers of rows. Read arrays
(Arrow as NumPy), splitmix (the mixing function), keys (repeats and references), constraints (what each one means),
thrift and parquet (footers, and the lies in them), pointer (what is there instead of content that is absent).
"""
