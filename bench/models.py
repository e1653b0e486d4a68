"""Writes a GGUF with the shape of a 1B model and random weights, for benchmarks: `python -m bench.models FILE`.

What it says is noise, what it costs is real: the shape is that of Llama 3.2 1B (16 layers, width 2048, grouped
heads, 128,256 tokens) unless another one is asked for, the weights are Q4_0 blocks of random bytes. The tokenizer is
pocket's, filled up with made-up words. Needs the package `gguf` (the extra `bench`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

try:
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, LlamaFileType, TokenType
except ImportError as error:
    raise SystemExit(
        f"{error}: run `.venv/bin/pip install -c constraints.txt -e '.[bench]'` first"
    ) from error

from palaver.engines.pocket import POCKET


class Shape(NamedTuple):
    """What a model is like; `tokens` is how many it knows."""

    name: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head: int
    hidden: int
    tokens: int


ONE_B = Shape("random-1b", 16, 2048, 32, 8, 64, 8192, 128_256)
SMALL = Shape("random-40m", 8, 512, 8, 4, 64, 1536, 8192)
CONTEXT = 131_072
BLOCK, BLOCK_BYTES = 32, 18
"""Q4_0: 32 weights in a half-precision scale and 16 bytes."""


def write_model(path: Path, seed: int = 1, shape: Shape = ONE_B) -> None:
    """Write the model to `path`: 0.7 GB where it has the shape of a 1B model."""
    writer = GGUFWriter(str(path), "llama")
    _describe(writer, shape)
    _add_tokenizer(writer, shape)
    _add_weights(writer, shape, np.random.default_rng(seed))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: GGUFWriter, shape: Shape) -> None:
    writer.add_name(shape.name)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(500_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.tokens)
    writer.add_file_type(LlamaFileType.MOSTLY_Q4_0)


def _add_tokenizer(writer: GGUFWriter, shape: Shape) -> None:
    fields = GGUFReader(POCKET).fields
    tokens = [str(token) for token in fields["tokenizer.ggml.tokens"].contents()]
    kinds = [int(kind) for kind in fields["tokenizer.ggml.token_type"].contents()]
    more = shape.tokens - len(tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([*tokens, *(f"\u0120word{i}" for i in range(more))])  # U+0120 stands for a space
    writer.add_token_types([*kinds, *([TokenType.NORMAL] * more)])
    writer.add_token_merges([str(merge) for merge in fields["tokenizer.ggml.merges"].contents()])
    writer.add_eos_token_id(int(fields["tokenizer.ggml.eos_token_id"].contents()))
    writer.add_add_bos_token(False)
    writer.add_chat_template(str(fields["tokenizer.chat_template"].contents()))


def _add_weights(writer: GGUFWriter, shape: Shape, random: np.random.Generator) -> None:
    def matrix(name: str, rows: int, columns: int, spread: float) -> None:
        blocks = rows * columns // BLOCK
        data = np.empty((blocks, BLOCK_BYTES), np.uint8)
        data[:, :2] = np.frombuffer(np.float16(spread / 4).tobytes(), np.uint8)
        data[:, 2:] = random.integers(0, 256, (blocks, BLOCK_BYTES - 2), dtype=np.uint8)
        shaped = data.reshape(rows, columns // BLOCK * BLOCK_BYTES)
        writer.add_tensor(name, shaped, raw_dtype=GGMLQuantizationType.Q4_0)

    width = shape.width
    ones = np.ones(width, np.float32)
    matrix("token_embd.weight", shape.tokens, width, 0.02)
    writer.add_tensor("output_norm.weight", ones)
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        writer.add_tensor(block + "attn_norm.weight", ones)
        writer.add_tensor(block + "ffn_norm.weight", ones)
        for name, rows, columns in (
            ("attn_q", shape.heads * shape.head, width),
            ("attn_k", shape.kv_heads * shape.head, width),
            ("attn_v", shape.kv_heads * shape.head, width),
            ("attn_output", width, shape.heads * shape.head),
            ("ffn_gate", shape.hidden, width),
            ("ffn_up", shape.hidden, width),
            ("ffn_down", width, shape.hidden),
        ):
            matrix(f"{block}{name}.weight", rows, columns, columns**-0.5)


if __name__ == "__main__":
    write_model(Path(sys.argv[1]))
