"""What the targets accept: each limit with its source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from ..checks.result import Result
from ..core.table import Table

GB, MIB = 10**9, 1 << 20
# One Zenodo record. https://help.zenodo.org/docs/deposit/manage-quota/; invenio.cfg of github.com/zenodo/zenodo-rdm:
# RDM_FILES_DEFAULT_QUOTA_SIZE and RDM_FILES_DEFAULT_MAX_FILE_SIZE are 50 * 10**9.
ZENODO = "https://help.zenodo.org/docs/deposit/manage-quota/"
ZENODO_BYTES = 50 * GB
ZENODO_FILES = 100
# The Hub refuses files of more than 50 GB and recommends at most 20. It recommends less than 100 files per commit, and
# a release is one commit; a folder holds at most 10,000 entries.
HUB = "https://huggingface.co/docs/hub/storage-limits"
HUB_FILE_BYTES = 20 * GB
HUB_FILES_PER_COMMIT = 99
HUB_ENTRIES_PER_FOLDER = 10_000
# The Hub's viewer fails on a row group of more than 300,000,000 bytes in memory ("max=286.10 MiB"). The archive writes
# smaller ones, for readers with little memory.
GROUP = "row groups as the archive writes them; the Hub's viewer accepts 286 MiB"
GROUP_BYTES = 64 * MIB


def check_sizes(sizes: Mapping[str, int]) -> Iterator[Result]:
    """Check a bundle of these files (path: bytes) against the limits of the targets."""
    folders = Counter(str(PurePosixPath(path).parent) for path in sizes)
    largest = max(sizes, key=lambda path: sizes[path])
    fullest, entries = folders.most_common(1)[0]
    yield _check("files in a Zenodo record", ZENODO_FILES, len(sizes), ZENODO)
    yield _check("bytes in a Zenodo record", ZENODO_BYTES, sum(sizes.values()), ZENODO)
    yield _check("files in a commit to the Hub", HUB_FILES_PER_COMMIT, len(sizes), HUB)
    yield _check(f"bytes of the largest file on the Hub, {largest}", HUB_FILE_BYTES, sizes[largest], HUB)
    yield _check(f"entries in the fullest folder on the Hub, {fullest}", HUB_ENTRIES_PER_FOLDER, entries, HUB)


def check_row_groups(table: Table) -> Iterator[Result]:
    """Check the size in memory of a table's largest row group."""
    largest = max((batch.nbytes for _, batch in table.groups()), default=0)
    yield _check("bytes in memory of the largest row group", GROUP_BYTES, largest, GROUP)


def _check(name: str, most: int, count: int, source: str) -> Result:
    limit = f"at most {most:,}"
    return Result("limits", f"{name} ({count:,})", limit, 0, limit if count <= most else f"{count:,}", source)
