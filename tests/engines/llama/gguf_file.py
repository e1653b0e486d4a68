"""GGUF files made by hand, with everything a test may want to be wrong with them."""

import struct
from pathlib import Path
from typing import Any

U32, I32, BOOL, STRING, ARRAY = 4, 5, 7, 8, 9
F32, Q8_0, F64 = 0, 8, 28


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def value(content: Any) -> bytes:
    """A value with its type: text, an int, whether something is so, or a list of texts or ints."""
    if isinstance(content, str):
        return struct.pack("<I", STRING) + string(content)
    if isinstance(content, bool):
        return struct.pack("<I?", BOOL, content)
    if isinstance(content, int):
        return struct.pack("<Ii", I32, content)
    head = struct.pack("<I", ARRAY)
    if content and isinstance(content[0], str):
        return head + struct.pack("<IQ", STRING, len(content)) + b"".join(map(string, content))
    return head + struct.pack(f"<IQ{len(content)}i", I32, len(content), *content)


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf(
    path: Path,
    values: dict[str, Any] | None = None,
    tensors: tuple[bytes, ...] = (),
    data: bytes = b"",
    version: int = 3,
) -> Path:
    """Write a file with these values beside the architecture ``llama``."""
    values = {"general.architecture": "llama", "llama.context_length": 4096} | (values or {})
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    head += b"".join(string(key) + value(content) for key, content in values.items()) + b"".join(tensors)
    path.write_bytes(head + b"\0" * (-len(head) % 32) + data)
    return path
