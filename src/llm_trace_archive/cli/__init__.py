"""The command line: `main` is the program, one module per family of commands, no logic.

Exit codes: 0 good, 1 findings, 2 wrong use or environment. `options` holds what several commands share,
`terminal` what people see.
"""
