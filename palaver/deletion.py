"""Deleting while palaver runs: what is being answered there is stopped first, so that its readers hear an end and
nothing of it comes after. And what engines have computed of it is erased: before, so that no crash leaves any of it,
and after, for what was computed meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import structlog

from palaver.chat import Chat
from palaver.core.errors import ConversationNotFound, EngineError
from palaver.stores.base import Conversation, Deleted

log = structlog.get_logger(__name__)

DELETED = "Something in its conversation was deleted while it was being answered."
"""What the readers of a turn hear that a deletion stops."""


class Deletion:
    """Deletes from the store of a `Chat`. Its verbs raise what the store's raise (`stores.base.Deletion`)."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._store = chat.store
        self._catalog = chat.catalog

    @contextlib.asynccontextmanager
    async def _forgotten(self, owner: str, *conversations: str | None) -> AsyncIterator[None]:
        """Before the block, and after it, erase what engines hold of these conversations; None is all of an owner's."""
        try:
            for conversation in conversations:
                await self._catalog.forget(owner, conversation)
        except EngineError as error:
            log.warning("what was computed could not be erased before a deletion", error=error.message)
        yield
        for conversation in conversations:
            await self._catalog.forget(owner, conversation)

    async def _done(self, deleted: Deleted, owner: str = "", *gone: str) -> Deleted:
        """What has been deleted may have been quoted elsewhere: turns there are stopped, what was computed is erased.

        `gone` are the owner's conversations (ids) in which it was; without them those that are not there any more.
        """
        concerned = set(deleted.quoted_in)
        for turn in self._chat.quoting:
            whose, conversation = turn.window.owner, turn.window.conversation
            if gone:
                is_about = whose == owner and not turn.quoted.isdisjoint(gone)
            else:
                is_about = any([await self._is_gone(whose, each) for each in turn.quoted])
            if is_about and conversation:
                concerned.add((whose, conversation))
        for whose, conversation in sorted(concerned):
            await self._chat.stop_turns(whose, DELETED, conversation=conversation)
            await self._catalog.forget(whose, conversation)
        return deleted

    async def _is_gone(self, owner: str, conversation: str) -> bool:
        try:
            await self._store.conversation(owner, conversation)
        except ConversationNotFound:
            return True
        return False

    async def message(self, owner: str, conversation: str, message: str, *, branch: bool = False) -> Deleted:
        """Delete a message of a conversation (ids), with `branch` all below it too.

        All turns of the conversation are stopped: each may have been shown what is deleted. Raises
        ConversationNotFound, and MessageNotFound for a message of another conversation or one deleted before.
        """
        await self._store.items(owner, conversation, to=message, limit=1)
        await self._chat.stop_turns(owner, DELETED, conversation=conversation)
        delete = self._store.delete_branch if branch else self._store.delete_message
        async with self._forgotten(owner, conversation):
            return await self._done(await delete(owner, message), owner, conversation)

    async def summary(self, owner: str, conversation: str, summary: str) -> None:
        """Delete a summary of a conversation (ids). All turns of that are stopped: each may have been shown it. Raises
        ConversationNotFound and SummaryNotFound."""
        await self._store.summary(owner, conversation, summary)
        await self._chat.stop_turns(owner, DELETED, conversation=conversation)
        async with self._forgotten(owner, conversation):
            await self._store.delete_summary(owner, conversation, summary)

    async def turn(self, owner: str, turn: str) -> Deleted:
        """Delete a turn's replies, and its question unless something else answers it. Raises TurnNotFound."""
        live = self._chat.live(owner, turn)
        if live is not None and live.conversation is None:
            await self._chat.cancel(owner, turn, DELETED)
            return Deleted()  # it was not stored, and has just gone
        record = await self._store.turn(owner, turn)
        await self._chat.stop_turns(owner, DELETED, conversation=record.conversation)
        async with self._forgotten(owner, record.conversation):
            gone = [record.conversation] if record.conversation else []
            return await self._done(await self._store.delete_turn(owner, turn), owner, *gone)

    async def conversation(self, owner: str, conversation: str) -> Deleted:
        """Delete a conversation (an id). Raises ConversationNotFound."""
        await self._chat.stop_turns(owner, DELETED, conversation=conversation)
        async with self._forgotten(owner, conversation):
            return await self._done(
                await self._store.delete_conversation(owner, conversation), owner, conversation
            )

    async def end_user(self, owner: str, end_user: str) -> Deleted:
        """Delete all conversations of an end user, and the name; nothing where there is none."""
        conversations = await self._store.conversations_of(owner, end_user)
        await self._chat.stop_turns(owner, DELETED, conversations=conversations)
        async with self._forgotten(owner, *conversations):
            return await self._done(await self._store.delete_end_user(owner, end_user), owner, *conversations)

    async def owner(self, owner: str) -> Deleted:
        """Delete everything of an owner; nothing where there is none."""
        await self._chat.stop_turns(owner, DELETED)
        async with self._forgotten(owner, None):
            return await self._store.delete_owner(owner)

    async def aged(self, before: int, owner: str | None = None) -> Deleted:
        """Delete conversations last updated before this time (milliseconds since 1970), of an owner or of all.

        Those with a turn that runs or waits stay.
        """
        deleted = await self._store.delete_aged(before, owner=owner)
        await self.sweep()
        return await self._done(deleted)

    async def expired(self, now: int) -> Deleted:
        """Delete conversations whose time is over at `now` (milliseconds since 1970).

        The turns of one that goes at a time that was set for it are stopped; a temporary one waits until they have
        ended.
        """
        for owner, conversation in await self._store.overdue(now):
            await self._chat.stop_turns(owner, DELETED, conversation=conversation)
        deleted = await self._store.delete_expired(now)
        await self.sweep()
        return await self._done(deleted)

    async def sweep(self) -> int:
        """Erase what engines hold of conversations that are not there any more. How much that was."""
        held = [each for cache in (await self._catalog.kv_caches()).values() for each in cache.held]
        # Of what is not stored nothing is kept: it is only in use.
        there = {(each.owner, each.conversation) for each in held if each.conversation}
        erased = 0
        for owner, conversation in sorted(there | self._chat.settling):
            if await self._is_gone(owner, conversation):
                await self._chat.stop_turns(owner, DELETED, conversation=conversation)
                erased += await self._erased(owner, conversation)
        return erased

    async def _erased(self, owner: str, conversation: str) -> int:
        try:
            return await self._catalog.forget(owner, conversation)
        except EngineError as error:  # it is tried again with the next sweep
            log.warning(
                "what was computed of a deleted conversation could not be erased", error=error.message
            )
            return 0

    async def preview_aged(
        self, before: int, owner: str | None = None, *, show: int = 100
    ) -> tuple[int, list[Conversation]]:
        """How many conversations `aged` would delete, and the oldest of them."""
        return await self._store.aged(before, owner=owner, limit=show)
