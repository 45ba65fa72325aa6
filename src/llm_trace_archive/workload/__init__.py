"""The fourth door: open workloads in Python and the shell, query and measure them.

Enters: names of workloads, in a clone or in any virtual environment. Leaves: `Records` and `Requests`, lazy tables that
DuckDB reads, what is measured on them, and workloads of one's own. Read open (names to tables), store (where the
content is, and how it gets there), records (the tables), shape (steps from one table to the next), save (the files of
shaped workloads).
"""
