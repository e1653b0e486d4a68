"""What a server says of a reply, held against what was sent: whether it cut the prompt, answered as another model,
or counted what cannot be."""

from __future__ import annotations

import re
from collections import OrderedDict
from hashlib import blake2b

import msgspec

from palaver.core.estimate import least_tokens
from palaver.core.message import Message, TextPart
from palaver.core.turn import Finish, Usage
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.upstream.ratios import Ratios

LEARNT_SHARE, UNLEARNT_SHARE = 0.6, 0.7
"""A prompt counts as cut where the server counted less than this share: of what it is about, by what the model
counted before; of the least it can have, where that is not known."""
WORTH_SAYING = 512
"""Fewer tokens than this say nothing: templates add some, and may leave some out."""
SLACK, SLACK_SHARE = 64, 0.1
"""So much may a longer prompt of a conversation count less than the one before, beside its thinking."""
CONVERSATIONS_KNOWN = 1024
MOST_BYTES_ADDED = 20_000
"""Bytes that templates and a server's own instructions add to a prompt at most."""

NOISE = re.compile(
    r"latest|instruct|chat|it|hf|gguf|awq|gptq|mlx|free|preview|meta|ud|k|m|s|l|xl|0|1|"
    r"i?q\d\w*|f(?:p|loat)?\d+|bf16|int\d|w\d+a\d+|\d-?bits?|v\d+|\d{4,8}|20\d\d|\d\d"
)
"""Parts of a model's name that name no other model: dates, forms of its weights."""
SIZE = re.compile(r"a?\d+(?:\.\d+)?[bm]|x\d+b|\d+x\d+b")
NO_PROMPT = "the upstream counted no tokens of the prompt"
TOO_MANY = "the upstream counted more tokens than the prompt can have: {counted:,} of at most {most:,}"
CUT = "upstream cut this prompt: it counted {counted:,} tokens of about {about:,}"
ANOTHER = "the upstream answered as another model: {answered}, not {asked}"


class _Seen(msgspec.Struct):
    """A conversation's last prompt: how many messages, their digest, what was counted and what of it was thinking."""

    messages: int
    digest: bytes
    counted: int
    thinking: int


class Checks:
    """The checks of one server's replies, with what they remember."""

    def __init__(self) -> None:
        self._ratios = Ratios()
        self._seen: OrderedDict[tuple[str, str, str], _Seen] = OrderedDict()

    def about(self, model: str, texts: list[str]) -> int:
        """About how many tokens these texts have."""
        return int(least_tokens(texts) * self._ratios.typical(model))

    def cut(self, texts: list[str], usage: Usage, model: str) -> int | None:
        """Of about how many tokens the prompt was, where the server counted clearly fewer; else None.

        A count that is taken for right is learnt from.
        """
        least = least_tokens(texts)
        about = int(least * self._ratios.typical(model))
        lowest = LEARNT_SHARE * about if self._ratios.is_learnt(model) else UNLEARNT_SHARE * least
        if least >= WORTH_SAYING and usage.prompt_tokens < lowest:
            return about
        self._ratios.learn(model, least, usage.prompt_tokens)
        return None

    def shrunk(self, window: Window, options: Options, usage: Usage) -> int | None:
        """How many tokens this conversation's prompt had before, where it has grown since and yet was counted as
        clearly fewer; else None. Nothing is said where media are in it: templates treat old ones as they like."""
        if window.conversation is None or _has_media(window.messages):
            return None
        key = (window.owner, window.conversation, options.model)
        before = self._seen.get(key)
        thinking = sum(len((m.reasoning or m.reasoning_content or "").encode()) for m in window.messages)
        thinking += sum(
            len(m.text) for m in window.messages if m.role == "assistant" and "</think>" in m.text
        )
        now = _Seen(len(window.messages), _digest(window, options, None), usage.prompt_tokens, thinking)
        self._seen[key] = now
        self._seen.move_to_end(key)
        if len(self._seen) > CONVERSATIONS_KNOWN:
            self._seen.popitem(last=False)
        if before is None or before.messages >= now.messages:
            return None
        fewest = before.counted * (1 - SLACK_SHARE) - before.thinking - SLACK
        if now.counted >= fewest or _digest(window, options, before.messages) != before.digest:
            return None
        now.counted = before.counted  # the next prompt is held against one that was whole
        return before.counted


def count_is_off(window: Window, usage: Usage, prompt: str | list[int] | None = None) -> str | None:
    """A warning where the server's count of the prompt cannot be right; else None."""
    if usage.prompt_tokens == 0:
        return NO_PROMPT
    if usage.prompt_tokens <= MOST_BYTES_ADDED or _has_media(window.messages):
        return None
    sent = (
        prompt if isinstance(prompt, list) else msgspec.json.encode((window.messages, window.tools, prompt))
    )
    most = len(sent) + MOST_BYTES_ADDED
    if usage.prompt_tokens > most:
        return TOO_MANY.format(counted=usage.prompt_tokens, most=most)
    return None


def cut_warning(counted: int, about: int) -> str:
    """
    >>> cut_warning(4096, 8964)
    'upstream cut this prompt: it counted 4,096 tokens of about 9,000'
    """
    digits = max(len(str(about)) - 2, 0)
    return CUT.format(counted=counted, about=round(about, -digits))


def model_warning(asked: str, finish: Finish) -> str | None:
    """A warning where the reply names clearly another model than was asked for; else None."""
    if not finish.model or is_same_model(asked, finish.model):
        return None
    return ANOTHER.format(answered=finish.model[:200], asked=asked[:200])


def is_same_model(asked: str, answered: str) -> bool:
    """Whether two names may mean the same model: but for folders, case, dates, and forms of its weights, and where
    only one of them says a size.

    >>> is_same_model("gpt-4o", "gpt-4o-2024-08-06"), is_same_model("llama3", "llama3:8b-instruct-q4_K_M")
    (True, True)
    >>> is_same_model("gpt-4o", "gpt-4o-mini"), is_same_model("qwen3:8b", "qwen3:0.6b")
    (False, False)
    """
    one, other = _name_parts(asked), _name_parts(answered)
    if not one or not other:
        return True  # nothing but a number: no name to go by
    apart = {part for part in one ^ other if not NOISE.fullmatch(part)}
    sizes = {part for part in apart if SIZE.fullmatch(part)}
    return apart == sizes and not (sizes & one and sizes & other)


def _name_parts(name: str) -> set[str]:
    """The parts of a name in lower case, letters and the number after them apart: ``llama3`` is ``llama-3``."""
    last = name.lower().replace("\\", "/").rstrip("/").rpartition("/")[2].removesuffix(".gguf")
    last = re.sub(r"-\d{5}-of-\d{5}$|:\d$", "", last)  # a part of a file; another copy in LM Studio
    last = re.sub(r"(?<=[a-z]{3})(?=\d)", "-", last)
    return {part for part in re.split(r"[^a-z0-9.]+", last) if part.strip(".")}


def _has_media(messages: tuple[Message, ...]) -> bool:
    return any(
        not isinstance(part, TextPart)
        for message in messages
        if isinstance(message.content, list)
        for part in message.content
    )


def _digest(window: Window, options: Options, messages: int | None) -> bytes:
    """Of the first messages, and all else that may stand in a prompt."""
    asked = options.parameters
    others = (window.tools, asked.format, asked.chat_template_kwargs, asked.reasoning, asked.tool_choice)
    return blake2b(msgspec.json.encode((window.messages[:messages], others)), digest_size=16).digest()
