"""The report: a folder of pages that shows workloads, without a server and without asking another host.

Enters: tables of requests. Leaves: a folder with an overview, a page that compares, a page for each workload, and each
plot as CSV, SVG and PNG. Read site (what goes where), pages (what stands on them), image (plots as files).
"""
