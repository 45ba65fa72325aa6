"""Parquet files that no library would write: footers that lie, byte by byte."""

from __future__ import annotations

from collections.abc import Callable


class Struct:
    """A struct in Thrift's compact protocol, to write footers that no library would."""

    def __init__(self) -> None:
        self.data = b""
        self.last = 0

    def add(self, field: int, kind: int, value: bytes) -> Struct:
        self.data += bytes([(field - self.last) << 4 | kind]) + value
        self.last = field
        return self

    def integers(self, **numbers: int) -> Struct:
        for name, number in numbers.items():
            self.add(int(name[1:]), 6, integer(number))
        return self

    def end(self) -> bytes:
        return self.data + b"\0"


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def integer(number: int) -> bytes:
    return varint((number << 1) ^ (number >> 63))


def listed(kind: int, items: list[bytes]) -> bytes:
    return bytes([0xF0 | kind]) + varint(len(items)) + b"".join(items)


def text(value: bytes) -> bytes:
    return varint(len(value)) + value


def small_int(struct: Struct, field: int, number: int) -> Struct:
    return struct.add(field, 5, integer(number))


def column(name: bytes, kind: int, length: int = 0) -> bytes:
    struct = small_int(Struct(), 1, kind)
    if length:
        small_int(struct, 2, length)
    return small_int(struct, 3, 1).add(4, 8, text(name)).end()


def whole(footer: bytes, body: bytes = b"") -> bytes:
    return b"PAR1" + body + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def crafted(rows: int, values: int, size: int, body: bytes, codec: int = 0, kind: int = 2, length: int = 0) -> bytes:
    """A Parquet file of one optional column in one page, which may lie about all of it."""
    inner = small_int(small_int(small_int(small_int(Struct(), 1, values), 2, 0), 3, 3), 4, 3)
    header = small_int(small_int(small_int(Struct(), 1, 0), 2, size), 3, len(body)).add(5, 12, inner.end()).end()
    meta = small_int(Struct(), 1, kind).add(2, 9, listed(5, [integer(0)])).add(3, 9, listed(8, [text(b"x")]))
    small_int(meta, 4, codec).integers(_5=values, _6=size, _7=len(header + body), _9=4)
    group = Struct().add(1, 9, listed(12, [Struct().integers(_2=4).add(3, 12, meta.end()).end()]))
    root = small_int(Struct().add(4, 8, text(b"s")), 5, 1).end()
    footer = small_int(Struct(), 1, 1).add(2, 9, listed(12, [root, column(b"x", kind, length)]))
    footer.integers(_3=rows).add(4, 9, listed(12, [group.integers(_2=size, _3=rows).end()]))
    return whole(footer.end(), header + body)


def nulls(count: int) -> bytes:
    """Definition levels of this many nulls."""
    run = varint(count << 1) + b"\0"
    return len(run).to_bytes(4, "little") + run


def nested(depth: int) -> bytes:
    group = small_int(small_int(Struct(), 3, 1).add(4, 8, text(b"a")), 5, 1).end()
    footer = small_int(Struct(), 1, 1).add(2, 9, listed(12, [group] * depth + [column(b"x", 1)]))
    return whole(footer.integers(_3=0).add(4, 9, listed(12, [])).end())


HUGE = 2**31 - 1
CRAFTED: dict[str, Callable[[], bytes]] = {
    "rows": lambda: crafted(HUGE, HUGE, 9, nulls(HUGE)),
    "more rows": lambda: crafted(2**60, HUGE, 9, nulls(HUGE)),
    "fewer than no rows": lambda: crafted(-5, 5, 9, nulls(5)),
    "fewer values than rows": lambda: crafted(100_000, 100_000, 9, nulls(5)),
    "page": lambda: crafted(100, 100, HUGE, b"(\xb5/\xfd" + bytes(40), codec=6),
    "width": lambda: crafted(1000, 1000, 9, nulls(1000), kind=7, length=2**30),
    "widths together": lambda: crafted(100_000, 100_000, 9, nulls(100_000), kind=7, length=2**20),
    "depth": lambda: nested(100_000),
}
