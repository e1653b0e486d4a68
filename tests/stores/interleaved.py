"""Turns that are asked, begin, end and die in any order, and what must be true of a store after each step.

The oracle looks at the rows before and after. What it expects is said in the words of the contract, from the rows
and from what it remembers of the turns: where a turn hangs, who waits, where the head is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import strategies as st

from palaver.core.errors import ConversationBusy, ConversationNotFound, LeaseLost, MessageNotFound
from palaver.core.message import Message
from palaver.core.receipt import Receipt
from palaver.core.turn import TurnState
from palaver.stores.base import Admitted, Attempt, Concurrency, Store
from tests.stores.contract_sequences import consistent
from tests.stores.talking import Tables, Talker, Told, assistant, new_epoch, receipt_in, user

WHO = (("local", None), ("local", "ann"), ("local", "bob"), ("other", None))
NAMES = ("room", "hall")
MAX_WAITING = 3
SEVERAL = (["reply"], ["reply"], ["reply", "another"], ["", "reply", "", "another"])
"""What a turn ends with: one reply or several, of which nothing may have come."""
What = Literal[
    "say",
    "say to nobody's head",
    "say below",
    "resend",
    "say by name",
    "answer again",
    "go on",
    "repeat",
    "reach for another's",
    "begin",
    "log",
    "finish",
    "end",
    "finish one that has ended",
    "move the head",
    "crash",
]
OFTEN: tuple[What, ...] = ("begin",) * 5 + ("say",) * 5 + ("finish",) * 5 + ("repeat",) * 2 + ("end",)
"""A step that often has nothing to do comes first: towards it a script that fails is made simpler."""
STEPS: tuple[What, ...] = (
    *OFTEN,
    "say to nobody's head",
    "say below",
    "resend",
    "say by name",
    "answer again",
    "go on",
    "reach for another's",
    "log",
    "finish one that has ended",
    "move the head",
    "crash",
)
Open = Callable[[Path], AbstractAsyncContextManager[Store]]
Row = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """What is done, by whom, and to which of the things that it may be done to."""

    what: What
    who: int
    place: int
    other: int
    policy: Concurrency
    state: TurnState


steps = st.lists(
    st.builds(
        Step,
        what=st.sampled_from(STEPS),
        who=st.sampled_from((0, 0, 0, 1, 2, 3)),
        place=st.integers(0, 7),
        other=st.integers(0, 7),
        policy=st.sampled_from(("queue", "queue", "queue", "branch", "reject")),
        state=st.sampled_from([state for state in TurnState if state.ended]),
    ),
    min_size=15,
    max_size=45,
)


@dataclass(frozen=True)
class Request:
    """What a client sends. `messages` are new ones or, without `at_head` and `parent`, a whole history."""

    who: int
    number: int
    messages: tuple[Message, ...]
    conversation: str | None = None
    parent: str | None = None
    at_head: bool = False
    policy: Concurrency = "queue"
    key: str | None = None

    @property
    def body(self) -> bytes:
        return f"{self.who} {self.number}".encode()


@dataclass
class Asked:
    """A turn, as its client remembers it. `path` is None until it has a place."""

    texts: list[str]
    conversation: str
    path: list[str] | None = None
    head_before: int | None = None
    logged: str = ""
    replies: list[str] = field(default_factory=list)
    receipt: Receipt | None = None


@dataclass
class Claims:
    """Which turn answers a request, and for which counts it was claimed."""

    turn: str
    counts: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Place:
    """Where a request hangs: its conversation (None: a new one), the last message there that stands in the tree
    already, and how many new ones come below it; without any, that message is the question itself."""

    conversation: str | None
    node: int | None
    new: int
    waits: bool = False
    moves_head: bool = True


class View:
    """What a store holds at one moment."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.messages = {row["seq"]: row for row in tables["messages"]}
        self.ids = {row["id"]: row for row in tables["messages"]}
        self.texts = {seq: text_of(row) for seq, row in self.messages.items()}
        self.conversations: dict[str, Row] = {row["id"]: row for row in tables["conversations"]}
        self.turns = {row["id"]: row for row in tables["turns"]}
        owners = {row["seq"]: row["name"] for row in tables["owners"]}
        names = {row["seq"]: row["name"] for row in tables["end_users"]}
        self.whose = {
            row["seq"]: (owners[row["owner"]], names.get(row["end_user"])) for row in tables["conversations"]
        }

    def path(self, seq: int | None) -> list[str]:
        found = []
        while seq is not None:
            found.append(self.texts[seq])
            seq = self.messages[seq]["parent"]
        return found[::-1]

    def replies(self, turn: Row) -> list[int]:
        """The replies of a turn, in their order."""
        others = [row for row in self.tables["choices"] if row["turn"] == turn["seq"]]
        others.sort(key=lambda row: int(row["choice"]))
        return [row["reply"] for row in (turn, *others) if row["reply"] is not None]

    def head(self, conversation: str) -> int | None:
        head: int | None = self.conversations[conversation]["head"]
        return head

    def child(self, conversation: int, parent: int, message: Message) -> int | None:
        """The message right below another that says the same. First messages are written each for itself."""
        found = [
            seq
            for seq, row in self.messages.items()
            if (row["conversation"], row["parent"], row["role"]) == (conversation, parent, message.role)
            and self.texts[seq] == message.text
        ]
        assert len(found) < 2 or message.role == "assistant", "the same was written twice"
        return found[-1] if found else None

    def open(self, conversation: str) -> list[Row]:
        seq = self.conversations[conversation]["seq"]
        return [row for row in self.tables["turns"] if row["conversation"] == seq and not ended(row)]

    def queued(self, conversation: str) -> list[Row]:
        return [row for row in self.open(conversation) if row["state"] == TurnState.QUEUED]

    def answering(self, conversation: str) -> Row | None:
        """A turn that runs and answers the head."""
        head = self.head(conversation)
        running = [row for row in self.open(conversation) if row["state"] == TurnState.RUNNING]
        return next((row for row in running if head is not None and row["question"] == head), None)

    def below_head(self, conversation: str) -> int | None:
        """Where something for the head hangs: beside what is being answered."""
        answering = self.answering(conversation)
        if answering is None:
            return self.head(conversation)
        above: int | None = self.messages[answering["question"]]["parent"]
        while above is not None and self.messages[above]["role"] == "user":
            if answering["parent"] in (above, answering["question"]):
                break
            above = self.messages[above]["parent"]
        return above

    def of(self, who: int) -> list[Row]:
        """The messages of one who speaks."""
        return [row for row in self.messages.values() if self.whose[row["conversation"]] == WHO[who]]

    def named(self, who: int, name: str) -> str | None:
        return next(
            (
                id
                for id, row in self.conversations.items()
                if self.whose[row["seq"]] == WHO[who] and row["name"] == name
            ),
            None,
        )

    def id_of(self, conversation: int) -> str:
        return next(id for id, row in self.conversations.items() if row["seq"] == conversation)


