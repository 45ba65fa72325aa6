"""Figures computed from the rows of a table: how much of a trace a KV cache would have served.

Enters: ids of prefix blocks. Leaves: hit ratios. Read prefix (blocks, and LRU caches of every capacity in one pass),
eviction (FIFO and Belady), models (bytes of KV cache a token), kv_cache (the question as people ask it).
"""
