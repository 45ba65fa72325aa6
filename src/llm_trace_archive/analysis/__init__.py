"""Figures computed from a table: `prefix` computes how much of a trace a prefix cache would have served."""
