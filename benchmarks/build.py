"""Build the workloads whose upstream files are in a mirror; print wall time and peak memory of the process.

LLM_TRACES_MIRROR=DIR python benchmarks/build.py [--jobs N]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.lock.build import Built, build_all
from llm_trace_archive.upstream.sources import Sources


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--mirror", default=os.environ.get("LLM_TRACES_MIRROR"))
    arguments = parser.parse_args()
    if not arguments.mirror:
        parser.error("give --mirror DIR or set LLM_TRACES_MIRROR")
    source = Archive.find(Path(__file__).parent)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("recipes", "schemas"):
            shutil.copytree(source.root / name, root / name)
        archive = Archive(root)
        available = [
            workload
            for workload in archive.select()
            if all((Path(arguments.mirror) / workload.trace / file.name).exists() for file in workload.files)
        ]
        started = time.perf_counter()
        sources = Sources(cache=root / "cache", mirror=arguments.mirror, offline=True)
        built = [each for each in build_all(archive, available, sources, arguments.jobs) if isinstance(each, Built)]
        seconds = time.perf_counter() - started
    rows, size = sum(each.facts["rows"] for each in built), sum(each.upstream_bytes for each in built)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(built)} of {len(available)} workloads, {arguments.jobs} jobs, {rows:,} rows, {size / 1e6:.1f} MB")
    print(f"{seconds:.2f} s, {size / 1e6 / seconds:.1f} MB/s, peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
