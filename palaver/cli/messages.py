"""The messages of a conversation as a person names them: by a few characters of their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from palaver.cli.resent import text_of
from palaver.core import ids
from palaver.core.errors import InvalidRequest, MessageNotFound

if TYPE_CHECKING:
    from palaver.library import Palaver

PAGE = 100
NEAR = 10
"""Messages to read at a time where one of the last is looked for."""
SHORTEST = 4
"""Characters of an id that a person must give at least."""
DELETED = "(deleted)"


async def tree_of(palaver: Palaver, ref: str) -> list[dict[str, Any]]:
    """All messages of a conversation, in the order in which they came, as items. Raises RequestError."""
    items: list[dict[str, Any]] = []
    more = True
    while more:
        page = await palaver.tree(ref, limit=PAGE, after=items[-1]["id"] if items else None)
        items += page["data"]
        more = page["has_more"]
    return items


async def last_item(
    palaver: Palaver, ref: str, fits: Callable[[Mapping[str, Any]], bool], to: str | None = None
) -> dict[str, Any] | None:
    """The last message that fits on the path to one, by default the head; None where there is none.

    Raises RequestError.
    """
    after, more = None, True
    while more:
        page = await palaver.messages(ref, to=to, after=after, limit=NEAR)
        for item in page["data"]:
            if fits(item):
                return dict(item)
        after, more = page["last_id"], page["has_more"]
    return None


async def message_id(palaver: Palaver, ref: str, given: str) -> str:
    """The id of a message of a conversation, of which somebody gave the whole or an end or a beginning.

    Raises RequestError where there is none, or more than one.
    """
    if ids.is_id(given, ids.MESSAGE):
        return given
    return found(given, [item["id"] for item in await tree_of(palaver, ref)])


def found(given: str, messages: Iterable[str]) -> str:
    """The one of these ids that ends or begins so. Raises InvalidRequest and MessageNotFound."""
    part = given.lower().removeprefix(ids.MESSAGE)
    if len(part) < SHORTEST:
        raise InvalidRequest(f"{given} is too little of an id: give {SHORTEST} characters at least.")
    bodies = [id.removeprefix(ids.MESSAGE) for id in messages]
    fitting = [body for body in bodies if body.startswith(part) or body.endswith(part)]
    if not fitting:
        raise MessageNotFound(f"No message of this conversation has an id that ends or begins with {given}.")
    if len(fitting) > 1:
        several = ", ".join(ids.MESSAGE + body for body in fitting[:SHORTEST])
        more = " …" if len(fitting) > SHORTEST else ""
        raise InvalidRequest(f"{given} may be any of {len(fitting)} messages: {several}{more}")
    return ids.MESSAGE + fitting[0]


def short_ids(messages: Iterable[str]) -> dict[str, str]:
    """The ends of these ids, all equally long, which tell them apart. (They begin with the time.)"""
    whole = list(messages)
    for length in range(SHORTEST, ids.BODY_LENGTH):
        if len({id[-length:] for id in whole}) == len(whole):
            return {id: id[-length:] for id in whole}
    return {id: id for id in whole}


def is_cut(item: Mapping[str, Any]) -> bool:
    """Whether a reply was ended by something else than the model."""
    return bool(item["status"] == "incomplete" or item["finish_reason"] == "length")


def shown_text(item: Mapping[str, Any]) -> str:
    """The text of an item, or that it was deleted."""
    return DELETED if item["deleted"] else text_of(item)
