"""Items that are named instead of sent, and the stored messages that they are parts of."""

from __future__ import annotations

import msgspec

from palaver.core import ids
from palaver.core.errors import TurnNotFound, TurnRunning
from palaver.core.message import Message
from palaver.server.files import whole_within
from palaver.server.input_items import Entry, InputItems, Reference, unknown
from palaver.server.items import shown_as
from palaver.stores.base import Item, Store


async def resolve(
    store: Store, owner: str, found: InputItems, most: int, end_user: str | None = None
) -> InputItems:
    """The same with the messages that references name, and all that is attached to them.

    Raises InvalidRequest for one that names nothing of `owner`'s or, where an `end_user` is named, of theirs, and where
    more than `most` bytes (as base64) are attached. Raises TurnRunning for a reply that has not ended.
    """
    wanted = [entry.message for entry in found.entries if isinstance(entry, Reference)]
    if not wanted:
        return found
    with found.naming():
        kept = await store.messages(owner, wanted, end_user=end_user)
        named = await whole_within(store, owner, kept, most)
    stored = {item.id: item for item in named}
    for entry in found.entries:
        if isinstance(entry, Reference) and entry.message not in stored:
            await _check_ended(store, owner, entry, found.param)
    entries: list[Entry] = []
    places: list[int] = []
    is_after_reference = False
    for place, entry in zip(found.places, found.entries, strict=True):
        said = entry
        if isinstance(entry, Reference):
            said = _named(entry, stored.get(entry.message), found.param)
        if not (is_after_reference and _is_said_in(said, entries[-1])):
            entries.append(said)
            places.append(place)
        is_after_reference = isinstance(entry, Reference)
    return msgspec.structs.replace(found, entries=entries, places=places)


def _named(reference: Reference, item: Item | None, param: str) -> Message:
    for place, id in reference.items:
        if item is None or shown_as(item, id) is None:
            raise unknown(id, f"{param}[{place}].id")
    assert item is not None
    return item.message


async def _check_ended(store: Store, owner: str, reference: Reference, param: str) -> None:
    """Raises TurnRunning where what is named is of a reply that is not stored yet: a client that left it early names
    what it heard."""
    try:
        turn = await store.turn(owner, ids.TURN + reference.message.removeprefix(ids.MESSAGE))
    except TurnNotFound:
        return
    if not turn.state.ended:
        place, _ = reference.items[0]
        raise TurnRunning(
            "The response that this item is of is still running; go on from it when it has ended.",
            param=f"{param}[{place}].id",
        )


def _is_said_in(entry: Entry, named: Entry) -> bool:
    """Whether the calls that come right after a message that was named are its own: some clients name the thinking and
    the text, and send the calls."""
    if not (isinstance(entry, Message) and isinstance(named, Message) and entry.tool_calls):
        return False
    made = {call.id for call in named.tool_calls or ()}
    return entry.content in (None, named.content) and all(call.id in made for call in entry.tool_calls)
