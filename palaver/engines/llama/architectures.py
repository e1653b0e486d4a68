"""Whose KV cache can be saved and shared: what a model's header says of its architecture.

A cache is kept only where each layer has the keys and values of every token, so that it can be cut behind any of
them and gone on with from there. That is known of the architectures here, by llama.cpp's source (b11549); where there
is any doubt, nothing is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

WINDOW = "it attends to a sliding window"
RECURRENT = "it has recurrent layers"
ENCODES = "it encodes its input first"
MEDIA = "it reads more than text"
SPARSE = "it chooses what it attends to"
BOTH_WAYS = "it reads its prompt in both directions"
CACHELESS = "it has no KV cache"
VECTORS = "it makes vectors of texts"
UNKNOWN = "its architecture has not been checked for that"

PLAIN = frozenset(
    {
        *(
            "apertus",
            "arcee",
            "arctic",
            "baichuan",
            "bailingmoe",
            "bailingmoe2",
            "bitnet",
            "bloom",
            "chatglm",
        ),
        *("codeshell", "command-r", "dbrx", "deci", "deepseek", "deepseek2", "dots1", "ernie4_5"),
        *("ernie4_5-moe", "exaone", "falcon", "gemma", "glm4", "glm4moe", "gpt2", "gptneox", "granite"),
        *(
            "granitemoe",
            "grok",
            "grovemoe",
            "hunyuan-dense",
            "hunyuan-moe",
            "hy_v3",
            "internlm2",
            "jais",
            "jais2",
        ),
        *(
            "k2-horizon",
            "llama",
            "maincoder",
            "minicpm",
            "minicpm3",
            "minimax-m2",
            "mistral3",
            "mistral4",
            "mpt",
        ),
        *(
            "nemotron",
            "olmo",
            "olmoe",
            "openelm",
            "orion",
            "pangu-embedded",
            "phi2",
            "phi3",
            "phimoe",
            "plamo",
        ),
        *(
            "plm",
            "qwen",
            "qwen2",
            "qwen2moe",
            "qwen3",
            "qwen3moe",
            "refact",
            "seed_oss",
            "smollm3",
            "stablelm",
        ),
        *("starcoder", "starcoder2", "talkie", "xverse"),
    }
)
"""llama.cpp's architectures with such a cache. A sliding window that their header holds is one that it passes over."""
PLAIN_WITHOUT_WINDOW = frozenset({"laguna", "mellum", "olmo2", "plamo3", "smallthinker"})
"""Those that have such a cache where their header holds no sliding window."""

OTHERS: Mapping[str, frozenset[str]] = {
    WINDOW: frozenset(
        {
            *("afmoe", "cohere2", "cohere2moe", "deepseek4", "dots3note", "exaone-moe", "gemma2", "gemma3"),
            *("gemma3n", "gemma4", "gpt-oss", "granite_swa", "llama4", "maple", "mimo2", "muse-glimmer"),
            *("spark2_5", "step35"),
        }
    ),
    RECURRENT: frozenset(
        {
            *("arwkv7", "bailingmoe3", "falcon-h1", "glm5-next", "granitehybrid", "jamba", "kimi-k3"),
            *("kimi-linear", "lfm2", "lfm2moe", "mamba", "mamba2", "minimax-01", "nemotron_h"),
            *("nemotron_h_moe", "plamo2", "qwen35", "qwen35moe", "qwen3next", "qwen4exp", "rwkv6"),
            *("rwkv6qwen2", "rwkv7"),
        }
    ),
    ENCODES: frozenset({"t5", "t5encoder"}),
    MEDIA: frozenset(
        {
            *(
                "chameleon",
                "clip",
                "cogvlm",
                "deepseek2-ocr",
                "hunyuan_vl",
                "paddleocr",
                "qwen2vl",
                "qwen3vl",
            ),
            "qwen3vlmoe",
        }
    ),
    SPARSE: frozenset({"deepseek32", "glm-dsa", "hy_v4", "minimax-m3"}),
    CACHELESS: frozenset(
        {"clef", "dream", "gemma-embedding2", "llada", "llada-moe", "rnd1", "wavtokenizer-dec"}
    ),
}
"""Architectures with another kind of cache, by what is different."""

SIGNS: Mapping[str, str] = {
    RECURRENT: r".+\.((ssm|wkv|kda|shortconv)\..+|token_shift_count|time_mix_extra_dim|full_attention_interval"
    r"|attention\.recurrent_layers)",
    ENCODES: r".+\.decoder_(block_count|start_token_id)",
    MEDIA: r"clip\..+|.+\.((vision|audio)\..+|rope\.dimension_sections|n_deepstack_layers|deepstack_mapping"
    r"|(.+[._])?image_token_id)",
    SPARSE: r".+\.attention\.(indexer\..+|compress_ratios)",
    WINDOW: r".+\.attention\.(sliding_window|chunk_size)",
}
"""The keys of a header that tell the same of an architecture, where they hold more than zeros.

`rope.dimension_sections` gives a token several positions, for its place in an image; such a cache cannot be shifted.
"""
CAUSAL = r".+\.attention\.causal"
KEYS = "|".join((*SIGNS.values(), CAUSAL))
"""All keys that `why_unkept` reads."""


def why_unkept(architecture: str, values: Mapping[str, Any], *, makes_vectors: bool) -> str:
    """Why the KV cache of a model with these values in its header cannot be kept, in words that go on "because";
    empty where it can."""
    if makes_vectors:
        return VECTORS
    for reason, architectures in OTHERS.items():
        if architecture in architectures:
            return reason
    for reason, keys in SIGNS.items():
        is_passed_over = reason is WINDOW and architecture in PLAIN
        if not is_passed_over and any(_is_set(values[key]) for key in values if re.fullmatch(keys, key)):
            return reason
    if not all(_is_set(values[key]) for key in values if re.fullmatch(CAUSAL, key)):
        return BOTH_WAYS
    return "" if architecture in PLAIN | PLAIN_WITHOUT_WINDOW else UNKNOWN


def _is_set(value: object) -> bool:
    """Whether a value of the header is more than a zero, or a list of them."""
    return any(value) if isinstance(value, tuple | list) else bool(value)