def text_of(row: Row) -> str:
    text: str = msgspec.json.decode(row["body"], type=Message).text
    return text


def ended(row: Row) -> bool:
    return TurnState(row["state"]).ended


class Script:
    """Runs steps on a store, and looks after each of them whether all is as it must be."""

    def __init__(self, folder: Path, open_store: Open, tables: Callable[[Path], Tables]) -> None:
        self._folder = folder
        self._open = open_store
        self._tables = tables
        self._stack = AsyncExitStack()
        self._talkers: list[Talker] = []
        self._lease = 1
        self._asked: dict[str, Asked] = {}
        self._claims: dict[bytes, list[Claims]] = {}
        self._requests: list[Request] = []
        self._said = 0
        self._store: Store

    async def run(self, script: Sequence[Step]) -> None:
        async with self._stack:
            await self._enter()
            self._view = View(self._tables(self._folder))
            for step in script:
                await self._do(step)
                self._look()
            await self._crash(reopen=True)
            self._look()
            assert not [row for row in self._view.tables["turns"] if not ended(row)]

    async def _enter(self) -> None:
        self._store = await self._stack.enter_async_context(self._open(self._folder))
        lease = f"lease_{self._lease}"
        self._talkers = [Talker(self._store, owner, end_user, lease) for owner, end_user in WHO]
        for owner, end_user in WHO:
            await self._store.root_key(owner, end_user)  # makes owners, so that no step does

    def _look(self) -> View:
        """The rows fit each other, and every question that was admitted is where it was."""
        self._view = view = View(self._tables(self._folder))
        consistent(view.tables)
        for id, asked in self._asked.items():
            turn = view.turns[id]
            assert view.id_of(turn["conversation"]) == asked.conversation
            if asked.path is None:
                assert turn["state"] == TurnState.QUEUED
                assert [m["content"] for m in msgspec.json.decode(turn["input"])["messages"]] == asked.texts
            else:
                assert view.path(turn["question"]) == asked.path
            assert [view.texts[reply] for reply in view.replies(turn)] == asked.replies
            kept = msgspec.json.decode(turn["receipt"] or "null", type=Receipt | None)
            assert kept == asked.receipt
        assert len(view.turns) == len(self._asked)
        for row in view.tables["turns"]:
            assert ended(row) or row["lease"] == f"lease_{self._lease}"
        return view

    def _unchanged(self, before: View) -> None:
        assert self._tables(self._folder) == before.tables

    async def _do(self, step: Step) -> None:
        """Do a step, unless there is nothing to do it to."""
        if step.what in ("begin", "log", "finish", "end", "finish one that has ended", "crash"):
            await self._to_a_turn(step)
        elif step.what == "move the head":
            await self._move_head(step)
        elif step.what == "repeat":
            await self._repeat(step)
        elif step.what == "reach for another's":
            await self._reach(step)
        elif (request := self._request(step)) is not None:
            self._requests.append(request)
            await self._send(request, step.other % 2)

    def _request(self, step: Step) -> Request | None:
        view, who, number = self._view, step.who, len(self._requests)
        new = user(self._words(step))
        nodes = view.of(who)
        node = nodes[step.place % len(nodes)] if nodes else None
        key = f"key {number}" if step.other == 7 else None
        match step.what:
            case "say":
                name: str | None = NAMES[step.place % 5 == 0]
                if step.place % 2 and (id := view.named(who, name or "")):
                    name = id
                return Request(who, number, (new,), name, at_head=True, policy=step.policy, key=key)
            case "say by name":
                return Request(who, number, (new,), NAMES[step.place % 2], key=key)
            case _ if node is None:
                return None
            case "say to nobody's head":
                id = view.id_of(node["conversation"])
                return Request(who, number, (new,), id, at_head=True, policy=step.policy, key=key)
            case "say below":
                return Request(who, number, (new,), parent=node["id"], key=key)
            case "resend":
                history = (*self._history(node["seq"]), new)
                conversation = view.id_of(node["conversation"]) if step.other % 2 else None
                return Request(who, number, history, conversation, key=key)
            case "answer again" if node["role"] == "user":
                return Request(who, number, (), parent=node["id"], key=key)
            case "go on" if node["role"] == "assistant" and self._is_cut(node):
                return Request(who, number, (), parent=node["id"], key=key)
        return None

    def _words(self, step: Step) -> str:
        """What is said: something new or, now and then, the same as others say."""
        self._said += 1
        return "hi" if step.other == 0 else f"question {self._said}"

    def _is_cut(self, reply: Row) -> bool:
        """A reply that can go on; a client's own always can."""
        if reply["turn"] is None:
            return True
        turn = next(row for row in self._view.turns.values() if row["seq"] == reply["turn"])
        return turn["state"] in (TurnState.INCOMPLETE, TurnState.CANCELLED)

    def _history(self, seq: int | None) -> list[Message]:
        found: list[Message] = []
        while seq is not None:
            row = self._view.messages[seq]
            found.append((user if row["role"] == "user" else assistant)(self._view.texts[seq]))
            seq = row["parent"]
        return found[::-1]

    async def _repeat(self, step: Step) -> None:
        if self._requests:
            await self._send(self._requests[-1 - step.place % len(self._requests)], step.other % 4)

    async def _send(self, request: Request, count: int) -> None:
        """Admit a request that its client sends for the so-manieth time."""
        before, claims = self._view, self._claims.setdefault(request.body, [])
        found = self._claimed(claims, request, count)
        place = self._place(request)
        if found is not None:
            old = before.turns[found.turn]
            if TurnState(old["state"]) not in (TurnState.FAILED, TurnState.INCOMPLETE):
                admitted = await self._admit(request, count)
                assert (admitted.joined, admitted.turn, admitted.state) == (True, old["id"], old["state"])
                assert admitted.lease == old["lease"]
                found.counts.add(count)
                after = View(self._tables(self._folder))
                assert {**after.tables, "attempts": None} == {**before.tables, "attempts": None}
                return
            place = self._again(request, old, place)
        if self._is_refused(request, place):
            with pytest.raises(ConversationBusy):
                await self._admit(request, count)
            self._unchanged(before)
            return
        admitted = await self._admit(request, count)
        assert not admitted.joined
        counts = found.counts if found else set()
        if found is not None:
            claims.remove(found)
        claims.append(Claims(admitted.turn, counts | {count}))
        self._check_admitted(request, place, admitted)

    def _again(self, request: Request, old: Row, anew: Place) -> Place:
        """Where a turn is tried again: at its question. The head stays where the conversation has gone on."""
        view, conversation = self._view, self._view.id_of(old["conversation"])
        head, place = view.head(conversation), Place(conversation, old["question"], 0)
        if head in (old["question"], *view.replies(old)):
            return place
        if request.at_head and not view.replies(old):
            is_there = (anew.node, anew.new) == (old["question"], 0)
            if old["state"] == TurnState.FAILED or (is_there and not anew.waits):
                return anew
        above = head
        while above is not None and above != old["question"]:
            above = view.messages[above]["parent"]
        return replace(place, moves_head=not request.at_head and above is None)

    def _claimed(self, claims: list[Claims], request: Request, count: int) -> Claims | None:
        """The turn that answers a request already."""
        if request.key is not None:
            return claims[-1] if claims else None
        if count == 0:
            return next((claim for claim in claims if min(claim.counts) > 0), None)
        return next((claim for claim in reversed(claims) if max(claim.counts) < count), None)

    async def _admit(self, request: Request, count: int) -> Told:
        return await self._talkers[request.who].admit(
            request.messages,
            request.conversation,
            parent=request.parent,
            at_head=request.at_head,
            concurrency=request.policy,
            max_waiting=MAX_WAITING,
            attempt=Attempt(route="chat", body=request.body, count=count, idempotency_key=request.key),
        )

    def _place(self, request: Request) -> Place:
        """Where a request must hang, as things stand."""
        view, conversation = self._view, request.conversation
        if conversation in NAMES:
            conversation = view.named(request.who, conversation)
        if request.parent is not None:
            row = view.ids[request.parent]
            conversation = view.id_of(row["conversation"])
            if request.messages:
                return self._below(conversation, row["seq"], request.messages[0])
            asked = row["seq"] if row["role"] == "user" else row["parent"]
            return Place(conversation, asked, 0)
        if conversation is None and (request.at_head or request.conversation is not None):
            return Place(None, None, len(request.messages))
        if request.at_head:
            assert conversation is not None
            is_answered = view.answering(conversation) is not None
            waits = is_answered or bool(view.queued(conversation))
            place = self._below(conversation, view.below_head(conversation), request.messages[0], waits)
            return replace(place, moves_head=not is_answered)
        return self._by_content(request, conversation)

    def _by_content(self, request: Request, conversation: str | None) -> Place:
        """The place of a whole history: a named conversation, or that of the last generated reply in it."""
        view, known = self._view, 0
        if conversation is None:
            texts = [message.text for message in request.messages]
            for row in view.of(request.who):
                depth = row["depth"] + 1
                if row["turn"] is not None and depth > known and view.path(row["seq"]) == texts[:depth]:
                    conversation, known = view.id_of(row["conversation"]), depth
        if conversation is None:
            return Place(None, None, len(request.messages))
        found = self._deepest(conversation, request.messages)
        known = view.messages[found]["depth"] + 1 if found is not None else 0
        moves_head = found is not None or view.head(conversation) is None
        return Place(conversation, found, len(request.messages) - known, moves_head=moves_head)

    def _deepest(self, conversation: str, messages: Sequence[Message]) -> int | None:
        """The last message of a history that stands in the tree; of equal ones the head, or the latest."""
        view, texts = self._view, [message.text for message in messages]
        seq, head = view.conversations[conversation]["seq"], view.head(conversation)
        known = [node for node, row in view.messages.items() if row["conversation"] == seq]
        known = [node for node in known if view.path(node) == texts[: view.messages[node]["depth"] + 1]]
        return max(known, key=lambda n: (view.messages[n]["depth"], n == head, n), default=None)

    def _below(self, conversation: str, below: int | None, message: Message, waits: bool = False) -> Place:
        """Right below a message, where the same may be said already."""
        seq = self._view.conversations[conversation]["seq"]
        child = self._view.child(seq, below, message) if below is not None else None
        return Place(conversation, below if child is None else child, int(child is None), waits)

    def _is_refused(self, request: Request, place: Place) -> bool:
        if not place.waits or request.policy == "branch" or place.conversation is None:
            return False
        return request.policy == "reject" or len(self._view.queued(place.conversation)) >= MAX_WAITING

    def _check_admitted(self, request: Request, place: Place, admitted: Told) -> None:
        before, after = self._view, View(self._tables(self._folder))
        conversation = admitted.conversation
        assert (place.conversation or conversation) == conversation
        assert (place.conversation is None) == (conversation not in before.conversations)
        assert after.whose[after.conversations[conversation]["seq"]] == WHO[request.who]
        asked = self._asked[admitted.turn] = Asked([m.text for m in request.messages], conversation)
        if place.waits and request.policy == "queue":
            assert admitted.state is TurnState.QUEUED
            assert after.messages == before.messages
            assert after.head(conversation) == before.head(conversation)
            return
        head = before.head(conversation) if place.conversation else None
        self._check_begun(after, place, admitted, head)
        if request.parent and not request.messages and before.ids[request.parent]["role"] == "assistant":
            assert admitted.continues == assistant(text_of(before.ids[request.parent]))
        else:
            assert [m.text for m in admitted.messages] == asked.path

    def _check_begun(self, after: View, place: Place, admitted: Told, head: int | None) -> None:
        before, turn, asked = self._view, after.turns[admitted.turn], self._asked[admitted.turn]
        assert (admitted.state, turn["state"]) == (TurnState.RUNNING, TurnState.RUNNING)
        node = turn["question"]
        for _ in range(place.new):
            assert node not in before.messages
            node = after.messages[node]["parent"]
        assert node == place.node
        assert len(after.messages) == len(before.messages) + place.new
        asked.head_before = head
        asked.path = before.path(place.node) + asked.texts[len(asked.texts) - place.new :]
        assert after.head(asked.conversation) == (turn["question"] if place.moves_head else head)

    async def _reach(self, step: Step) -> None:
        """What is another's is not found, and trying changes nothing. What is nobody's is no other's."""
        view, (owner, end_user) = self._view, WHO[step.who]
        others = [
            row
            for row in view.messages.values()
            for whose in [view.whose[row["conversation"]]]
            if whose[0] != owner or (end_user and whose[1] and whose[1] != end_user)
        ]
        if not others:
            return
        node = others[step.place % len(others)]
        talker = self._talkers[step.who]
        with pytest.raises(MessageNotFound):
            await talker.admit([user("hi")], parent=node["id"])
        with pytest.raises(ConversationNotFound):
            await talker.admit([user("hi")], view.id_of(node["conversation"]), at_head=True)
        self._unchanged(view)
        history = (*self._history(node["seq"]), user(self._words(step)))
        self._requests.append(Request(step.who, len(self._requests), history))
        await self._send(self._requests[-1], 0)

    async def _move_head(self, step: Step) -> None:
        nodes = self._view.of(step.who)
        if nodes:
            node = nodes[step.place % len(nodes)]
            id = self._view.id_of(node["conversation"])
            await self._store.set_head(WHO[step.who][0], id, node["id"])
            after = View(self._tables(self._folder))
            assert after.head(id) == node["seq"]
            assert (after.messages, after.turns) == (self._view.messages, self._view.turns)

    async def _to_a_turn(self, step: Step) -> None:
        if step.what == "crash":
            await self._crash(reopen=step.place % 2 == 0)
            return
        kinds = {
            "begin": (TurnState.QUEUED,) if step.other else tuple(TurnState),
            "log": (TurnState.RUNNING,),
            "finish": (TurnState.RUNNING,),
            "end": (TurnState.QUEUED, TurnState.RUNNING),
            "finish one that has ended": tuple(state for state in TurnState if state.ended),
        }
        turns = [row for row in self._view.turns.values() if row["state"] in kinds[step.what]]
        if not turns:
            return
        turn = turns[step.place % len(turns)]
        match step.what:
            case "begin":
                await self._begin(turn)
            case "log":
                await self._log(turn)
            case "finish one that has ended":
                with pytest.raises(LeaseLost):
                    await self._talker_of(turn).end(turn["id"], "too late")
                with pytest.raises(LeaseLost):
                    await self._talker_of(turn).log(turn["id"], 99, "too late")
                self._unchanged(self._view)
            case _:
                await self._finish(turn, step)

    def _talker_of(self, turn: Row) -> Talker:
        return self._talkers[WHO.index(self._view.whose[turn["conversation"]])]

    async def _begin(self, turn: Row) -> None:
        before, id, lease = self._view, turn["id"], f"lease_{self._lease}"
        with pytest.raises(LeaseLost):
            await self._store.begin(id, "lease_of_nobody")
        if turn["state"] != TurnState.QUEUED:
            with pytest.raises(LeaseLost):
                await self._store.begin(id, lease)
            self._unchanged(before)
            return
        asked = self._asked[id]
        begun = await self._talker_of(turn).begin(Admitted(turn=id, conversation=asked.conversation))
        first = before.queued(asked.conversation)[0]["id"] == id
        if not first or before.answering(asked.conversation) is not None:
            assert not begun
            self._unchanged(before)
            return
        assert begun, "its time had come"
        after = View(self._tables(self._folder))
        head = before.head(asked.conversation)
        self._check_begun(after, self._below(asked.conversation, head, user(asked.texts[0])), begun, head)
        assert [m.text for m in begun.messages] == [*before.path(head), *asked.texts]

    async def _log(self, turn: Row) -> None:
        asked = self._asked[turn["id"]]
        word = f"words {self._said} "
        self._said += 1
        talker = self._talker_of(turn)
        await talker.log(turn["id"], len(asked.logged.split()), word)
        asked.logged += word
        prompt = await self._store.prompt(turn["id"], talker.lease)
        epoch = prompt.above.epoch if prompt.above and self._said % 3 else new_epoch()
        asked.receipt = receipt_in(epoch, len(prompt.steps))
        await self._store.note_window(turn["id"], talker.lease, epoch, asked.receipt)

    async def _finish(self, turn: Row, step: Step) -> None:
        """End a turn with one text or several, or without: then those that wait may be among them."""
        before, asked = self._view, self._asked[turn["id"]]
        queued = turn["state"] == TurnState.QUEUED
        if step.state is TurnState.COMPLETED and queued:
            return
        texts = []
        if step.what == "finish" and (step.state is TurnState.COMPLETED or step.other % 2):
            self._said += 1
            texts = SEVERAL[(step.place + step.other) % len(SEVERAL)]
        said = [f"{text} {self._said}" if text else "" for text in texts]
        await self._talker_of(turn).end_all(turn["id"], *said, state=step.state)
        after, head = View(self._tables(self._folder)), before.head(asked.conversation)
        asked.replies = [text for text in said if text]
        ended_turn = after.turns[turn["id"]]
        assert ended_turn["state"] == step.state
        if queued:
            self._check_aside(before, after, ended_turn, before.below_head(asked.conversation))
            asked.head_before = head
        if replies := after.replies(ended_turn):
            question = ended_turn["question"]
            assert {after.messages[reply]["parent"] for reply in replies} == {question}
            self._hand_on(after, question, replies[0])
            assert after.head(asked.conversation) == (replies[0] if head == question else head)
        elif step.state is TurnState.FAILED and self._gives_way(before, ended_turn, head):
            assert after.head(asked.conversation) == self._head_before(ended_turn)
        else:
            assert after.head(asked.conversation) == head
        if step.state is TurnState.FAILED and not said:
            self._hand_on(after, ended_turn["question"], self._head_before(ended_turn))

    def _hand_on(self, after: View, question: int, head: int) -> None:
        """Turns that took the head from a question give it back to what that has become, once it is settled."""
        running = [row for row in after.turns.values() if not ended(row)]
        if all(row["question"] != question for row in running):
            for row in running:
                if self._asked[row["id"]].head_before == question:
                    self._asked[row["id"]].head_before = head

    def _check_aside(self, before: View, after: View, turn: Row, below: int | None) -> None:
        """What waited is kept beside the head's path, and its client finds it."""
        asked = self._asked[turn["id"]]
        assert after.messages[turn["question"]]["parent"] == below
        asked.path = [*after.path(below), *asked.texts]
        if below is not None and below in before.messages:
            known = before.child(turn["conversation"], below, user(asked.texts[0]))
            assert known in (None, turn["question"])

    def _gives_way(self, before: View, turn: Row, head: int | None) -> bool:
        """Whether the head is the question that nobody answers any more."""
        others = [row for row in before.tables["turns"] if row["id"] != turn["id"] and not ended(row)]
        return head == turn["question"] and all(row["question"] != head for row in others)

    def _head_before(self, turn: Row) -> int:
        """What was the head when a question was asked; the question itself where there was nothing."""
        question, before = turn["question"], self._asked[turn["id"]].head_before
        if before == question:  # it was asked again: then what was the head when it was asked before
            same = [id for id, row in self._view.turns.items() if row["question"] == question]
            found = [head for id in same if (head := self._asked[id].head_before) != question]
            before = found[-1] if found else self._view.messages[question]["parent"]
        return question if before is None else before

    async def _crash(self, *, reopen: bool) -> None:
        """Everything that runs and waits is left alone; the next process closes it."""
        before, dead = self._view, f"lease_{self._lease}"
        self._lease += 1
        lease = f"lease_{self._lease}"
        if reopen:
            await self._stack.aclose()
            await self._enter()
        else:
            for talker in self._talkers:
                talker.lease = lease
        left = [row for row in before.tables["turns"] if not ended(row)]
        left.sort(key=lambda row: (row["state"] == TurnState.QUEUED, row["seq"]))
        assert await self._store.recover(lease) == [row["id"] for row in left]
        assert await self._store.recover(lease) == []
        after = View(self._tables(self._folder))
        heads = {id: before.head(id) for id in before.conversations}
        for turn in left:
            asked, row = self._asked[turn["id"]], after.turns[turn["id"]]
            assert row["state"] == TurnState.INCOMPLETE
            if turn["state"] == TurnState.QUEUED:
                self._check_aside(before, after, row, heads[asked.conversation])
            elif asked.logged:
                asked.replies = [asked.logged]
                if heads[asked.conversation] == turn["question"]:
                    heads[asked.conversation] = row["reply"]
        assert {id: after.head(id) for id in after.conversations} == heads
        for turn in left:
            with pytest.raises(LeaseLost):
                await self._store.begin(turn["id"], dead)


def play(folder: Path, script: Sequence[Step], open_store: Open, tables: Callable[[Path], Tables]) -> None:
    asyncio.run(Script(folder, open_store, tables).run(script))
