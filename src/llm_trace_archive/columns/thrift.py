"""Structs of Thrift's compact protocol, which Parquet's footers and page headers are: field ids and values."""

from __future__ import annotations

import struct
from typing import Any

DEEPEST = 32  # a footer needs 8 levels
STOP, TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12
INTEGERS = (4, 5, 6)


def read_struct(data: bytes, start: int = 0, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Return the fields of a struct by id, and where it ends. Raises ValueError if it is none, or is cut off."""
    if depth > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST} levels")
    fields: dict[int, Any] = {}
    number, place = 0, start
    while True:
        head, place = _byte(data, place)
        kind = head & 15
        if kind == STOP:
            return fields, place
        if head >> 4:
            number += head >> 4
        else:
            number, place = _integer(data, place)
        if kind in (TRUE, FALSE):
            fields[number] = kind == TRUE
        else:
            fields[number], place = _read(kind, data, place, depth + 1)


def _read(kind: int, data: bytes, place: int, depth: int) -> tuple[Any, int]:
    if kind in INTEGERS:
        return _integer(data, place)
    if kind in (TRUE, FALSE, BYTE):  # a boolean in a list
        return _byte(data, place)
    if kind == BINARY:
        size, place = _unsigned(data, place)
        return _slice(data, place, size), place + size
    if kind == DOUBLE:
        return struct.unpack("<d", _slice(data, place, 8))[0], place + 8
    if kind in (LIST, SET):
        head, place = _byte(data, place)
        count = head >> 4
        if count == 15:
            count, place = _unsigned(data, place)
        items = []
        for _ in range(count):
            item, place = _read(head & 15, data, place, depth)
            items.append(item)
        return items, place
    if kind == STRUCT:
        return read_struct(data, place, depth)
    raise ValueError(f"byte {place}: a field of type {kind}, which Parquet does not have")


def _byte(data: bytes, place: int) -> tuple[int, int]:
    if place >= len(data):
        raise ValueError("cut off")
    return data[place], place + 1


def _slice(data: bytes, place: int, size: int) -> bytes:
    if place + size > len(data):
        raise ValueError("cut off")
    return data[place : place + size]


def _unsigned(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while shift < 70:
        byte, place = _byte(data, place)
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
        shift += 7
    raise ValueError(f"byte {place}: a number of more than 64 bits")


def _integer(data: bytes, place: int) -> tuple[int, int]:
    number, place = _unsigned(data, place)
    return (number >> 1) ^ -(number & 1), place
