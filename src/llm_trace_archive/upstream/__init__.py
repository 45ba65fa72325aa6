"""Upstream files: a file of a recipe, with its pin and its URLs, enters; the path of verified bytes leaves.

Read `sources` (the order in which places are tried), then what it uses: `pins` (verification), `cache` (the folder that
keeps the files), `download` (one URL into one file), `hub` (files of the Hugging Face Hub), `http` (one request, in a
`session`) and `rate` (the speed limit). `probe` finds out whether files are still available, `renew` is llm-traces pin.
"""
