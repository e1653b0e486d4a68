"""Turns that were never asked: their deltas and their end, heard live and as they are stored."""

from __future__ import annotations

import secrets
from typing import Any

from palaver.core import ids
from palaver.core.errors import kept_name
from palaver.core.parameters import Parameters
from palaver.core.reply import Reply, replies
from palaver.core.turn import Delta
from palaver.live import LiveReply, Outcome, replayed
from palaver.server.response_events import ResponseEvents
from palaver.server.response_shapes import begun, begun_of
from palaver.stores.base import Item, TurnRecord
from tests.core.test_reply import through_json
from tests.server.event_rules import Event, events_in


class Play:
    """A turn of which some deltas came, and that ended so: heard live, and as it is stored."""

    def __init__(
        self, said: list[Delta], ending: Outcome, *, background: bool = False, summary: str | None = None
    ) -> None:
        self.said = said
        self.ending = ending
        self.turn = ids.TURN + ids.id_body(1_700_000_000_000, secrets.token_bytes(ids.RANDOM_BYTES))
        self.asked: dict[str, Any] = {"background": True} if background else {}
        if summary is not None:
            self.asked["summary"] = summary

    async def live(self, cuts: list[int], after: int = -1) -> list[Event]:
        """The events as they come, the deltas in pieces that end at these places."""
        live = LiveReply(turn=self.turn, conversation="conv_1", model="m", created=1_700_000_000)
        response = begun(
            self.turn,
            live.created,
            live.conversation,
            self.asked,
            parameters=Parameters(),
            tools=[],
            instructions=None,
            metadata={},
        )
        encoder = ResponseEvents(response, live, after=after)
        stream = encoder.begin()
        for start, stop in zip([0, *cuts], [*cuts, len(self.said)], strict=True):
            for delta in self.said[start:stop]:
                live.publish(delta)
            if start < stop:
                stream += encoder.events(self.said[start:stop])
        live.end(self.ending, 1_700_000_001)
        return events_in(stream + await encoder.end(self.ending))

    def record(self) -> TurnRecord:
        error = self.ending.error
        first, *_ = map(through_json, replies(self.said, [self.ending.finish_reason]))
        return TurnRecord(
            id=self.turn,
            conversation="conv_1",
            state=self.ending.state,
            door="responses",
            requested_model="m",
            model="m",
            parameters=Parameters(),
            tools=[],
            metadata={},
            instructions=[],
            question=None,
            reply=self._reply(first),
            gap=None,
            finish_reason=first.finish_reason,
            usage=self.ending.usage,
            error_code=kept_name(error) if error else None,
            error_message=error.public if error else None,
            deltas=first.deltas,
            logprobs=first.logprobs,
            others=[],
            served_as=None,
            tried=[],
            warnings=[],
            receipt=None,
            created_at=1_700_000_000_000,
            first_token_at=None,
            ended_at=1_700_000_002_000,
            asked=self.asked,
        )

    def _reply(self, reply: Reply) -> Item | None:
        if reply.is_empty:
            return None
        return Item(
            id=ids.reply_of(self.turn),
            parent=None,
            depth=1,
            message=reply.message,
            turn=self.turn,
            state=self.ending.state,
            model="m",
            created_at=1_700_000_002_000,
        )

    async def late(self, after: int = -1) -> list[Event]:
        """The events as they are heard of what is stored."""
        record = self.record()
        live = replayed(record)
        encoder = ResponseEvents(begun_of(record), live, after=after)
        assert live.outcome is not None
        stream = encoder.begin() + (encoder.events(live.events) if live.events else b"")
        return events_in(stream + await encoder.end(live.outcome))
