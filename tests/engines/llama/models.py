"""Small models with random weights, pocket's tokenizer, and a chat template of one's choice."""

import random
import struct
from array import array
from collections.abc import Mapping
from pathlib import Path

from palaver.engines.pocket import POCKET
from tests.engines.llama.gguf_file import F32, string, tensor

U32, I32, FLOAT, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, U32: 4, I32: 4, FLOAT: 4, BOOL: 1, 10: 8, 11: 8, 12: 8}
CONTROL, USER_DEFINED = 3, 4
CONTEXT, WIDTH, LAYERS, HEADS, HIDDEN = 8192, 64, 2, 2, 128
HEAD = WIDTH // HEADS

MARKERS = {
    "<think>": USER_DEFINED,
    "</think>": USER_DEFINED,
    "<tool_call>": USER_DEFINED,
    "</tool_call>": USER_DEFINED,
    "<|eot_id|>": CONTROL,
    "<|start_header_id|>": CONTROL,
    "<|end_header_id|>": CONTROL,
}
"""Tokens beside pocket's own, and their types."""
GAPS = {"<|fim_prefix|>": CONTROL, "<|fim_suffix|>": CONTROL, "<|fim_middle|>": CONTROL}


def pocket_tokenizer() -> dict[str, bytes]:
    """The values of pocket's header that make its tokenizer, as they stand in the file."""
    data = POCKET.read_bytes()
    (count,) = struct.unpack_from("<Q", data, 16)
    at, found = 24, {}
    for _ in range(count):
        (length,) = struct.unpack_from("<Q", data, at)
        key = data[at + 8 : at + 8 + length].decode()
        start = at + 8 + length
        at = _end(data, start + 4, struct.unpack_from("<I", data, start)[0])
        if key.startswith("tokenizer."):
            found[key] = data[start:at]
    return found


def _end(data: bytes, at: int, kind: int) -> int:
    if kind == STRING:
        (length,) = struct.unpack_from("<Q", data, at)
        return int(at + 8 + length)
    if kind != ARRAY:
        return at + SIZES[kind]
    kind, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if kind != STRING:
        return int(at + count * SIZES[kind])
    for _ in range(count):
        at = _end(data, at, STRING)
    return at


def _longer(value: bytes, more: list[bytes]) -> bytes:
    """An array with more elements."""
    kind, count = struct.unpack_from("<IQ", value, 4)
    return value[:4] + struct.pack("<IQ", kind, count + len(more)) + value[16:] + b"".join(more)


def _number(value: int | float) -> bytes:
    if isinstance(value, float):
        return struct.pack("<If", FLOAT, value)
    return struct.pack("<II", U32, value)


def random_model(path: Path, template: str | None, markers: Mapping[str, int] = MARKERS, **more: int) -> Path:
    """Write a chat model. `markers` are tokens beside pocket's own and their types; `more` are further values of its
    header, by their names without the architecture."""
    tokenizer = pocket_tokenizer()
    tokenizer["tokenizer.ggml.tokens"] = _longer(
        tokenizer["tokenizer.ggml.tokens"], [string(marker) for marker in markers]
    )
    tokenizer["tokenizer.ggml.token_type"] = _longer(
        tokenizer["tokenizer.ggml.token_type"], [struct.pack("<i", kind) for kind in markers.values()]
    )
    (vocabulary,) = struct.unpack_from("<Q", tokenizer["tokenizer.ggml.tokens"], 8)
    tokenizer.pop("tokenizer.chat_template", None)
    if template is not None:
        tokenizer["tokenizer.chat_template"] = struct.pack("<I", STRING) + string(template)
    shape: dict[str, int | float] = {
        "context_length": CONTEXT,
        "embedding_length": WIDTH,
        "block_count": LAYERS,
        "feed_forward_length": HIDDEN,
        "attention.head_count": HEADS,
        "attention.head_count_kv": 1,
        "rope.dimension_count": HEAD,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "vocab_size": vocabulary,
        **more,
    }
    values = {
        "general.architecture": struct.pack("<I", STRING) + string("llama"),
        **{f"llama.{name}": _number(value) for name, value in shape.items()},
        **tokenizer,
    }
    _write(path, values, _decoder(vocabulary))
    return path


