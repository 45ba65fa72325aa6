"""What a table says: schema, rows, keys, relations, expectations and published figures."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.archive import Archive
from ..core.recipe import Workload
from ..core.table import UNREADABLE, Table
from .facts import check_facts
from .figures import check_figures
from .integrity import find_damage, unreadable
from .keys import check_keys
from .layout import check_layout
from .result import Result
from .schema import check_columns, check_rows, check_upstream


def check_contents(archive: Archive, workload: Workload, table: Table) -> Iterator[Result]:
    """Check layout, schema, rows, keys, relations, expectations and published figures of a table.

    Stops after the columns if they differ, as the rest would be about another table.
    """
    schema = archive.schema(workload)
    locked = archive.locked.get(str(workload))
    try:
        yield from check_layout(table.path)
        columns = list(check_columns(workload, schema, table))
        yield from columns
        if all(each.holds for each in columns):
            rows = locked["facts"]["rows"] if locked else table.rows
            yield from check_rows(workload, schema, table, rows)
            yield from check_upstream(workload, schema, table, rows)
            if locked:
                yield from check_facts(locked, table)
            yield from check_keys(archive, workload, schema, table)
            yield from check_figures(workload, table)
    except UNREADABLE as error:
        yield from list(find_damage(table)) or [unreadable("every page", error)]
