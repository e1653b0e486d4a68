"""The contract: turns of several replies, and all that is asked for and told besides text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from palaver.core.errors import InvalidRequest, MessageNotFound, TurnNotFound
from palaver.core.message import FunctionCall, Message, ToolCall
from palaver.core.parameters import Format, NamedTool, Parameters, Tool
from palaver.core.reply import Reply
from palaver.core.tree import Instruction
from palaver.core.turn import ContentDelta, TokenLogprob, ToolCallDelta, TopLogprob, TurnState, Usage
from palaver.stores.base import Admitted, Attempt, Deleted, Item, Store, Tried
from tests.stores.contract_base import Part
from tests.stores.contract_sequences import consistent
from tests.stores.talking import Tables, Talker, Told, assistant, system, user

WORDS = Parameters(
    n=3,
    temperature=0.5,
    logprobs=2,
    stop=["canary-stop"],
    logit_bias={"17": 1.0},
    tool_choice=NamedTool("canary_tool"),
    format=Format(type="json_schema", schema={"title": "canary-schema"}),
    reasoning_effort="canary-effort",
    chat_template_kwargs={"canary": "canary"},
)
TOOLS = [Tool(name="canary_tool", description="canary-tool", parameters={"type": "object"})]
ATTEMPT = Attempt(route="POST /", body=b"b")


def tokens(text: str) -> list[TokenLogprob]:
    return [TokenLogprob(text, -0.5, list(text.encode()), 3, [TopLogprob("other", -2.0)])]


def said(text: str, **more: Any) -> Reply:
    return Reply(content=text, deltas=[len(text)], logprobs=tokens(text), **more)


async def three(store: Store, *texts: str, **more: Any) -> tuple[Told, list[Item]]:
    """A turn with everything, of three replies; the turn, and what is said in the conversation."""
    talker = Talker(store)
    admitted = await talker.admit(
        [user("which?")],
        "c",
        parameters=WORDS,
        tools=TOOLS,
        metadata={"of": "canary"},
        attempt=ATTEMPT,
        **more,
    )
    await talker.end_all(
        admitted.turn,
        *(said(text, finish_reason="stop") for text in texts or ("one", "two", "three")),
        tried=[Tried("first", "canary-tried")],
        warnings=["canary-warning"],
        error_message="canary-error",
    )
    return admitted, await store.tree("local", admitted.conversation)


def words(tables: Tables) -> str:
    return repr(tables)


class Choices(Part):
    async def test_all_are_stored_as_siblings_and_the_first_is_the_head(
        self, store: Store, folder: Path
    ) -> None:
        talker = Talker(store)
        admitted = await talker.admit([user("which?")], parameters=WORDS, tools=TOOLS)
        call = ToolCall(FunctionCall("canary_tool", '{"a":1}'), "call_1")
        await talker.end_all(
            admitted.turn,
            said("one", finish_reason="stop"),
            Reply(reasoning="hm", tool_calls=[call], finish_reason="tool_calls", deltas=[-2, (0, 7)]),
            Reply(finish_reason="content_filter"),
            said("four", finish_reason="length"),
            usage=Usage(3, 9),
            model="second",
            served_as="second-7b",
            tried=[Tried("first", "It is away.")],
            warnings=["The prompt was cut."],
        )
        record = await store.turn("local", admitted.turn)
        assert (record.parameters, record.tools) == (WORDS, TOOLS)
        assert (record.model, record.served_as) == ("second", "second-7b")
        assert (record.tried, record.warnings) == ([Tried("first", "It is away.")], ["The prompt was cut."])
        [question, one, two, four] = await store.tree("local", admitted.conversation)
        assert {item.parent for item in (one, two, four)} == {question.id}
        assert {item.turn for item in (one, two, four)} == {admitted.turn}
        assert [item.finish_reason for item in (one, two, four)] == ["stop", "tool_calls", "length"]
        assert two.message == Message("assistant", None, tool_calls=[call], reasoning="hm")
        assert (record.reply, record.deltas, record.logprobs) == (one, [3], tokens("one"))
        assert record.finish_reason == "stop"
        assert [other.item for other in record.others] == [two, None, four]
        assert [other.finish_reason for other in record.others] == ["tool_calls", "content_filter", "length"]
        assert [other.deltas for other in record.others] == [[-2, (0, 7)], [], [4]]
        assert [other.logprobs for other in record.others] == [[], [], tokens("four")]
        assert (await talker.conversation(admitted.conversation)).head == one.id
        assert [item.finish_reason for item in await talker.path(admitted.conversation)] == [None, "stop"]
        consistent(self.tables(folder))

    async def test_a_reply_of_which_nothing_came_is_no_head(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        admitted = await talker.admit([user("which?")])
        await talker.end_all(admitted.turn, "", "", "three", state=TurnState.INCOMPLETE)
        record = await store.turn("local", admitted.turn)
        assert record.reply is None
        assert [other.item is None for other in record.others] == [True, False]
        assert await talker.texts(admitted.conversation) == ["which?", "three"]
        consistent(self.tables(folder))

    async def test_where_none_says_anything_the_head_goes_back(self, store: Store) -> None:
        talker = Talker(store)
        id = await talker.talk("hi", "hello")
        admitted = await talker.admit([*talker.history, user("which?")])
        await talker.end_all(admitted.turn, "", "", state=TurnState.FAILED)
        assert await talker.texts(id) == ["hi", "hello"]

    @pytest.mark.parametrize("choice", range(3))
    async def test_a_history_goes_on_from_any_of_them_and_the_head_moves(
        self, store: Store, folder: Path, choice: int
    ) -> None:
        admitted, [_, *replies] = await three(store)
        gone_on = await Talker(store).admit([user("which?"), replies[choice].message, user("more")])
        assert gone_on.conversation == admitted.conversation
        path = await Talker(store).path(admitted.conversation)
        assert [item.id for item in path[:2]] == [str(path[0].id), replies[choice].id]
        assert path[2].message == user("more")
        consistent(self.tables(folder))

    async def test_a_history_that_begins_with_the_exchange_is_tied_to_any_of_them(self, store: Store) -> None:
        """By the second hash."""
        talker = Talker(store)
        id = await talker.talk("hi", "hello")
        asked = await talker.admit([*talker.history, user("which?")])
        await talker.end_all(asked.turn, "one", "two")
        cut = await talker.admit([user("which?"), assistant("two"), user("more")])
        assert cut.conversation == id
        assert await talker.texts(id) == ["hi", "hello", "which?", "two", "more"]

    async def test_one_can_be_named_answered_below_and_forked(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        asked = await talker.admit([system("Be brief."), user("which?")])
        await talker.end_all(asked.turn, "one", "two", "three")
        _, _, two, three = await store.tree("local", asked.conversation)
        below = await talker.admit([user("more")], parent=two.id)
        assert [m.text for m in below.messages] == ["which?", "two", "more"]
        assert below.instructions == [Instruction(0, system("Be brief."))]
        await talker.end(below.turn, "sure")
        assert await talker.texts(asked.conversation) == ["which?", "two", "more", "sure"]
        await store.set_head("local", asked.conversation, three.id)
        assert await talker.texts(asked.conversation) == ["which?", "three"]
        fork = await store.fork("local", asked.conversation, two.id)
        copies = await talker.path(fork.id)
        assert [(item.message.text, item.turn, item.finish_reason) for item in copies] == [
            ("which?", None, None),
            ("two", None, None),
        ]
        gone_on = await talker.admit([user("and?")], parent=copies[1].id)
        assert gone_on.instructions == below.instructions
        consistent(self.tables(folder))

    async def test_the_question_is_answered_again_beside_them(self, store: Store, folder: Path) -> None:
        asked, [question, *_] = await three(store)
        again = await Talker(store).admit([], parent=question.id)
        await Talker(store).end_all(again.turn, "four", "five")
        tree = await store.tree("local", asked.conversation)
        assert [item.message.text for item in tree] == ["which?", "one", "two", "three", "four", "five"]
        assert {item.parent for item in tree[1:]} == {question.id}
        consistent(self.tables(folder))

    async def test_only_one_that_was_cut_off_can_be_continued(self, store: Store) -> None:
        talker = Talker(store)
        asked = await talker.admit([user("which?")])
        await talker.end_all(
            asked.turn, said("whole", finish_reason="stop"), said("hal", finish_reason="length")
        )
        question, whole, cut = await store.tree("local", asked.conversation)
        with pytest.raises(InvalidRequest, match="was not cut off"):
            await talker.admit([], parent=whole.id)
        going_on = await talker.admit([], parent=cut.id)
        assert going_on.continues == assistant("hal")
        await talker.end(going_on.turn, "half")
        record = await store.turn("local", going_on.turn)
        assert record.reply is not None
        assert record.reply.parent == question.id

    async def test_recovery_closes_all_with_what_was_logged(self, store: Store, folder: Path) -> None:
        dead = Talker(store, lease="dead")
        asked = await dead.admit([user("which?")])
        deltas = [
            [ContentDelta("o"), ToolCallDelta(0, "call_1", "f", '{"a"', choice=2), ContentDelta("t", 1)],
            [
                ContentDelta("wo", 1),
                ContentDelta("ne", 0, tokens("ne")),
                ToolCallDelta(0, arguments=":1}", choice=2),
            ],
        ]
        for batch, news in enumerate(deltas):
            await store.log(asked.turn, "dead", batch, news)  # type: ignore[arg-type]
        assert await store.recover("alive") == [asked.turn]
        _, one, two, three = await store.tree("local", asked.conversation)
        assert [one.message.text, two.message.text] == ["one", "two"]
        assert three.message.tool_calls == [ToolCall(FunctionCall("f", '{"a":1}'), "call_1")]
        record = await store.turn("local", asked.turn)
        assert (record.state, record.deltas, record.logprobs) == (TurnState.INCOMPLETE, [1, 2], tokens("ne"))
        assert [other.deltas for other in record.others] == [[1, 2], [(0, 4), (0, 3)]]
        assert await dead.texts(asked.conversation) == ["which?", "one"]
        consistent(self.tables(folder))

    @pytest.mark.parametrize("head", range(4))
    async def test_what_is_tried_again_moves_the_head_from_any_of_them(self, store: Store, head: int) -> None:
        """And from its question; it is another reply to that."""
        talker = Talker(store)
        asked = await talker.admit([user("which?")], "c", at_head=True, attempt=ATTEMPT)
        await talker.end_all(asked.turn, "on", "tw", "th", state=TurnState.INCOMPLETE)
        tree = await store.tree("local", asked.conversation)
        await store.set_head("local", asked.conversation, tree[head].id)
        resent = Attempt(route="POST /", body=b"b", count=1)
        again = await talker.admit([user("which?")], "c", at_head=True, attempt=resent)
        assert not again.joined
        await talker.end_all(again.turn, "one", "two", "three")
        assert await talker.texts(asked.conversation) == ["which?", "one"]
        tree = await store.tree("local", asked.conversation)
        assert [item.depth for item in tree] == [0, 1, 1, 1, 1, 1, 1]

    async def test_a_request_that_is_repeated_finds_the_turn_of_several(self, store: Store) -> None:
        asked, _ = await three(store)
        resent = Attempt(route="POST /", body=b"b", count=1)
        again: Admitted = await Talker(store).admit([user("which?")], "c", attempt=resent)
        assert (again.joined, again.turn) == (True, asked.turn)


class DeletingChoices(Part):
    async def resent_is_new(self, store: Store) -> None:
        resent = Attempt(route="POST /", body=b"b", count=1)
        again = await Talker(store).put([user("which?")], "c", attempt=resent)
        assert not again.joined, "an answer of which something is gone is not given again"

    @pytest.mark.parametrize("choice", range(3))
    async def test_one_goes_and_the_others_stay(self, store: Store, folder: Path, choice: int) -> None:
        asked, [question, *replies] = await three(store, *(f"say{i}" for i in range(3)))
        gone = replies.pop(choice)
        assert await store.delete_message("local", gone.id) == Deleted(messages=1)
        assert await store.tree("local", asked.conversation) == [question, *replies]
        tables = self.tables(folder)
        for canary in (f"say{choice}", "canary"):
            assert canary not in words(tables)
        record = await store.turn("local", asked.turn)
        found = [record.reply, *(other.item for other in record.others)]
        assert found == [*replies[:choice], None, *replies[choice:]], "each keeps its number"
        logprobs = [record.logprobs, *(other.logprobs for other in record.others)]
        assert logprobs == [[] if i == choice else tokens(f"say{i}") for i in range(3)]
        assert (record.parameters, record.tools) == (Parameters(n=3, temperature=0.5, logprobs=2), [])
        assert (record.metadata, record.tried, record.warnings, record.error_message) == ({}, [], [], None)
        consistent(tables)
        await self.resent_is_new(store)

    async def test_with_the_last_of_them_the_turn_goes(self, store: Store, folder: Path) -> None:
        asked, [_, *replies] = await three(store)
        done = [await store.delete_message("local", reply.id) for reply in replies]
        assert done == [Deleted(messages=1), Deleted(messages=1), Deleted(messages=1, turns=1)]
        with pytest.raises(TurnNotFound):
            await store.turn("local", asked.turn)
        tables = self.tables(folder)
        assert tables["choices"] == tables["toolsets"] == tables["attempts"] == []
        consistent(tables)

    @pytest.mark.parametrize("choice", range(3))
    async def test_one_with_something_below_leaves_its_place_only(
        self, store: Store, folder: Path, choice: int
    ) -> None:
        asked, [_, *replies] = await three(store, *(f"say{i}" for i in range(3)))
        below = await Talker(store).admit([user("more")], parent=replies[choice].id)
        await Talker(store).end(below.turn, "sure")
        assert await store.delete_message("local", replies[choice].id) == Deleted(messages=1)
        tables = self.tables(folder)
        for canary in (f"say{choice}", "canary"):
            assert canary not in words(tables)
        record = await store.turn("local", asked.turn)
        found = [record.reply, *(other.item for other in record.others)]
        assert [item.deleted for item in found if item] == [i == choice for i in range(3)]
        deltas = [record.deltas, *(other.deltas for other in record.others)]
        assert deltas == [[] if i == choice else [4] for i in range(3)]
        logprobs = [record.logprobs, *(other.logprobs for other in record.others)]
        assert logprobs == [[] if i == choice else tokens(f"say{i}") for i in range(3)]
        with pytest.raises(MessageNotFound):
            await store.delete_message("local", replies[choice].id)
        consistent(tables)
        await self.resent_is_new(store)

    async def test_a_tombstone_among_them_goes_with_what_hangs_below_it(
        self, store: Store, folder: Path
    ) -> None:
        asked, [_, one, two, three_] = await three(store)
        below = await Talker(store).admit([user("more")], parent=two.id)
        await Talker(store).end(below.turn, "sure")
        for reply in (one, two, three_):
            await store.delete_message("local", reply.id)
        assert (await store.turn("local", asked.turn)).others[0].item is not None, "it still holds its place"
        question = (await store.tree("local", asked.conversation))[2]
        assert await store.delete_branch("local", question.id) == Deleted(messages=2, turns=2)
        assert [i.message.text for i in await store.tree("local", asked.conversation)] == ["which?"]
        assert self.tables(folder)["choices"] == []
        consistent(self.tables(folder))

    async def test_a_question_that_is_a_tombstone_leaves_its_answers_whole(
        self, store: Store, folder: Path
    ) -> None:
        asked, [question, *replies] = await three(store)
        await store.delete_message("local", question.id)
        tables = self.tables(folder)
        assert "canary" not in words(tables)
        assert "which?" not in words(tables)
        record = await store.turn("local", asked.turn)
        assert [record.reply, *(other.item for other in record.others)] == replies
        assert record.logprobs == tokens("one")
        assert [other.logprobs for other in record.others] == [tokens("two"), tokens("three")]
        consistent(tables)

    async def test_a_branch_takes_its_reply_and_no_other(self, store: Store, folder: Path) -> None:
        asked, [question, one, two, three_] = await three(store)
        below = await Talker(store).admit([user("more")], parent=two.id)
        await Talker(store).end_all(below.turn, "a", "b")
        assert await store.delete_branch("local", two.id) == Deleted(messages=4, turns=1)
        assert await store.tree("local", asked.conversation) == [question, one, three_]
        consistent(self.tables(folder))
        assert await store.delete_branch("local", question.id) == Deleted(messages=3, turns=1)
        assert await store.tree("local", asked.conversation) == []

    @pytest.mark.parametrize("built_on", [None, 0, 2])
    async def test_a_turn_goes_with_all_its_replies(
        self, store: Store, folder: Path, built_on: int | None
    ) -> None:
        talker = Talker(store)
        asked, [question, *replies] = await three(store)
        if built_on is None:
            assert await store.delete_turn("local", asked.turn) == Deleted(messages=4, turns=1)
            assert await store.tree("local", asked.conversation) == []
            assert self.tables(folder)["turns"] == self.tables(folder)["choices"] == []
        else:
            below = await talker.admit([user("more")], parent=replies[built_on].id)
            await talker.end(below.turn, "sure")
            assert await store.delete_turn("local", asked.turn) == Deleted(messages=3)
            tree = await store.tree("local", asked.conversation)
            assert tree[0] == question
            assert [(item.message.text, item.deleted) for item in tree[1:]] == [
                ("", True),
                ("more", False),
                ("sure", False),
            ]
        tables = self.tables(folder)
        assert "canary" not in words(tables)
        consistent(tables)

    async def test_a_turn_beside_another_goes_with_its_replies_alone(self, store: Store) -> None:
        asked, [question, *replies] = await three(store)
        again = await Talker(store).admit([], parent=question.id)
        await Talker(store).end_all(again.turn, "four", "five")
        assert await store.delete_turn("local", again.turn) == Deleted(messages=2, turns=1)
        assert await store.tree("local", asked.conversation) == [question, *replies]

    async def test_tools_go_with_the_last_turn_that_had_them(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        turns = [await talker.admit([user(f"{i}")], tools=TOOLS) for i in range(2)]
        other = Talker(store, "other")
        theirs = await other.admit([user("hi")], tools=TOOLS)
        for turn in turns:
            await talker.end_all(turn.turn, "one", "two")
        await other.end(theirs.turn, "hello")
        assert len(self.tables(folder)["toolsets"]) == 2, "one for each owner"
        await store.delete_conversation("local", turns[0].conversation)
        assert (await store.turn("local", turns[1].turn)).tools == TOOLS
        await store.delete_conversation("local", turns[1].conversation)
        assert len(self.tables(folder)["toolsets"]) == 1
        assert await store.delete_owner("other") == Deleted(conversations=1, messages=2, turns=1)
        assert self.tables(folder)["toolsets"] == []

    @pytest.mark.parametrize("what", ["conversation", "end user", "owner", "age", "expiry"])
    async def test_all_of_it_goes(self, store: Store, folder: Path, what: str) -> None:
        await Talker(store, "kept").talk("hi", "hello")
        before = self.tables(folder)
        talker, temporary = Talker(store, end_user="ann"), 0 if what == "expiry" else None
        for i in range(3):
            asked = await talker.admit(
                [user(f"canary {i}")], parameters=WORDS, tools=TOOLS, attempt=ATTEMPT, temporary=temporary
            )
            await talker.end_all(
                asked.turn,
                *(said(f"canary {i} {n}") for n in range(3)),
                tried=[Tried("first", "canary")],
                warnings=["canary"],
            )
        running = await talker.admit([user("canary")], tools=TOOLS, parameters=WORDS)
        await store.log(running.turn, talker.lease, 0, [ToolCallDelta(0, "canary", "canary", "canary", 2)])
        await talker.end(running.turn, "canary")
        for conversation in await talker.conversations():
            if what == "conversation":
                await store.delete_conversation("local", conversation.id)
        if what == "end user":
            await store.delete_end_user("local", "ann")
        elif what == "owner":
            await store.delete_owner("local")
        elif what == "age":
            await store.delete_aged(1 << 50, owner="local")
        elif what == "expiry":
            await store.delete_expired(1 << 50)
            await store.delete_conversation("local", running.conversation)
        after = self.tables(folder)
        assert "canary" not in words(after)
        rest = {"deletions", "owners", "end_users"}
        assert {n: r for n, r in after.items() if n not in rest} == {
            n: r for n, r in before.items() if n not in rest
        }
