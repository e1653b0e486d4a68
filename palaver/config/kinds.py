"""Kinds of settings, with their limits."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

LOOPBACK = ("127.0.0.1", "localhost", "::1")

Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]
Count = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=0)]
"""Said as a number of bytes, or as ``8GB`` or ``512 MiB``."""
Days = Annotated[float, Meta(ge=0, le=36_500)]
Hours = Annotated[float, Meta(ge=0, le=876_000)]
