"""The contract: a request that a client repeats is answered once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from palaver.core.errors import InvalidRequest, TooManyRequests
from palaver.core.turn import TurnState
from palaver.stores.base import Admitted, Attempt, Store
from tests.stores.contract_base import Part
from tests.stores.talking import Talker, user

BODY = b"a digest of the body"
OTHER = b"a digest of another one"


def attempt(count: int = 0, body: bytes = BODY, key: str | None = None, route: str = "chat") -> Attempt:
    return Attempt(route=route, body=body, count=count, idempotency_key=key)


async def ask(talker: Talker, count: int = 0, text: str = "hi", **more: Any) -> Admitted:
    return await talker.admit([user(text)], **({"attempt": attempt(count)} | more))


class Resends(Part):
    async def test_a_repetition_joins_the_turn_that_runs(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        first = await ask(talker)
        again = await ask(talker, 1)
        assert (first.joined, again.joined) == (False, True)
        assert (again.turn, again.conversation) == (first.turn, first.conversation)
        assert (again.state, again.lease) == (TurnState.RUNNING, "lease_1")
        assert len(self.tables(folder)["turns"]) == len(self.tables(folder)["messages"]) == 1

    @pytest.mark.parametrize("state", [TurnState.COMPLETED, TurnState.CANCELLED])
    async def test_what_has_an_answer_is_not_asked_again(self, store: Store, state: TurnState) -> None:
        talker = Talker(store)
        first = await ask(talker)
        await talker.end(first.turn, "hello", state)
        again = await ask(talker, 1)
        assert (again.turn, again.joined, again.state, again.lease) == (first.turn, True, state, None)

    @pytest.mark.parametrize("text", ["", "hel"])
    @pytest.mark.parametrize("state", [TurnState.FAILED, TurnState.INCOMPLETE])
    async def test_what_failed_is_tried_again_below_the_same_question(
        self, store: Store, state: TurnState, text: str, folder: Path
    ) -> None:
        talker = Talker(store)
        await talker.talk("one", "two")
        history = [*talker.history, user("hi")]
        first = await talker.admit(history, attempt=attempt())
        await talker.end(first.turn, text, state)
        again = await talker.admit(history, attempt=attempt(1))
        assert not again.joined
        assert again.conversation == first.conversation
        assert again.messages == first.messages
        await talker.end(again.turn, "hello")
        records = [await store.turn("local", turn.turn) for turn in (first, again)]
        assert records[0].question == records[1].question
        assert await talker.texts(first.conversation) == ["one", "two", "hi", "hello"]
        third = await talker.admit(history, attempt=attempt(2))
        assert (third.joined, third.turn) == (True, again.turn), "the turn that was tried again has its place"
        questions = [row for row in self.tables(folder)["messages"] if '"hi"' in row["body"]]
        assert len(questions) == 1

    async def test_a_first_question_that_failed_stays_one_conversation(self, store: Store) -> None:
        talker = Talker(store)
        first = await ask(talker)
        await talker.end(first.turn, "", TurnState.FAILED)
        again = await ask(talker, 1)
        assert again.conversation == first.conversation
        assert (await talker.conversation(first.conversation)).one_shot

    async def test_what_a_crash_closed_is_tried_again(self, store: Store) -> None:
        talker = Talker(store)
        first = await ask(talker)
        await talker.log(first.turn, 0, "hel")
        await store.recover("lease_2")
        talker.lease = "lease_2"
        again = await ask(talker, 1)
        assert (again.joined, again.conversation) == (False, first.conversation)
        await talker.end(again.turn, "hello")
        assert await talker.texts(first.conversation) == ["hi", "hello"]

    async def test_equal_requests_that_are_both_repeated_find_a_turn_each(self, store: Store) -> None:
        talker = Talker(store)
        first, second = await ask(talker), await ask(talker)
        assert first.turn != second.turn
        again = {(await ask(talker, 1)).turn, (await ask(talker, 1)).turn}
        assert again == {first.turn, second.turn}
        assert not (await ask(talker, 1)).joined, "nobody is left to repeat"

    async def test_the_latest_of_equal_requests_is_repeated_first(self, store: Store) -> None:
        """The one before had its answer, or its client would not have asked anew."""
        talker = Talker(store)
        old = await ask(talker)
        await talker.end(old.turn, "hello")
        new = await ask(talker)
        assert (await ask(talker, 1)).turn == new.turn

    async def test_a_repetition_comes_before_what_it_repeats(self, store: Store) -> None:
        talker = Talker(store)
        early = await ask(talker, 1)
        assert not early.joined
        late = await ask(talker, 0)
        assert (late.joined, late.turn) == (True, early.turn)
        assert not (await ask(talker, 0)).joined, "a second first request is a new one"

    async def test_first_requests_are_each_their_own(self, store: Store) -> None:
        talker = Talker(store)
        assert (await ask(talker)).turn != (await ask(talker)).turn

    @pytest.mark.parametrize("more", [{"body": OTHER}, {"route": "responses"}])
    async def test_another_request_is_no_repetition(self, store: Store, more: dict[str, Any]) -> None:
        talker = Talker(store)
        await ask(talker)
        assert not (await ask(talker, attempt=attempt(1, **more))).joined

    async def test_another_owner_repeats_nothing(self, store: Store) -> None:
        mine, other = Talker(store), Talker(store, owner="other")
        await ask(mine, attempt=attempt(0, key="key"))
        await ask(mine)
        for repeated in (attempt(1), attempt(0, key="key")):
            assert not (await ask(other, attempt=repeated)).joined

    async def test_an_idempotency_key_answers_once(self, store: Store) -> None:
        talker = Talker(store)
        keyed = attempt(0, key="key")
        first = await ask(talker, attempt=keyed)
        for repeated in (keyed, keyed, attempt(1, key="key"), attempt(7, key="key")):
            again = await ask(talker, attempt=repeated)
            assert (again.joined, again.turn) == (True, first.turn)
        assert not (await ask(talker, attempt=attempt(0, key="other"))).joined
        assert not (await ask(talker)).joined
        await talker.end(first.turn, "", TurnState.FAILED)
        second = await ask(talker, attempt=keyed)
        assert not second.joined
        assert (await ask(talker, attempt=keyed)).turn == second.turn

    async def test_an_idempotency_key_is_for_one_request(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        await ask(talker, attempt=attempt(0, key="key"))
        async with self.unchanged(folder):
            with pytest.raises(InvalidRequest) as raised:
                await ask(talker, attempt=attempt(0, OTHER, "key"))
        assert (raised.value.param, raised.value.code) == ("Idempotency-Key", "idempotency_key_reused")

    async def test_a_dead_turn_is_replaced(self, store: Store) -> None:
        """This process has lost it: it is closed, and the request that found it has the question answered anew."""
        talker = Talker(store)
        first = await ask(talker)
        assert (await ask(talker, 1)).turn == first.turn
        await talker.end(first.turn, "", TurnState.INCOMPLETE)
        anew = await ask(talker, 1, replaces=first.turn)
        assert not anew.joined
        assert (await store.turn("local", anew.turn)).question == (
            await store.turn("local", first.turn)
        ).question
        assert (await ask(talker, 2)).turn == anew.turn

    async def test_where_no_turn_may_begin_it_joins_all_the_same(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        first = await ask(talker)
        assert (await ask(talker, 1, only_joins=True)).turn == first.turn
        before = self.tables(folder)
        others: list[dict[str, Any]] = [
            {"text": "more", "attempt": None},
            {"count": 0},
            {"attempt": attempt(1, OTHER)},
        ]
        for more in others:
            with pytest.raises(TooManyRequests):
                await ask(talker, **{"only_joins": True, **more})
        assert self.tables(folder) == before
        await talker.end(first.turn, "", TurnState.FAILED)
        with pytest.raises(TooManyRequests):
            await ask(talker, 2, only_joins=True)

    async def test_nothing_tells_what_was_asked(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        await ask(talker)
        [row] = self.tables(folder)["attempts"]
        assert BODY not in msgspec.json.encode(row["body_hash"])
        assert row["body_hash"] != BODY

    async def test_a_repetition_waits_with_the_turn_that_waits(self, store: Store) -> None:
        talker = Talker(store)
        await talker.admit([user("one")], "room", at_head=True)
        second = await talker.admit([user("two")], "room", at_head=True, attempt=attempt())
        again = await talker.admit([user("two")], "room", at_head=True, attempt=attempt(1))
        assert (again.joined, again.turn, again.state) == (True, second.turn, TurnState.QUEUED)
