"""What is asked of conversations: what they hold, their branches, how they are made, changed and deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from palaver.library.asking import named, part, path, query


class Conversations:
    """A part of `Palaver`, which says how something is asked for."""

    async def _get(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        raise NotImplementedError

    async def conversations(self, **asked: Any) -> dict[str, Any]:
        """A page of conversations, last updated first: `limit`, `after`, `name`, `user`, `include_tasks`,
        `include_temporary`, `include_archived`; `only` ``pinned``, ``archived``, ``tasks`` or ``temporary``."""
        return await self._get("GET", "/v1/conversations", params=query(asked))

    async def conversation(self, ref: str) -> dict[str, Any]:
        """One conversation, by id or name. Raises RequestError with code ``conversation_not_found``."""
        return await self._get("GET", path(ref))

    async def create_conversation(
        self, items: Sequence[Mapping[str, Any]] = (), *, name: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """Make a conversation that begins with these items (messages, calls, outputs; at most 20): `metadata`, `title`,
        `user`, `temporary`. Raises RequestError, with param ``name`` for a name that is taken."""
        asked = {"items": list(items), "name": None if name is None else named(name, "name"), **more}
        body = {key: value for key, value in asked.items() if value is not None}
        return await self._get("POST", "/v1/conversations", json=body)

    async def update_conversation(
        self, ref: str, *, metadata: Mapping[str, str] | None = None, title: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """Set a conversation's notes or its title, or say whether it is `pinned` or `archived`; the conversation then.

        An empty title is that of its first words again. With `expires_in` it is deleted so many seconds from now, and
        with None it is kept. Raises RequestError.
        """
        asked = {"metadata": metadata, "title": title}
        body = {key: value for key, value in asked.items() if value is not None} | more
        return await self._get("POST", path(ref), json=body)

    async def add_items(self, ref: str, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Hang items (1 to 20) below a conversation's head; the items as they are kept. No model answers.

        Raises RequestError, with code ``conversation_locked`` while a turn runs there or waits.
        """
        added = await self._get("POST", path(ref) + "/items", json={"items": list(items)})
        kept: list[dict[str, Any]] = added["data"]
        return kept

    async def items(self, ref: str, *, include: Sequence[str] = (), **asked: Any) -> dict[str, Any]:
        """A page of what stands on a path, in OpenAI's form, where a reply is several items: `limit`, `after` (an
        item), `order` (``desc`` by default), `to` (a message, by default the head)."""
        params = [*query(asked).items(), *(("include", each) for each in include)]
        return await self._get("GET", path(ref) + "/items", params=params)

    async def messages(self, ref: str, **asked: Any) -> dict[str, Any]:
        """A page of the messages on a path, each with its parent, turn and model: `limit`, `after`, `order` (``desc``
        by default), `to` (a message, by default the head)."""
        return await self._get("GET", path(ref) + "/messages", params=query(asked))

    async def search(self, q: str, *, on_path: bool = False, **asked: Any) -> dict[str, Any]:
        """A page of what is found: hits, each a message or the title of a conversation, with an excerpt (`text`) and
        what of that was looked for (`marks`).

        In `q` are words, phrases in quotes, and beginnings of words with a ``*``. `conversation`, `user`, `role`,
        `since` and `before` (ISO 8601, or seconds since 1970), `source`, `include_tasks`, `include_temporary` narrow or
        widen it; `sort` is ``relevance`` or ``newest``, `in_` says ``messages``, ``titles`` or ``all``; `limit`, and
        `after` the id of the last hit of the page before. With `on_path` only the messages on the path to the head of
        the `conversation` count. Raises RequestError.
        """
        if "in_" in asked:
            asked["in"] = asked.pop("in_")
        if not on_path:
            return await self._get("GET", "/v1/search", params=query({"q": q, **asked}))
        ref = asked.pop("conversation", None) or ""
        within = query({"q": q, "path": "head", **asked})
        return await self._get("GET", path(ref) + "/search", params=within)

    async def tree(self, ref: str, **asked: Any) -> dict[str, Any]:
        """A page of all messages of a conversation, in the order in which they came: `limit`, `after`."""
        return await self._get("GET", path(ref) + "/tree", params=query(asked))

    async def leaves(self, ref: str, **asked: Any) -> dict[str, Any]:
        """A page of the ends of a conversation's branches, the latest first: `limit`, `after`."""
        return await self._get("GET", path(ref) + "/leaves", params=query(asked))

    async def map(self, ref: str) -> dict[str, Any]:
        """The whole tree of a conversation, with messages that follow one upon the other drawn together."""
        return await self._get("GET", path(ref) + "/map")

    async def set_head(self, ref: str, message: str, *, newest: bool = False) -> dict[str, Any]:
        """Make a message (its id) the head of its conversation, which is returned; with `newest` the leaf that came
        last of those below it.

        Raises RequestError with code ``message_not_found`` for one of another conversation.
        """
        body = {"message": message} | ({"newest": True} if newest else {})
        return await self._get("POST", path(ref) + "/head", json=body)

    async def fork(self, ref: str, message: str | None = None, *, name: str | None = None) -> dict[str, Any]:
        """Copy the path to a message (its id; by default the head) into a conversation of its own.

        Raises RequestError, with param ``name`` for a name that is taken.
        """
        asked = {"message": message, "name": None if name is None else named(name, "name")}
        body = {key: value for key, value in asked.items() if value is not None}
        return await self._get("POST", path(ref) + "/fork", json=body)

    async def epochs(self, ref: str, **asked: Any) -> dict[str, Any]:
        """A page of the epochs of a conversation, the latest first: `limit`, `after`."""
        return await self._get("GET", path(ref) + "/epochs", params=query(asked))

    async def set_window(self, ref: str, **settings: Any) -> dict[str, Any]:
        """Say how a conversation's windows are chosen: `mode`, `truncation`, `size`, `keep`, `reserve`,
        `context_length_exceeded_behavior`. These take the place of all that was said before; the conversation then."""
        said = {name: value for name, value in settings.items() if value is not None}
        return await self._get("POST", path(ref) + "/window", json=said)

    async def summaries(self, ref: str) -> list[dict[str, Any]]:
        """The summaries of a conversation, those that cover most first."""
        found: list[dict[str, Any]] = (await self._get("GET", path(ref) + "/summaries"))["data"]
        return found

    async def make_summary(
        self, ref: str, *, to: str | None = None, model: str | None = None
    ) -> dict[str, Any]:
        """Have a model sum up a conversation, up to a message (its id), without it all that its window does not show.

        Raises RequestError where no model may be asked (param ``model``), or there is nothing to sum up (``to``).
        """
        asked = {"to": to, "model": model}
        body = {key: value for key, value in asked.items() if value is not None}
        return await self._get("POST", path(ref) + "/summaries", json=body)

    async def update_summary(
        self, ref: str, summary: str, *, text: str | None = None, enabled: bool | None = None
    ) -> dict[str, Any]:
        """Give a summary (its id) another text, or say whether windows show it; the summary then."""
        asked = {"text": text, "enabled": enabled}
        body = {key: value for key, value in asked.items() if value is not None}
        return await self._get("POST", f"{path(ref)}/summaries/{part(summary, 'summary')}", json=body)

    async def delete_summary(self, ref: str, summary: str) -> None:
        """Delete a summary (its id); what it is about stays."""
        await self._get("DELETE", f"{path(ref)}/summaries/{part(summary, 'summary')}")

    async def delete_conversation(self, ref: str) -> None:
        """Delete a conversation, by id or name, with all in it. Raises RequestError."""
        await self._get("DELETE", path(ref))

    async def delete_item(self, ref: str, message: str, *, branch: bool = False) -> dict[str, Any]:
        """Delete a message (its id, or an item's of it), with `branch` all below it too; the conversation then."""
        item = f"{path(ref)}/items/{part(message, 'message')}"
        return await self._get("DELETE", item, params=query({"branch": branch}))
