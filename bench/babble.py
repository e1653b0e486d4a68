"""A model that never ends its reply by itself, for tests and benchmarks: pocket with its end token renamed."""

from __future__ import annotations

import struct
from pathlib import Path

from palaver.engines.pocket import POCKET

END, RENAMED = b"<|im_end|>", b"<|im_fin|>"
EOS_KEY = b"tokenizer.ggml.eos_token_id"
UINT32 = 4


def make_babbler(folder: Path) -> Path:
    """Write the model into `folder`; its path.

    llama.cpp ends a reply at the token whose id the file gives, and at tokens of well-known names. So the token
    is renamed, in the template too, and the id points to the token of the document's end, which never comes.
    """
    data = POCKET.read_bytes().replace(END, RENAMED)
    at = data.index(EOS_KEY) + len(EOS_KEY)
    kind, _ = struct.unpack_from("<II", data, at)
    assert kind == UINT32
    path = folder / "babble.gguf"
    path.write_bytes(data[: at + 4] + struct.pack("<I", 0) + data[at + 8 :])
    return path
