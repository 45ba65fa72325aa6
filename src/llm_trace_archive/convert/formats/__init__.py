"""Upstream formats: one file a format, reading and writing side by side.

A format reads a file's `Layout`, then its rows as batches of upstream fields, and writes the file's bytes again from
the layout and the text of those fields.
"""
