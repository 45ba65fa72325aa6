"""The demo and the archives of look-alikes that it and the tests use.

In: this repository's recipes and the modules of `samples`. Out: upstream files that look like the published ones, an
archive that builds from them (`lookalikes`), and a clone of that archive with its three doors open (`run`).
"""
