"""How windows are chosen: settings that can be made for the server, a model, an API key, a conversation, a request."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Mode = Literal["strict", "auto"]
Truncation = Literal["auto", "disabled"]
RecallSetting = Literal["off", "tool", "always"]
Exceeding = Literal["error", "truncate"]

DEFAULT_KEEP = 0.5
MOST = 1_000_000_000
MOST_RESERVED = 1024
"""Tokens kept free for a reply where nothing says how many; a quarter of the context where that is less."""


class WindowSettings(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Settings of a window. What is None is as it is one level further out: request, conversation, API key, model,
    server."""

    mode: Annotated[
        Mode | None,
        Meta(
            description="What a request that resends its history is shown: `strict` what it sent, and too much is a "
            "400; `auto` as much of its conversation as fits."
        ),
    ] = None
    truncation: Annotated[
        Truncation | None,
        Meta(
            description="What a turn below a stored message is shown: `auto` as much of its path as fits, `disabled` "
            "all of it, and too much is a 400."
        ),
    ] = None
    size: Annotated[
        Annotated[int, Meta(ge=1, le=MOST)] | None,
        Meta(
            description="The most tokens that prompt and reply may have together, where the model could take more, or "
            "nobody knows how many it takes."
        ),
    ] = None
    keep: Annotated[
        Annotated[float, Meta(ge=0.05, le=0.95)] | None,
        Meta(description="The share of the window's room that a new window keeps when there is no more."),
    ] = None
    reserve: Annotated[
        Annotated[int, Meta(ge=1, le=MOST)] | None,
        Meta(description="Tokens kept free for the reply where no `max_tokens` says how long it may be."),
    ] = None
    room: Annotated[
        Annotated[int, Meta(ge=1, le=MOST)] | None,
        Meta(
            description="The most tokens that a prompt may have before a new window begins, where more would fit."
        ),
    ] = None
    summaries: Annotated[
        bool | None,
        Meta(
            description="Whether a summary that a model makes stands for what a window leaves out; where no model may "
            "be asked there is none."
        ),
    ] = None
    context_length_exceeded_behavior: Annotated[
        Exceeding | None,
        Meta(
            description="Where prompt and `max_tokens` do not fit the context: refuse, or lower `max_tokens`."
        ),
    ] = None
    recall: Annotated[
        RecallSetting | None,
        Meta(
            description="Where the window leaves messages out: `tool` offers models that call tools one with which "
            "they have earlier messages quoted, `always` quotes those that fit the question, `off` does neither."
        ),
    ] = None

    def over(self, outer: WindowSettings) -> WindowSettings:
        """These, with the outer ones where nothing is said.

        >>> WindowSettings(mode="auto").over(WindowSettings(mode="strict", keep=0.25))
        WindowSettings(mode='auto', keep=0.25)
        """
        said = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(outer, **said) if said else outer


def reserved(settings: WindowSettings, context_size: int, most: int | None, *, lowers: bool) -> int:
    """How many tokens of a context are kept free for a reply that may have at most so many.

    With `lowers`, `most` is a wish that gives way to the prompt, down to the reserve.

    >>> reserved(WindowSettings(), 8192, None, lowers=True), reserved(WindowSettings(), 8192, 4096, lowers=False)
    (1024, 4096)
    """
    reserve = settings.reserve or max(1, min(MOST_RESERVED, context_size // 4))
    if most is None:
        return reserve
    return min(most, reserve) if lowers else most


def mode_of(asks: WindowSettings, settings: WindowSettings, *, exact: bool) -> Mode:
    """Whether a request is shown all of what it is about: what it says itself goes before what is set elsewhere.

    A turn below a stored message (`exact`) goes by `truncation`, one that resends its history by `mode`.
    """
    if asks.mode is not None:
        return asks.mode
    if asks.truncation is not None:
        return "strict" if asks.truncation == "disabled" else "auto"
    if exact:
        return "strict" if settings.truncation == "disabled" else "auto"
    return settings.mode or "strict"
