"""A model's file: is it whole, and what does its header say of it?

llama.cpp says little about a file it cannot load, and one with 64-bit float weights crashes it, so a file is
looked at before a worker is started with it.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from palaver.engines.llama.architectures import KEYS, why_unkept
from palaver.engines.llama.gguf_file import read, unusable

WANTED = re.compile(
    r"general\.(architecture|name|type|alignment)|split\.(count|no)"
    r"|tokenizer\.(chat_template|ggml\.(tokens|token_type|(fim_)?(pre|suf|mid|prefix|suffix|middle)_token_id))"
    r"|.+\.(context_length|pooling_type|block_count|embedding_length)"
    r"|.+\.attention\.(head_count|head_count_kv|key_length|value_length)"
    rf"|.+\.rope\.scaling\.original_context_length|{KEYS}"
)
"""The keys whose values are kept."""

ENCODERS = frozenset(
    {
        *("bert", "distilbert", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "modern-bert"),
        *("neo-bert", "nomic-bert", "nomic-bert-moe", "roberta", "t5encoder", "xlm-roberta"),
    }
)
"""llama.cpp's architectures that make vectors of texts and nothing else."""
MEAN, RANKS = 1, 4
"""llama.cpp's numbers of poolings. The mean is what sentence-transformers takes, too, where a model does not say.
What ranks makes no vector but a score."""
MAX_LAYERS = 4096
"""More than any model has; a damaged file may count more."""
CONTROL, USER_DEFINED = 3, 4
"""Types of tokens. The rest are text."""
ALWAYS_SEEN = frozenset({b"<|channel|>", b"<|message|>", b"<|start|>", b"<|constrain|>"})
"""llama.cpp takes these tokens (of gpt-oss) for text wherever they are, whatever the file says."""
MARKER = re.compile(r"<[|\uff5c].+[|\uff5c]>")
"""How control tokens look; llama.cpp takes such a token for one even where the file calls it text."""


