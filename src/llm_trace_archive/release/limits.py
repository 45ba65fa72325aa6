"""What the targets take: each limit with the place that states it."""

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
# The Hub refuses a file of more than 50 GB and recommends 20; it recommends less than 100 files a commit, and a release
# is one commit; a folder takes 10,000 entries.
HUB = "https://huggingface.co/docs/hub/storage-limits"
HUB_FILE_BYTES = 20 * GB
HUB_FILES_A_COMMIT = 99
HUB_ENTRIES_A_FOLDER = 10_000
# The Hub's viewer gives up on a row group of more than 300,000,000 bytes in memory ("max=286.10 MiB"). We write smaller
# ones, for readers with little memory.
GROUP = "row groups as the archive writes them; the Hub's viewer takes 286 MiB"
GROUP_BYTES = 64 * MIB


def size_results(sizes: Mapping[str, int]) -> Iterator[Result]:
    """The limits on what a bundle of these files (path: bytes) may be."""
    folders = Counter(str(PurePosixPath(path).parent) for path in sizes)
    largest = max(sizes, key=lambda path: sizes[path])
    fullest, entries = folders.most_common(1)[0]
    yield _at_most("files, for a Zenodo record", ZENODO_FILES, len(sizes), ZENODO)
    yield _at_most("bytes, for a Zenodo record", ZENODO_BYTES, sum(sizes.values()), ZENODO)
    yield _at_most("files, for one commit to the Hub", HUB_FILES_A_COMMIT, len(sizes), HUB)
    yield _at_most(f"bytes of the largest file, {largest}, for the Hub", HUB_FILE_BYTES, sizes[largest], HUB)
    yield _at_most(f"entries of the fullest folder, {fullest}, for the Hub", HUB_ENTRIES_A_FOLDER, entries, HUB)


def group_results(table: Table) -> Iterator[Result]:
    """The limit on the row groups of a table, by their size in memory."""
    largest = max((batch.nbytes for _, batch in table.groups()), default=0)
    yield _at_most("bytes in memory of the largest row group", GROUP_BYTES, largest, GROUP)


def _at_most(name: str, most: int, found: int, source: str) -> Result:
    """A result that tells the limit when it is passed, and the figure when it is not."""
    told = f"at most {most:,}"
    return Result("limits", f"{name} ({found:,})", told, 0, told if found <= most else f"{found:,}", source)
