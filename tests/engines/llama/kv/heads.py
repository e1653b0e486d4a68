"""Heads of snapshots, and what they are about."""

from __future__ import annotations

from typing import Any

import msgspec

from palaver.engines.llama.kv.identity import Identity
from palaver.engines.llama.kv.prefix import Prefix
from palaver.engines.llama.kv.snapshot_file import Head

IDENTITY = Identity(model="m" * 64, engine="xllamacpp 1", template="t" * 32, layout="2 slots, f16")


def prefix(*parts: str) -> Prefix:
    return Prefix.of_parts([part.encode() for part in parts])


def head(*parts: str, **more: Any) -> Head:
    """Of a prompt of these parts, with one token for each of their bytes."""
    made = Head(
        identity=IDENTITY,
        owner="ada",
        conversation="c",
        epoch="e1",
        prefix=prefix(*parts),
        tokens=sum(len(part.encode()) for part in parts),
    )
    return msgspec.structs.replace(made, **more)
