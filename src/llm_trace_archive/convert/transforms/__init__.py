"""Transforms: what one rule of a recipe does to the values of its upstream fields.

In: batches of one field, as text or as JSON's own types. Out: our columns; and from these the text of the field again.
Read `base`, then `reversible` (with `numbers`), `derived` (with `block_ids`), and `select`, which picks one for a rule.
"""
