"""SQL over the workloads that are here: read-only, and without access to other files unless it is allowed."""

from __future__ import annotations

import contextlib
import difflib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import duckdb

from ..core.archive import Archive
from ..core.errors import BadUse
from ..core.recipe import Workload
from ..core.sql import quote, quote_name
from . import output, store
from .open import select
from .records import Source

REQUESTS = "requests"
_EXPLAIN = "EXPLAIN "


class Query:
    """A SELECT over workloads, each a view of its name; a trace is its requests, `requests` all that are here.

    sql          one SELECT of DuckDB
    allow_files  let it read other files and URLs too

    Raises BadUse for wrong SQL, which names line and column, Absent for workloads whose content is not here, Problem
    for corrupt content.
    """

    def __init__(self, archive: Archive, sql: str, allow_files: bool = False) -> None:
        sql.encode()  # DuckDB takes text that is not UTF-8 for a wrong type
        self.sql = sql.strip().removesuffix(";")
        self._archive = archive
        self._connection = _connect()
        with self._explain(0):
            views = self._find_views(_find_tables(self.sql, allow_files))
        workloads = {str(each): each for found in views.values() for each in found}.values()
        store.require(archive, workloads)
        _restrict(self._connection, [] if allow_files else [archive.path(each) for each in workloads], allow_files)
        for name, found in views.items():
            self._connection.execute(f"CREATE VIEW {quote_name(name)} AS {Source(archive, tuple(found)).sql}")
        with self._explain(len(_EXPLAIN)):
            self._connection.execute(f"{_EXPLAIN}{self.sql}")  # whose errors have a position
            self._relation = self._connection.sql(self.sql)

    def write_to(self, format: str, out: TextIO | None) -> bool:
        """Write the rows as `output.write_to` does. Raises BadUse, Problem."""
        with self._explain():
            return output.write_to(self._relation, format, out)

    def write_file(self, format: str, path: Path) -> None:
        """Write the rows as `output.write_file` does. Raises BadUse, Problem."""
        with self._explain():
            output.write_file(self._relation, format, path)

    def _find_views(self, tables: Iterable[str]) -> dict[str, list[Workload]]:
        """Return the workloads of each table that is one of the archive."""
        views: dict[str, list[Workload]] = {}
        for table in tables:
            if table == REQUESTS:
                views[table] = self._all_requests()
            elif table.partition("/")[0] in self._archive.recipes:
                views[table] = select(self._archive, (table,))
        return views

    def _all_requests(self) -> list[Workload]:
        """Return the workloads of requests that are here, without those that repeat the requests of another one."""
        here = [each for each in self._archive.select() if each.is_requests and self._archive.is_present(each)]
        if not here:
            raise BadUse(REQUESTS, "no workload is here", next="llm-traces list, then: llm-traces get TRACE")
        names = {str(each) for each in here}
        return [each for each in here if not names.intersection(each.same_requests_as)]

    @contextlib.contextmanager
    def _explain(self, before: int | None = None) -> Iterator[None]:
        """Raise BadUse for what DuckDB raises.

        before  how many characters stand before the SQL in what DuckDB runs; without it, no place is named
        """
        try:
            yield
        except duckdb.Error as error:
            message, where = _read_error(error, self.sql, before)
            details = {"at": where}
            if table := re.match(r"Table with name (\S+) does not exist", message):
                names = [REQUESTS, *self._archive.recipes, *map(str, self._archive.select())]
                near = difflib.get_close_matches(table[1], names, n=1, cutoff=0.5)
                message = f"there is no table {table[1]}"
                details |= {"nearest": f'"{near[0]}"' if near else "", "next": "llm-traces list names the tables"}
            if isinstance(error, duckdb.PermissionException):
                message = message.partition(" - ")[0]
                details |= {"next": "to read other files: --allow-files"}
            raise BadUse("SQL", message, **details) from None


def _connect(**config: str) -> duckdb.DuckDBPyConnection:
    # A name in SQL is never a variable of Python; errors have a position.
    return duckdb.connect(config={"python_enable_replacements": "false", "errors_as_json": "true", **config})


def _find_tables(sql: str, allow_files: bool) -> list[str]:
    """Return the names of the tables that the SQL reads. Raises BadUse unless it is one SELECT."""
    connection = _connect(enable_external_access="true" if allow_files else "false")
    kinds = [each.type.name for each in connection.extract_statements(sql)]
    if kinds != ["SELECT"]:
        raise BadUse("SQL", "only one SELECT can be run", got=", ".join(kinds) or "nothing")
    return sorted(connection.get_table_names(sql))


def _restrict(connection: duckdb.DuckDBPyConnection, paths: Iterable[Path], allow_files: bool) -> None:
    spill = Path(tempfile.gettempdir()) / f"llm-traces-query-{id(connection):x}"  # made only if memory runs out
    connection.execute(f"SET temp_directory = {quote(str(spill))}")
    if not allow_files:
        connection.execute(f"SET allowed_paths = [{', '.join(quote(str(each)) for each in paths)}]")
        connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _read_error(error: duckdb.Error, sql: str, before: int | None) -> tuple[str, str]:
    """Return what DuckDB says is wrong, in a line, and where."""
    _, _, text = str(error).partition(": ")
    try:
        found = json.loads(text)
        message, position = str(found["exception_message"]), found.get("position")
    except (ValueError, KeyError, TypeError):
        return (text or str(error)).partition("\n")[0], ""
    lines = message.splitlines()
    message = "; ".join(each.strip() for each in lines[:2] if each.strip())
    if position is None or before is None:
        return message, ""
    passed = sql.encode()[: int(position) - before].decode(errors="replace")
    return message, f"line {passed.count(chr(10)) + 1}, column {len(passed) - passed.rfind(chr(10))}"
