"""The file format GGUF, read with bounds: its header, and whether the file is as long as that says.

Nothing but the header is read; weights are only measured.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from pathlib import Path
from typing import Any

from palaver.core.errors import ConfigError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_KEYS = 65_536
MAX_TENSORS = 1_048_576
MAX_DIMENSIONS = 4

STRING, ARRAY = 8, 9
LENGTH = struct.Struct("<Q")
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""The `struct` format of each type of value that is not a string or an array."""

F64 = 28
# fmt: off
TENSOR_TYPES = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), F64: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}
# fmt: on
"""Of each type of tensor: weights in a block, bytes of a block. Others are newer than this table."""


def unusable(path: Path, reason: str) -> ConfigError:
    """What is said of a file that is no model we can run."""
    return ConfigError(f"The model file {path} {reason}.", setting="model")


def read(path: Path, wanted: re.Pattern[str]) -> dict[str, Any]:
    """The values of the wanted keys of one file whose header and extent are in order. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise unusable(path, "is not a GGUF file")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Header(path, data).read(wanted)
    except FileNotFoundError:
        raise unusable(path, "does not exist") from None
    except OSError as error:
        raise unusable(path, f"cannot be read ({error.strerror or error})") from error
    except struct.error:
        raise unusable(path, "is truncated: it ends within its header") from None
    except UnicodeDecodeError as error:
        raise unusable(path, "is damaged: its header holds text that is not UTF-8") from error


class _Header:
    """A cursor over one file. Reading past the end raises struct.error."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        self.at = len(MAGIC)

    def read(self, wanted: re.Pattern[str]) -> dict[str, Any]:
        version = self._scalar("I")
        if version not in VERSIONS:
            raise unusable(self.path, "is of a GGUF version that is not supported")
        tensors, keys = self._scalar("Q"), self._scalar("Q")
        if keys > MAX_KEYS or tensors > MAX_TENSORS:
            raise unusable(self.path, "is damaged: its header counts more entries than any model has")
        values: dict[str, Any] = {}
        for _ in range(keys):
            key = self._bytes().decode()
            kind = self._scalar("I")
            if wanted.fullmatch(key):
                values[key] = self._value(kind)
            else:
                self._skip(kind)
        self._check_extent(tensors, values.get("general.alignment", 32))
        return values

    def _scalar(self, form: str) -> Any:
        (value,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def _bytes(self) -> bytes:
        return self._strings(1, keep=True)[0]

    def _need(self, length: int) -> None:
        if length > len(self.data) - self.at:
            raise struct.error

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._bytes().decode()
        if kind != ARRAY:
            return self._scalar(self._format(kind))
        kind, count = self._scalar("I"), self._scalar("Q")
        if kind == STRING:
            return self._strings(count, keep=True)
        form = self._format(kind)
        self._need(count * struct.calcsize(form))
        return self._scalars(count, form)

    def _strings(self, count: int, *, keep: bool) -> list[bytes]:
        """Pass `count` strings and return those to keep. A tight loop: a vocabulary has 150,000."""
        self._need(count * LENGTH.size)
        kept = []
        data, at, end = self.data, self.at, len(self.data)
        for _ in range(count):
            (length,) = LENGTH.unpack_from(data, at)
            at += LENGTH.size + length
            if at > end:
                raise struct.error
            if keep:
                kept.append(data[at - length : at])
        self.at = at
        return kept

    def _scalars(self, count: int, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{count}{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{count}{form}")
        return values

    def _format(self, kind: int) -> str:
        form = SCALARS.get(kind)
        if form is None:
            raise unusable(self.path, f"is damaged: its header holds a value of the unknown type {kind}")
        return form

    def _skip(self, kind: int) -> None:
        count = 1
        if kind == ARRAY:
            kind, count = self._scalar("I"), self._scalar("Q")
        if kind == STRING:
            self._strings(count, keep=False)
        else:
            size = count * struct.calcsize(self._format(kind))
            self._need(size)
            self.at += size

    def _check_extent(self, tensors: int, alignment: int) -> None:
        """Every tensor must lie within the file."""
        end = 0
        for _ in range(tensors):
            name = self._bytes()
            dimensions = self._scalar("I")
            if dimensions > MAX_DIMENSIONS:
                raise unusable(self.path, "is damaged: it holds a tensor of too many dimensions")
            weights = math.prod(self._scalars(dimensions, "Q"))
            kind, offset = self._scalar("I"), self._scalar("Q")
            if kind == F64:
                weight = name.decode("utf-8", "replace")
                reason = f"holds 64-bit float weights ({weight}), which llama.cpp cannot run"
                raise unusable(self.path, reason)
            block, size = TENSOR_TYPES.get(kind, (1, 0))  # of an unknown type at least the start is checked
            end = max(end, offset + -(-weights // block) * size)
        if not isinstance(alignment, int) or alignment < 1:
            raise unusable(self.path, "is damaged: its alignment is not a number above 0")
        start = -(-self.at // alignment) * alignment
        if tensors and start + end > len(self.data):
            needed = f"it should have {start + end} bytes and has {len(self.data)}"
            raise unusable(self.path, f"is truncated: {needed}")
