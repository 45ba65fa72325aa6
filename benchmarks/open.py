"""Measure opening and reading a table of 55 million requests, side by side with the same typed by hand.

python benchmarks/open.py [--rows N] [--runs N]

The table is synthetic, has every column of azure-2024/conversation, and is made in a folder for temporary files. Each
pair runs in turn, in processes of their own where start-up counts; the medians are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

import llm_trace_archive as lta
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.files import hash_file

ROOT = Path(__file__).parent.parent
NAME = "azure-2024/conversation"
SHARES = [0.5, 0.9, 0.95, 0.99]
TYPES = {"string": "VARCHAR", "large_string": "VARCHAR", "int64": "BIGINT", "int32": "INTEGER", "int16": "SMALLINT",
         "int8": "TINYINT", "bool": "BOOLEAN", "double": "DOUBLE"}  # fmt: skip


def make_archive(root: Path, rows: int) -> Path:
    """Write an archive whose only content is a table of so many requests; return the path of the table."""
    for name in ("recipes", "schemas"):
        shutil.copytree(ROOT / name, root / name)
    archive = Archive(root)
    (workload,) = archive.select([NAME])
    values = {
        "trace": f"'{workload.trace}'",
        "workload": f"'{workload.name}'",
        "request_id": "i",
        "segment": "0::SMALLINT",
        "arrival_us": "i * 11000 + hash(i) % 11000",
        "input_tokens": "(exp(7 + 1.2 * sqrt(-2 * ln((hash(i, 1) % 1000000 + 1) / 1000001)) * "
        "cos(2 * pi() * (hash(i, 2) % 1000000) / 1000000)))::BIGINT % 100000",
        "output_tokens": "(hash(i, 3) % 1000)::BIGINT",
    }
    columns = []
    for field in archive.schema(workload)["fields"]:
        kind = {"dictionary<string>": "VARCHAR", "list<int64>": "BIGINT[]"}.get(field["arrowType"]) or TYPES[
            field["arrowType"]
        ]
        columns.append(f"({values.get(field['name'], 'NULL')})::{kind} AS {field['name']}")
    path = archive.path(workload)
    path.parent.mkdir(parents=True)
    duckdb.execute(
        f"COPY (SELECT {', '.join(columns)} FROM range({rows}) AS t(i)) TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
    )
    return path


def seconds(work: Callable[[], object]) -> float:
    """Return how long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def timed_process(code: str, cwd: Path, environment: dict[str, str] | None = None) -> float:
    """Run Python code that prints seconds, and return them."""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, check=True, capture_output=True, text=True
    )
    return float(ran.stdout)


def install(home: Path, table: Path) -> dict[str, str]:
    """Unpack the wheel, put the table into a user's data folder, and return the environment of a program there."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(home)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = home.glob("*.whl")
    shutil.unpack_archive(wheel, home / "site", "zip")
    archive = Archive(home / "site/llm_trace_archive/archive", home / "data")
    (workload,) = archive.select([NAME])
    content = archive.path(workload)
    content.parent.mkdir(parents=True)
    os.link(table, content)
    content.with_suffix(".json").write_text(json.dumps({"hash": f"sha256:{hash_file(content)[0]}"}))
    own = {"PYTHONPATH": home / "site", "LLM_TRACES_DATA": home / "data", "LLM_TRACES_CACHE": home / "cache"}
    return os.environ | {name: str(value) for name, value in own.items()}


def by_hand(sql: str) -> object:
    """Run a statement as a user types it."""
    answer = duckdb.sql(sql)
    assert answer
    return answer.to_arrow_table()


def report(name: str, ours: list[float], theirs: list[float] | None = None) -> None:
    """Print medians, with the ratio to what was typed by hand."""
    median = statistics.median(ours)
    line = f"{name:<44} {median:8.3f} s  ({min(ours):.3f} to {max(ours):.3f})"
    if theirs:
        other = statistics.median(theirs)
        line += f"  by hand {other:8.3f} s  ratio {median / other:.2f}"
    print(line, flush=True)


START = "import time; started = time.perf_counter(); "
STOP = "; print(time.perf_counter() - started)"
FIRST_ROWS = f"import llm_trace_archive as lta; lta.open; {START}lta.open({NAME!r}).head()" + STOP
IMPORTS = {
    "import llm_trace_archive": START + "import llm_trace_archive" + STOP,
    "import, and load the engine": START + "import llm_trace_archive as lta; lta.open" + STOP,
    "import duckdb and pyarrow, by themselves": START + "import duckdb, pyarrow" + STOP,
    "first rows after import, in a clone": FIRST_ROWS,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=55_000_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "archive"
        path = make_archive(root, options.rows)
        os.chdir(root)
        print(f"{options.rows:,} rows, {path.stat().st_size / 1e6:.0f} MB, {os.cpu_count()} cores, "
              f"DuckDB {duckdb.__version__}")  # fmt: skip
        for name, code in IMPORTS.items():
            timed_process(code, root)  # warms up
            report(name, [timed_process(code, root) for _ in range(options.runs)])
        environment = install(Path(folder) / "installed", path)
        first, *others = [timed_process(FIRST_ROWS, Path(folder), environment) for _ in range(options.runs + 1)]
        report("the same without one, hashed before", [first])
        report("first rows after import, without a clone", others)

        opened = lta.open(NAME)
        assert isinstance(opened, lta.Requests)
        pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "percentiles": (
                lambda: opened.percentiles("input_tokens", SHARES),
                lambda: by_hand(f"SELECT quantile_disc(input_tokens, {SHARES}) FROM '{path}'"),
            ),
            "mean of a filter": (
                lambda: opened.filter("output_tokens > 500").fetch("SELECT avg(input_tokens) FROM rows"),
                lambda: by_hand(f"SELECT avg(input_tokens) FROM '{path}' WHERE output_tokens > 500"),
            ),
            "requests and tokens per second": (
                lambda: opened.rate("1s").arrow(),
                lambda: by_hand(
                    "SELECT arrival_us // 1000000 AS s, count(*), sum(input_tokens), sum(output_tokens) "
                    f"FROM '{path}' GROUP BY s ORDER BY s"
                ),
            ),
        }
        for name, (ours, theirs) in pairs.items():
            ours(), theirs()
            times = [(seconds(ours), seconds(theirs)) for _ in range(options.runs)]
            report(name, [one for one, _ in times], [two for _, two in times])
        report("profile", [seconds(lambda: opened.profile())])


if __name__ == "__main__":
    main()
