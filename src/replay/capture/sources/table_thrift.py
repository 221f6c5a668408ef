"""Thrift's compact protocol, as much of it as Parquet's own notes need: integers, in their structs and lists.

Protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md. What is read here is read a
second time by Arrow, and has to mean the same to both: so integers wrap as theirs do, and a field of another type than
is asked for is none.
"""

from collections.abc import Iterator
from typing import Any

I32, I64, LIST, STRUCT = 5, 6, 9, 12

# By the number of a field and its type.
Fields = dict[tuple[int, int], Any]

_TRUE, _FALSE, _BYTE, _I16, _DOUBLE, _BINARY, _SET = 1, 2, 3, 4, 7, 8, 10
_BITS = {_I16: 16, I32: 32, I64: 64}
_INTEGER_BYTES = 10
_DEEPEST = 12


class Malformed(ValueError):
    """It is no Thrift."""


class Compact:
    """Values, one after another. Raises IndexError where the data ends before they do, Malformed where it is none."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self, depth: int = 0) -> Fields:
        """The integers, structs and lists of a struct; the other fields are passed over."""
        fields: Fields = {}
        for number, kind in self._heads():
            value = self._value(kind, depth + 1)
            if value is not None:
                fields[number, kind] = value
        return fields

    def structs_in(self, wanted: int) -> Iterator[Fields]:
        """The structs of a list, which is the field ``wanted`` of a struct, one by one."""
        for number, kind in self._heads():
            if number == wanted and kind == LIST:
                count, inner = self._list()
                for _ in range(count if inner == STRUCT else 0):
                    yield self.struct()
                return
            self._value(kind, 1)

    def _heads(self) -> Iterator[tuple[int, int]]:
        number = 0
        while (head := self._byte()) & 0x0F:
            number = _wrapped(number + (head >> 4), 16) if head >> 4 else self._integer(16)
            yield number, head & 0x0F

    def _value(self, kind: int, depth: int) -> Any:
        if depth > _DEEPEST:
            raise Malformed("nested too deep")
        if kind in _BITS:
            return self._integer(_BITS[kind])
        if kind == STRUCT:
            return self.struct(depth)
        if kind in {LIST, _SET}:
            count, inner = self._list()
            return [self._value(_BYTE if inner in {_TRUE, _FALSE} else inner, depth + 1) for _ in range(count)]
        if kind in {_DOUBLE, _BINARY, _BYTE}:
            self._pass({_DOUBLE: 8, _BYTE: 1}.get(kind) or self._varint())
        elif kind not in {_TRUE, _FALSE}:
            raise Malformed("a type that there is not")
        return None

    def _list(self) -> tuple[int, int]:
        head = self._byte()
        return head >> 4 if head >> 4 != 15 else self._varint(), head & 0x0F

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value = 0
        for place in range(_INTEGER_BYTES):
            byte = self._byte()
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                return value
        raise Malformed("a number that is too long")

    def _integer(self, bits: int) -> int:
        value = self._varint() & ((1 << (64 if bits == 64 else 32)) - 1)
        return _wrapped((value >> 1) ^ -(value & 1), bits)

    def _pass(self, count: int) -> None:
        self.at += count
        if self.at > len(self._data):
            raise IndexError


def _wrapped(number: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (number + half) % (2 * half) - half
