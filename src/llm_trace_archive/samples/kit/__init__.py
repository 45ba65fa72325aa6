"""What the look-alikes are made of.

`draws` makes random integers, `distributions` token counts and arrivals of them, `conversations` prompts that share
blocks; `spell` turns columns into lines, and `shape` says how the lines of a file must look.
"""
