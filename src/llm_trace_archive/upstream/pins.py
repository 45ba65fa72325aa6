"""Pins: nothing is read before its size and hash are those of the recipe."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import BadUpstream
from ..core.files import hash_file, hash_name, open_regular
from ..core.recipe import UpstreamFile

HEAD = 1024  # bytes that show what a file is

# What a file begins with, what that makes it, and the suffixes of names that promise it.
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


def require_pin(file: UpstreamFile) -> None:
    """Raise BadUpstream if the recipe gives no hash of the file."""
    if file.pin is None:
        raise BadUpstream(
            file.trace,
            f"{file.name} is unpinned",
            expected=f"its sha256 in recipes/{file.trace}.toml",
            next=f"llm-traces pin {file.trace}, and review the diff; or llm-traces build --accept-unpinned",
        )


def compare(file: UpstreamFile, path: Path, is_cut_off: bool = False) -> BadUpstream | None:
    """Return how the bytes at `path` differ from the file's pin (hash, and size if known); None if they do not.

    is_cut_off  `path` holds only the beginning of something that is too long

    Raises OSError.
    """
    size = path.stat().st_size
    if is_cut_off:
        got = f"more than {size if file.bytes is None else file.bytes} bytes"
    elif file.bytes not in (None, size):  # no hash of a file that may be huge
        got = f"{size} bytes"
    else:
        kind, pinned = file.pin or ("sha256", "")
        found, size = hash_file(path, kind)
        if file.bytes in (None, size) and pinned in ("", found):
            return None
        got = f"{size} bytes, {hash_name(kind)} {found}"
    remark = _explain(file, path, size, is_cut_off)
    return BadUpstream(
        file.trace,
        f"{file.name} does not match recipes/{file.trace}.toml",
        expected=describe(file),
        got=f"{got}  ({remark})" if remark else got,
    )


def describe(file: UpstreamFile) -> str:
    """Return the file's pin as messages show it: size and hash, as far as they are known."""
    size = f"{file.bytes} bytes" if file.bytes is not None else ""
    return ", ".join(filter(None, (size, f"{hash_name(file.pin[0])} {file.pin[1]}" if file.pin else "")))


def _explain(file: UpstreamFile, path: Path, size: int, is_cut_off: bool) -> str:
    """Return what is wrong with the content, in a few words; empty if nothing is known."""
    what, suffixes = _recognise(path)
    if what and not file.name.lower().endswith(suffixes):
        return what
    if is_cut_off:
        return "not read to the end"
    if file.bytes is None:
        return ""
    if size < file.bytes:
        return f"truncated: {_format_bytes(file.bytes - size)} short"
    return f"{_format_bytes(size - file.bytes)} too long" if size > file.bytes else "same size, other content"


def _recognise(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return what the first bytes of a file show it to be (empty if unknown), and the suffixes that promise it."""
    with open_regular(path) as content:
        head = content.read(HEAD)
    if not head:
        return "an empty file", ()
    if not any(head):
        return "zero bytes at the start", ()
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next(((what, suffixes) for sign, what, suffixes in SIGNS if head.startswith(sign)), ("", ()))


def _format_bytes(number: int) -> str:
    return "1 byte" if number == 1 else f"{number} bytes"
