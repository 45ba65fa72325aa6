"""What a table says, once its file can be opened: schema, rows, keys, relations, expectations, published figures."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.archive import Archive
from ..core.recipe import Workload
from ..core.table import UNREADABLE, Table
from .figures import figures
from .integrity import READABLE, damage
from .keys import keys
from .result import Result
from .schema import table_checks


def contents(archive: Archive, workload: Workload) -> Iterator[Result]:
    """Schema, rows, keys, relations, expectations and published figures of a file that can be opened.

    Columns of other names or types end them: the rest would be about another table.
    """
    path = archive.root / workload.path
    schema = archive.schema(workload)
    try:
        table, of_form = Table(path), True
        locked = archive.locked.get(str(workload))
        for result in table_checks(workload, schema, table, locked["facts"]["rows"] if locked else table.rows):
            of_form = of_form and (result.holds or result.check != "schema" or not isinstance(result.found, str))
            yield result
        if of_form:
            yield from keys(archive, workload, schema, table)
            yield from figures(workload, table)
    except UNREADABLE as error:
        yield from list(damage(path)) or [
            Result("integrity", "every page", READABLE, 0, str(error)[:200], "the page's own checksum")
        ]
