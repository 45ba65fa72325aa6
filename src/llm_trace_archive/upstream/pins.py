"""Pins: nothing is parsed before its size and hash are the recipe's. What fails is moved aside, not deleted."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import BadUpstream
from ..core.files import hash_file, hash_name, move
from ..core.recipe import UpstreamFile

HEAD = 1024  # bytes that tell what a file is
REASON = ".reason.txt"  # what the name of a quarantined file is followed by in that of its reason

# What a file begins with, what that makes it, and the suffixes of names for which it is no surprise.
SIGNS: tuple[tuple[bytes, str, tuple[str, ...]], ...] = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the data", ()),
    (b"<!doctype html", "an HTML page, not the data", (".html",)),
    (b"<html", "an HTML page, not the data", (".html",)),
    (b"<?xml", "an XML document, not the data", (".xml",)),
    (b"/annex/objects/", "a git-annex pointer, not the data", ()),
    (b"\x1f\x8b", "gzip data", (".gz", ".tgz")),
    (b"\x28\xb5\x2f\xfd", "zstd data", (".zst",)),
    (b"\xfd7zxz\x00", "xz data", (".xz",)),
    (b"pk\x03\x04", "a zip archive", (".zip", ".xlsx")),
    (b"par1", "Parquet data", (".parquet",)),
)


def _sign(path: Path) -> tuple[str, tuple[str, ...]] | None:
    """What a file seems to be by its first bytes, and the endings of names that this fits; None if nothing is known."""
    with path.open("rb") as content:
        head = content.read(HEAD)
    if not head:
        return "an empty file", ()
    if not any(head):
        return "nothing but zero bytes at its start", ()
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next(((what, suffixes) for sign, what, suffixes in SIGNS if head.startswith(sign)), None)


def require_pin(file: UpstreamFile) -> None:
    """Raise BadUpstream if the recipe gives no hash of the file."""
    if file.pin is None:
        raise BadUpstream(
            file.trace,
            f"{file.name} is unpinned",
            expected=f"its sha256 in recipes/{file.trace}.toml",
            next=f"llm-traces pin {file.trace}, and review the diff; or llm-traces build --accept-unpinned",
        )


def check(file: UpstreamFile, path: Path, *, accept_unpinned: bool = False, whole: bool = True) -> None:
    """Raise BadUpstream unless the bytes at `path` are those the recipe pins. Raises OSError if it can't be read.

    `accept_unpinned`: without a hash only the size is checked, if it is known.
    `whole`: False if `path` holds only the beginning of something longer than it may be.
    """
    if not accept_unpinned:
        require_pin(file)
    kind, pinned = file.pin or ("sha256", "")
    found, size = hash_file(path, kind)
    if whole and file.bytes in (None, size) and pinned in ("", found):
        return
    expected = [
        f"{file.bytes} bytes" if file.bytes is not None else "",
        f"{hash_name(kind)} {pinned}" if pinned else "",
    ]
    more = f"more than {size if file.bytes is None else file.bytes} bytes"
    got = f"{size} bytes, {hash_name(kind)} {found}" if whole else more
    remark = _remark(file, path, size, whole)
    raise BadUpstream(
        file.trace,
        f"{file.name} does not match recipes/{file.trace}.toml",
        expected=", ".join(filter(None, expected)),
        got=f"{got}  ({remark})" if remark else got,
    )


def _remark(file: UpstreamFile, path: Path, size: int, whole: bool) -> str:
    sign = _sign(path)
    if sign and not file.name.lower().endswith(sign[1] or ("\0",)):
        return sign[0]
    if not whole:
        return "not read to its end"
    if file.bytes is None:
        return ""
    if size < file.bytes:
        return f"truncated: {_bytes(file.bytes - size)} short"
    return f"{_bytes(size - file.bytes)} too long" if size > file.bytes else "same size, other content"


def _bytes(number: int) -> str:
    return "1 byte" if number == 1 else f"{number} bytes"


def quarantine(path: Path, folder: Path, reason: str, name: str | None = None) -> Path:
    """Move a wrong file to `<folder>/quarantine/<first 12 of its sha256>-<name>`, and return that path.

    The reason stands next to it in `<the same>.reason.txt`, from before the file is there. `name` is the upstream's,
    where `path` is named otherwise. `folder` must be on the same file system. Raises OSError.
    """
    found, _ = hash_file(path)
    aside = folder / "quarantine" / f"{found[:12]}-{(name or path.name).replace('/', '_')}"
    aside.parent.mkdir(parents=True, exist_ok=True)
    aside.with_name(aside.name + REASON).write_text(reason.rstrip() + "\n", encoding="utf-8")
    move(path, aside)
    return aside