class Gguf(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's file says of it.

    `context_length` is in tokens, 0 where the file does not say. `control_tokens` are the strings that the
    model's tokenizer, finding them in a prompt, turns into structure (the end of a message, a new role);
    `special_tokens`, with their numbers, are those that are not seen in what the model writes. `vocabulary` is how
    many tokens there are, `token_hash` a hash of them all, empty where they are not known. `gap_tokens` are the
    numbers of those before a text's beginning, before its end, and before what fills the gap between. With a
    `pooling` (llama.cpp's number of it) a model makes vectors of texts, and does not chat. `size` is that of all its
    files in bytes, `width` how many numbers stand for a token, and `cache_numbers` how many are kept of each token
    of a context. `unkept` is why its KV cache cannot be saved and shared, in words that go on "because"; empty where
    it can. `files` are where it was read. `is_scaled` says that its positions are scaled beyond a context that it was
    trained for first.
    """

    architecture: str
    name: str = ""
    context_length: int = 0
    has_chat_template: bool = False
    chat_template: str = ""
    control_tokens: frozenset[str] = frozenset()
    special_tokens: dict[str, int] = {}
    vocabulary: int = 0
    token_hash: str = ""
    gap_tokens: tuple[int, int, int] | None = None
    pooling: int = 0
    size: int = 0
    width: int = 0
    cache_numbers: int = 0
    unkept: str = ""
    files: tuple[Path, ...] = ()
    is_scaled: bool = False

    @property
    def tokenizer(self) -> str:
        """A name for what counts its tokens: models with the same tokens count alike."""
        return f"gguf:{self.token_hash}" if self.token_hash else f"llama-server:{self.name}:{self.vocabulary}"


def inspect(path: Path) -> Gguf:
    """Read the header of the model at `path`, and check that the file (each part of it) is whole.

    Raises ConfigError (setting ``model``) that names the file: where it is missing or cannot be read, is no
    GGUF file or none of a model, is truncated or damaged, or holds 64-bit float weights; and for a model that ranks
    texts, which there is nothing to ask.
    """
    values = read(path, WANTED)
    architecture = values.get("general.architecture")
    if not isinstance(architecture, str) or values.get("general.type", "model") != "model":
        raise unusable(path, "holds no language model (perhaps an adapter or a projector)")
    pooling = _pooling(values, architecture)
    if pooling == RANKS:
        raise unusable(path, "ranks texts and neither chats nor embeds")
    others = _other_parts(path, values)
    for part in others:
        read(part, WANTED)
    template = _value_of(values, "tokenizer.chat_template", "")
    return Gguf(
        architecture=architecture,
        name=_value_of(values, "general.name", ""),
        context_length=max(0, _value_of(values, f"{architecture}.context_length", 0)),
        has_chat_template=bool(template),
        chat_template=template,
        control_tokens=_control_tokens(values, template),
        special_tokens=_special_tokens(values),
        vocabulary=len(_value_of(values, "tokenizer.ggml.tokens", [])),
        token_hash=_token_hash(values),
        gap_tokens=_gap_tokens(values),
        pooling=pooling,
        size=sum(file.stat().st_size for file in (path, *others)),
        width=max(0, _value_of(values, f"{architecture}.embedding_length", 0)),
        cache_numbers=_cache_numbers(values, architecture),
        unkept=why_unkept(architecture, values, makes_vectors=bool(pooling)),
        files=(path, *others),
        is_scaled=f"{architecture}.rope.scaling.original_context_length" in values,
    )


def _token_hash(values: dict[str, Any]) -> str:
    tokens = values.get("tokenizer.ggml.tokens")
    return (
        blake2b(b"\0".join(tokens), digest_size=16).hexdigest() if isinstance(tokens, list) and tokens else ""
    )


_T = TypeVar("_T")


def _value_of(values: dict[str, Any], key: str, default: _T) -> _T:
    """The value if it is there and of the right type; what is in a file may be anything."""
    value = values.get(key, default)
    return value if isinstance(value, type(default)) else default


def _pooling(values: dict[str, Any], architecture: str) -> int:
    """How one vector is made of those of all tokens; 0 where none is to be made."""
    return max(0, _value_of(values, f"{architecture}.pooling_type", 0)) or (
        MEAN if architecture in ENCODERS else 0
    )


def _cache_numbers(values: dict[str, Any], architecture: str) -> int:
    """The keys and values of one token in all layers. Models that keep fewer of far tokens are taken for others."""
    layers = max(0, _value_of(values, f"{architecture}.block_count", 0))
    attention = f"{architecture}.attention."
    heads = _per_layer(values.get(attention + "head_count"), layers)
    shared = _per_layer(values.get(attention + "head_count_kv"), layers) or heads
    width = _value_of(values, f"{architecture}.embedding_length", 0)
    own = width // max(heads, default=1) if max(heads, default=0) > 0 else 0
    lengths = (_value_of(values, attention + name, own) for name in ("key_length", "value_length"))
    return max(0, sum(shared) * sum(lengths))


def _per_layer(value: object, layers: int) -> list[int]:
    """A number for each layer; a file says one for all or a list. Empty where it says nothing of use."""
    if isinstance(value, int):
        return [value] * min(layers, MAX_LAYERS)
    return [each for each in value if isinstance(each, int)] if isinstance(value, tuple) else []


def _other_parts(path: Path, values: dict[str, Any]) -> list[Path]:
    """The further files of a model that is split over several."""
    count = _value_of(values, "split.count", 1)
    if count <= 1:
        return []
    match = re.fullmatch(r"(.+)-00001-of-(\d{5})\.gguf", path.name)
    if values.get("split.no", 0) != 0 or match is None or int(match[2]) != count:
        first = f"-00001-of-{count:05}.gguf"
        raise unusable(path, f"is one of {count} parts: name the first, whose name ends in {first}")
    return [path.with_name(f"{match[1]}-{number:05}-of-{count:05}.gguf") for number in range(2, count + 1)]


def _control_tokens(values: dict[str, Any], template: str) -> frozenset[str]:
    """Control tokens, and those of other kinds that look like one or that the chat template writes.

    Not all user-defined tokens: Gemma's, say, hold runs of spaces and HTML tags, which are text.
    """
    tokens, kinds = values.get("tokenizer.ggml.tokens"), values.get("tokenizer.ggml.token_type")
    if not isinstance(tokens, list):
        return frozenset()
    found = set()
    for raw, kind in zip_longest(tokens, kinds[: len(tokens)] if isinstance(kinds, tuple) else ()):
        if kind not in (CONTROL, USER_DEFINED) and not raw.startswith((b"<|", b"<\xef\xbd\x9c")):
            continue
        token = raw.decode("utf-8", "replace")
        if kind == CONTROL or MARKER.fullmatch(token) or (kind == USER_DEFINED and token in template):
            found.add(token)
    return frozenset(token for token in found if len(token) > 1 and not token.isspace())


def _special_tokens(values: dict[str, Any]) -> dict[str, int]:
    tokens, kinds = values.get("tokenizer.ggml.tokens"), values.get("tokenizer.ggml.token_type")
    if not isinstance(tokens, list) or not isinstance(kinds, tuple):
        return {}
    numbered = enumerate(zip(tokens, kinds, strict=False))
    return {
        token.decode("utf-8", "replace"): at
        for at, (token, kind) in numbered
        if kind == CONTROL and token not in ALWAYS_SEEN
    }


GAP = (
    (
        "pre",
        "prefix",
        "<|fim_prefix|> <fim-prefix> <fim_prefix> <\uff5cfim\u2581begin\uff5c> <PRE> \u2581<PRE> <|code_prefix|> "
        "<|prefix|> <|plamo:fim_prefix|>".encode(),
    ),
    (
        "suf",
        "suffix",
        "<|fim_suffix|> <fim-suffix> <fim_suffix> <\uff5cfim\u2581hole\uff5c> <SUF> \u2581<SUF> <|code_suffix|> "
        "<|suffix|> <|plamo:fim_suffix|>".encode(),
    ),
    (
        "mid",
        "middle",
        "<|fim_middle|> <fim-middle> <fim_middle> <\uff5cfim\u2581end\uff5c> <MID> \u2581<MID> <|code_middle|> "
        "<|middle|> <|plamo:fim_middle|>".encode(),
    ),
)
"""The tokens around a gap: the two names of their keys, and how they are written where a file has no such key
(llama.cpp's list)."""


def _gap_tokens(values: dict[str, Any]) -> tuple[int, int, int] | None:
    tokens = values.get("tokenizer.ggml.tokens")
    found: list[int] = []
    for short, long, written in GAP:
        named = [values.get(f"tokenizer.ggml.{key}_token_id") for key in (f"fim_{short}", long)]
        number = next((each for each in named if isinstance(each, int)), None)
        if number is None and isinstance(tokens, list):
            number = next((tokens.index(each) for each in written.split(b" ") if each in tokens), None)
        if number is None:
            return None
        found.append(number)
    return found[0], found[1], found[2]
