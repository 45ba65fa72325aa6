"""What every other package knows: an archive, its recipes and schemas, files, links and errors.

Enters: the folder of an archive and the environment. Leaves: `Archive`, `Recipe`, `Workload`, `Table`, `Problem`.
Read errors, documents (JSON and text, read with limits, and JSON Schemas), recipe (recipe_file reads one), table_schema
and schema, archive, catalogue; then files, settings, git, links, table.
"""
