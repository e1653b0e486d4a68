"""What a request needs of an engine, and whether a model's engine has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from palaver.core.calls import is_of_tools
from palaver.core.errors import UnsupportedParameter
from palaver.core.message import (
    AudioUrlPart,
    FilePart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    TextPart,
    VideoPart,
)
from palaver.core.parameters import NEUTRAL, Parameters, needs
from palaver.core.window import Window
from palaver.core.window_settings import WindowSettings
from palaver.engines.base import SAMPLING, Model, Options

HINTS = frozenset({"prompt_cache_key"})
"""Unknown parameters without which a reply is the same: models answer all the same that do not take them."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of whichever model answers: the request's own parameters, without a model's defaults.

    `window` has no messages yet where they are to be chosen, of what the turn begins with (`running.fitting`).
    `continues` is the reply that it goes on with. How the window is chosen is said by `asks`, the request's settings,
    `inner`, the API key's, and `outer`, the server's. The conversation's go before `inner`, the model's before `outer`.
    `may_keep` says that what is computed of it may be kept once its conversation has had a turn before: what is asked
    once may be a chore of an app's. With `logs_first` readers hear only what is logged. `compacted` is the id of a
    summary that a new epoch is to begin with.
    """

    window: Window
    parameters: Parameters
    extra: dict[str, Any] = {}
    continues: Message | None = None
    asks: WindowSettings = WindowSettings()
    inner: WindowSettings = WindowSettings()
    outer: WindowSettings = WindowSettings()
    may_keep: bool = False
    logs_first: bool = False
    compacted: str = ""


def suited(asked: Asked, model: Model) -> Asked:
    """What is asked as a model takes it that it was not checked for: without what asks it for nothing.

    Raises UnsupportedParameter, naming the parameter, where its engine cannot do what is asked.
    """
    capabilities = model.engine.capabilities
    check_can_continue(asked, model)
    _check(_needs(asked), model)
    # What is left of them asks for what is so anyway: to be switched off, or for a value that changes nothing.
    words = {"reasoning", "parallel_tool_calls", *SAMPLING} - capabilities
    unneeded = dict.fromkeys(words)
    return msgspec.structs.replace(asked, parameters=msgspec.structs.replace(asked.parameters, **unneeded))


def options_for(asked: Asked, model: Model) -> Options:
    """How a model is asked for it: with the model's own defaults, and nothing that its engine does not know."""
    return Options(
        model=model.served_as,
        parameters=asked.parameters.over(model.defaults),
        prefill=asked.continues is not None,
        extra=asked.extra if "extra" in model.engine.capabilities else {},
    )


def check_messages(messages: Sequence[Message], model: Model) -> None:
    """Raises UnsupportedParameter where a model that nobody asked for cannot be shown these messages."""
    _check((need for message in messages for need in _needs_of(message)), model)


def _check(needed: Iterable[tuple[str, str]], model: Model) -> None:
    for word, param in needed:
        if word not in model.engine.capabilities:
            raise UnsupportedParameter(f"The model {model.name} does not support `{word}`.", param=param)


def check_can_continue(asked: Asked, model: Model) -> None:
    """Raises UnsupportedParameter where a reply is to be continued, and a model's engine cannot do that, or where
    several replies are wanted: all but one would lack their beginning."""
    if asked.continues is not None and asked.parameters.n > 1:
        raise UnsupportedParameter("A reply that was cut off is gone on with once: `n` must be 1.", param="n")
    if asked.continues is not None and "prefill" not in model.engine.capabilities:
        raise UnsupportedParameter(
            f"The model {model.name} cannot go on with a reply that was cut off; have it answer again.",
            param="parent",
        )


def _needs(asked: Asked) -> Iterator[tuple[str, str]]:
    """The capabilities that a request needs (see `Engine.capabilities`), each with the parameter it comes from."""
    for name in sorted(SAMPLING):
        if getattr(asked.parameters, name) not in (None, *NEUTRAL.get(name, ())):
            yield name, name
    yield from needs(asked.parameters, has_tools=bool(asked.window.tools))
    if wanted := asked.extra.keys() - HINTS:
        yield "extra", min(wanted)


def _needs_of(message: Message) -> Iterator[tuple[str, str]]:
    if is_of_tools(message):
        yield "tools", "messages"
    for part in message.content if isinstance(message.content, list) else ():
        if not isinstance(part, TextPart | RefusalPart):
            yield str(part.__struct_config__.tag), "messages"
            if _is_elsewhere(part):
                yield "remote_media", "messages"


def _is_elsewhere(part: Part) -> bool:
    """Whether the bytes of a part are to be fetched by whoever answers."""
    match part:
        case ImagePart(image_url=source):
            return not source.url.startswith("data:")
        case VideoPart(video_url=media) | AudioUrlPart(audio_url=media):
            return not media.url.startswith("data:")
        case FilePart(file=file):
            return file.file_data is None
    return False
