"""Plots of a table of requests: their rows, which DuckDB aggregates, and their charts, which Vega-Lite draws.

Enters: `Requests`. Leaves: a `Plot`, which notebooks and `report` show. Read draw (what plots there are), then
arrivals, tokens, sessions, serving and prefix (the rows of each), and chart (the specifications).
"""
