"""The bundle: one folder that every target gets.

Enters: a report of the gate without findings. Leaves: a folder with SHA256SUMS, all of it or nothing. Read in this
order: `pack` (write it), `folder` (read it), `verify` (check before publishing that it is what the gate passed).
"""
