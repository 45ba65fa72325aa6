"""The upstream's own files, byte for byte."""

from __future__ import annotations

from pathlib import Path

from ...convert.restore import restore_to
from ...core.errors import BadUse
from ..dialect import Dialect
from ..rows import Rows


def _write(rows: Rows, path: Path) -> None:
    source, names = rows.table.source, rows.table.names
    if len(names) != 1 or rows.table.chain != f"open({names[0]!r})":
        raise BadUse(
            ", ".join(names),
            "is not as it was opened, so it is no upstream file",
            it_is=rows.table.chain,
            next="another dialect, such as canonical",
        )
    (workload,) = source.workloads
    for _ in restore_to(source.archive, workload, path, force=True):
        pass


DIALECT = Dialect(
    name="upstream",
    tool="whatever reads the publisher's own files",
    command="llm-traces restore TRACE/WORKLOAD -o {file}",
    needs=(),
    ignores="nothing",
    write=_write,
    formats=(),
    any_table=True,
    notes=("The bytes are the upstream's: requests that failed are in them.",),
)