def random_encoder(path: Path, **more: int) -> Path:
    """Write a BERT that makes vectors of texts; `more` as in `random_model`."""
    tokenizer = pocket_tokenizer()
    (vocabulary,) = struct.unpack_from("<Q", tokenizer["tokenizer.ggml.tokens"], 8)
    tokenizer["tokenizer.ggml.token_type_count"] = _number(2)
    shape: dict[str, int | float] = {
        "context_length": 512,
        "embedding_length": WIDTH,
        "block_count": LAYERS,
        "feed_forward_length": HIDDEN,
        "attention.head_count": HEADS,
        "attention.layer_norm_epsilon": 1e-5,
        **more,
    }
    values = {
        "general.architecture": struct.pack("<I", STRING) + string("bert"),
        "bert.attention.causal": struct.pack("<I?", BOOL, False),
        **{f"bert.{name}": _number(value) for name, value in shape.items()},
        **tokenizer,
    }
    weights = _Weights()
    weights.matrix("token_embd.weight", WIDTH, vocabulary, 1.0)
    weights.matrix("position_embd.weight", WIDTH, 512, 1.0)
    weights.matrix("token_types.weight", WIDTH, 2)
    weights.norm("token_embd_norm")
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for name, columns, rows in (
            *((f"attn_{part}", WIDTH, WIDTH) for part in ("q", "k", "v", "output")),
            *(("ffn_up", WIDTH, HIDDEN), ("ffn_down", HIDDEN, WIDTH)),
        ):
            weights.matrix(f"{block}{name}.weight", columns, rows)
            weights.same(f"{block}{name}.bias", 0.0, rows)
        weights.norm(block + "attn_output_norm")
        weights.norm(block + "layer_output_norm")
    _write(path, values, weights)
    return path


class _Weights:
    """Tensors in their order."""

    def __init__(self) -> None:
        self.tensors: list[tuple[str, tuple[int, ...], bytes]] = []
        self._dice = random.Random(1)

    def matrix(self, name: str, columns: int, rows: int, spread: float | None = None) -> None:
        deviation = spread or columns**-0.5
        numbers = array("f", (self._dice.gauss(0.0, deviation) for _ in range(rows * columns)))
        self.tensors.append((name, (columns, rows), numbers.tobytes()))

    def same(self, name: str, number: float, count: int = WIDTH) -> None:
        self.tensors.append((name, (count,), array("f", [number] * count).tobytes()))

    def norm(self, name: str) -> None:
        self.same(name + ".weight", 1.0)
        self.same(name + ".bias", 0.0)


def _decoder(vocabulary: int) -> _Weights:
    weights = _Weights()
    matrix = weights.matrix

    def ones(name: str) -> None:
        weights.same(name, 1.0)

    matrix("token_embd.weight", WIDTH, vocabulary, 1.0)
    matrix("output.weight", WIDTH, vocabulary)
    ones("output_norm.weight")
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        ones(block + "attn_norm.weight")
        ones(block + "ffn_norm.weight")
        matrix(block + "attn_q.weight", WIDTH, WIDTH)
        matrix(block + "attn_k.weight", WIDTH, HEAD)
        matrix(block + "attn_v.weight", WIDTH, HEAD)
        matrix(block + "attn_output.weight", WIDTH, WIDTH)
        matrix(block + "ffn_gate.weight", WIDTH, HIDDEN)
        matrix(block + "ffn_up.weight", WIDTH, HIDDEN)
        matrix(block + "ffn_down.weight", HIDDEN, WIDTH)
    return weights


def _write(path: Path, values: dict[str, bytes], weights: _Weights) -> None:
    tensors = weights.tensors
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    head += b"".join(string(key) + value for key, value in values.items())
    offset = 0
    for name, dimensions, data in tensors:
        head += tensor(name, dimensions, F32, offset)
        offset += len(data)
    assert all(len(data) % 32 == 0 for _, _, data in tensors)
    path.write_bytes(head + b"\0" * (-len(head) % 32) + b"".join(data for _, _, data in tensors))
