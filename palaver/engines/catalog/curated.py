"""A few well-known open models, so that nobody has to know his way about the hub to begin. Pure.

Sizes are about what the hub says; before anything is fetched it is asked. Each `cache` is that of one token in 16
bits: layers × key-value heads × their size × 2 × 2, by the model's published configuration.
"""

from __future__ import annotations

import msgspec

from palaver.engines.catalog.references import HubName


class Curated(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the list.

    `size` is its file's in bytes, `cache` the bytes that one token of context takes, `licence` as the hub calls it.
    """

    name: str
    repo: str
    file: str
    size: int
    cache: int
    licence: str
    about: str

    @property
    def hub_name(self) -> HubName:
        """Where it is on the hub."""
        return HubName(self.repo, self.file)


# fmt: off
CURATED = (
    Curated(
        name="qwen3:0.6b", repo="Qwen/Qwen3-0.6B-GGUF", file="Qwen3-0.6B-Q8_0.gguf",
        size=639_446_688, cache=114_688, licence="apache-2.0", about="Qwen3 0.6B: the smallest that is of use; thinks",
    ),
    Curated(
        name="llama3.2:1b", repo="bartowski/Llama-3.2-1B-Instruct-GGUF", file="Llama-3.2-1B-Instruct-Q4_K_M.gguf",
        size=807_694_464, cache=32_768, licence="llama3.2", about="Llama 3.2 1B: small and fast",
    ),
    Curated(
        name="smollm3:3b", repo="ggml-org/SmolLM3-3B-GGUF", file="SmolLM3-Q4_K_M.gguf",
        size=1_915_305_312, cache=73_728, licence="apache-2.0", about="SmolLM3 3B: openly trained; may think",
    ),
    Curated(
        name="llama3.2:3b", repo="bartowski/Llama-3.2-3B-Instruct-GGUF", file="Llama-3.2-3B-Instruct-Q4_K_M.gguf",
        size=2_019_377_696, cache=114_688, licence="llama3.2", about="Llama 3.2 3B: a good talker for its size",
    ),
    Curated(
        name="gemma3:4b", repo="ggml-org/gemma-3-4b-it-GGUF", file="gemma-3-4b-it-Q4_K_M.gguf",
        size=2_489_757_856, cache=139_264, licence="gemma", about="Gemma 3 4B: many languages",
    ),
    Curated(
        name="phi4-mini", repo="unsloth/Phi-4-mini-instruct-GGUF", file="Phi-4-mini-instruct-Q4_K_M.gguf",
        size=2_491_874_272, cache=131_072, licence="mit", about="Phi-4 mini 3.8B: strong at sums and code",
    ),
    Curated(
        name="qwen3:4b", repo="unsloth/Qwen3-4B-Instruct-2507-GGUF", file="Qwen3-4B-Instruct-2507-Q4_K_M.gguf",
        size=2_497_281_120, cache=147_456, licence="apache-2.0", about="Qwen3 4B of July 2025: answers at once, tools",
    ),
    Curated(
        name="qwen3:8b", repo="Qwen/Qwen3-8B-GGUF", file="Qwen3-8B-Q4_K_M.gguf",
        size=5_027_783_488, cache=147_456, licence="apache-2.0", about="Qwen3 8B: thinks, tools; a good all-rounder",
    ),
    Curated(
        name="qwen3:14b", repo="Qwen/Qwen3-14B-GGUF", file="Qwen3-14B-Q4_K_M.gguf",
        size=9_001_752_960, cache=163_840, licence="apache-2.0", about="Qwen3 14B: thinks, tools",
    ),
    Curated(
        name="gpt-oss:20b", repo="ggml-org/gpt-oss-20b-GGUF", file="gpt-oss-20b-mxfp4.gguf",
        size=12_109_566_560, cache=49_152, licence="apache-2.0", about="gpt-oss 20B: thinks, tools; fast for its size",
    ),
    Curated(
        name="mistral-small:24b", repo="unsloth/Mistral-Small-3.2-24B-Instruct-2506-GGUF",
        file="Mistral-Small-3.2-24B-Instruct-2506-Q4_K_M.gguf",
        size=14_333_922_848, cache=163_840, licence="apache-2.0", about="Mistral Small 3.2 24B: the largest here",
    ),
    Curated(
        name="nomic-embed-text", repo="nomic-ai/nomic-embed-text-v1.5-GGUF", file="nomic-embed-text-v1.5.Q8_0.gguf",
        size=146_146_432, cache=0, licence="apache-2.0", about="Nomic Embed 1.5: embeddings, no chat",
    ),
)
# fmt: on


def curated(name: str) -> Curated | None:
    """The model of the list with this name."""
    return next((each for each in CURATED if each.name == name), None)
