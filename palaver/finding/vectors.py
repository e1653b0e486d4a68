"""Arithmetic with vectors: as they are kept, and how near they are to one another.

A vector is kept in signed bytes: of length 1, 127 stands for 1. That is a quarter of the room, and what it changes is
less than what two wordings of one thing do.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

ONE = 127
AT_ONCE = 4096
"""As many vectors are numbers of four bytes at a time."""


def packed(vector: Sequence[float]) -> bytes | None:
    """A vector as it is kept; None for one that is no direction: of zeros, or with something that is no number.

    >>> list(packed([3.0, 4.0]) or b"")
    [76, 102]
    """
    length = math.hypot(*vector)
    if not math.isfinite(length) or length == 0.0:
        return None
    small = array("b", (round(ONE * (number / length)) for number in vector))
    return small.tobytes() if any(small) else None


def similarities(one: bytes, vectors: bytes) -> list[float]:
    """How near each of these vectors, kept one after the other, is to another: from -1 to 1. Needs numpy."""
    import numpy as np

    direction = np.frombuffer(one, np.int8).astype(np.float32) / (ONE * ONE)
    rows = np.frombuffer(vectors, np.int8).reshape(-1, len(one))
    near = [
        rows[start : start + AT_ONCE].astype(np.float32) @ direction for start in range(0, len(rows), AT_ONCE)
    ]
    return [float(number) for part in near for number in part]
