"""The contract: whatever is done, the store agrees with the model, and its rows with each other."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings

from palaver.core.attachments import attachments_of
from palaver.core.message import Message, canonical, hash_of, next_key, root_key
from palaver.core.receipt import Receipt
from palaver.core.turn import TurnState
from palaver.stores.base import Admitted, Store
from tests.core.clients import Client, Step, clients, steps
from tests.core.trees import Sent, Trees
from tests.stores.contract_base import Part
from tests.stores.talking import Tables, Talker, forms

TASKS = ("answer", "answer", "log and answer", "break", "crash")


class Script:
    """The steps of several clients, done to a store and to the model at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._model = Trees()
        self._clients = clients()
        self._talkers = [Talker(store, end_user=client.speaker) for client in self._clients]
        self._same: dict[str, str] = {}

    async def run(self, step: Step) -> None:
        client, talker = self._clients[step.client], self._talkers[step.client]
        messages = client.request(step)
        expected = self._model.send(messages, client.speaker, step.name)
        admitted = await talker.admit(messages, step.name)
        assert forms(admitted.messages) == expected.history.forms
        assert self._same.setdefault(expected.conversation, admitted.conversation) == admitted.conversation
        assert len(set(self._same.values())) == len(self._same)
        record = await self._store.turn("local", admitted.turn)
        assert record.gap == expected.placement.gap
        await self._end(step, client, talker, expected, admitted)
        head = self._model.heads[expected.conversation]
        path = await talker.path(admitted.conversation)
        assert forms([item.message for item in path]) == (head.forms if head else [])

    async def _end(
        self, step: Step, client: Client, talker: Talker, expected: Sent, admitted: Admitted
    ) -> None:
        if step.reply is None:
            self._model.fail(expected)
            await talker.end(admitted.turn, "", TurnState.FAILED)
            return
        self._model.reply(expected, step.reply)
        client.hear(step.reply)
        how = TASKS[(step.place + step.other) % len(TASKS)]
        if how in ("log and answer", "crash"):
            await talker.log(admitted.turn, 0, step.reply[:2])
            await talker.log(admitted.turn, 1, step.reply[2:])
        if how == "crash":
            assert await self._store.recover("another lease") == [admitted.turn]
            return
        state = TurnState.INCOMPLETE if how == "break" else TurnState.COMPLETED
        await talker.end(admitted.turn, step.reply, state, deltas=[len(step.reply)])


class Sequences(Part):
    @settings(max_examples=30, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
    @given(steps)
    def test_a_store_does_as_the_model_does(self, what_clients_do: list[Step]) -> None:
        async def run(folder: Path) -> None:
            async with self.opened(folder) as store:
                script = Script(store)
                for step in what_clients_do:
                    await script.run(step)
            consistent(self.tables(folder))

        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(run(Path(folder)))


def consistent(tables: Tables) -> None:
    """Every invariant of the rows."""
    messages = {row["seq"]: row for row in tables["messages"]}
    conversations = {row["seq"]: row for row in tables["conversations"]}
    turns = {row["seq"]: row for row in tables["turns"]}
    roots = _roots(tables)
    replies = _replies(tables)
    for row in messages.values():
        parent = messages[row["parent"]] if row["parent"] is not None else None
        _message_is_in_its_place(row, parent, roots[row["conversation"]])
        if row["turn"] is not None:
            assert row["seq"] in replies[row["turn"]]
            assert turns[row["turn"]]["question"] == row["parent"]
    for row in conversations.values():
        assert row["head"] is None or messages[row["head"]]["conversation"] == row["seq"]
        assert row["title_from"] is None or row["titled_by"] != "user"
        if row["title"] is not None and row["titled_by"] != "user":
            source = messages[row["title_from"]]
            assert (source["conversation"], source["deleted_at"]) == (row["seq"], None)
    _tombstones_hold_the_tree_together(tables)
    named = {row[name] for row in turns.values() for name in ("instructions", "carried")}
    named |= {row["instructions"] for row in conversations.values()}
    assert {row["seq"] for row in tables["instructions"]} <= named
    assert {row["seq"] for row in tables["toolsets"]} == {row["tools"] for row in turns.values()} - {None}
    for row in turns.values():
        _turn_is_whole(row, messages)
    _windows_are_whole(tables, messages)
    _attachments_are_whole(tables, messages, conversations)
    assert {row["turn"] for row in tables["turn_log"]} <= {s for s, row in turns.items() if row["lease"]}
    ids = [row["id"] for name in ("messages", "conversations", "turns") for row in tables[name]]
    assert len(set(ids)) == len(ids)


def _windows_are_whole(tables: Tables, messages: dict[int, dict[str, Any]]) -> None:
    """Epochs are those of turns that are there, and what is counted is there and says something."""
    epochs = {row["seq"]: row for row in tables["epochs"]}
    assert set(epochs) == {row["epoch"] for row in tables["turns"]} - {None}
    for row in tables["turns"]:
        if row["epoch"] is not None:
            epoch, receipt = epochs[row["epoch"]], msgspec.json.decode(row["receipt"], type=Receipt)
            assert (epoch["conversation"], epoch["id"]) == (row["conversation"], receipt.epoch)
        elif row["receipt"] is not None:
            assert (row["state"], row["reply"]) == (TurnState.FAILED, None)
    assert all(messages[row["message"]]["deleted_at"] is None for row in tables["message_counts"])
    tokenizers = {row["seq"] for row in tables["tokenizers"]}
    assert {row["tokenizer"] for row in tables["message_counts"]} <= tokenizers


def _attachments_are_whole(
    tables: Tables, messages: dict[int, dict[str, Any]], conversations: dict[int, dict[str, Any]]
) -> None:
    """What messages refer to is linked with them and there, once for its owner; and nothing else is."""
    attachments = {row["seq"]: row for row in tables["attachments"]}
    linked: dict[int, set[str]] = {}
    for link in tables["message_attachments"]:
        attachment, message = attachments[link["attachment"]], messages[link["message"]]
        assert attachment["owner"] == conversations[message["conversation"]]["owner"]
        linked.setdefault(message["seq"], set()).add(attachment["hash"].hex())
    for seq, row in messages.items():
        refers = attachments_of(msgspec.json.decode(row["body"], type=Message))
        assert linked.get(seq, set()) == refers
    assert set(attachments) == {link["attachment"] for link in tables["message_attachments"]}
    assert all(row["hash"].hex() == hash_of(row["bytes"]) for row in attachments.values())


def _replies(tables: Tables) -> dict[int, list[int]]:
    """The replies of each turn; a further one stands where the turn's own says that it does."""
    replies = {row["seq"]: [row["reply"]] for row in tables["turns"]}
    generated = {row["seq"]: row["turn"] for row in tables["messages"]}
    for row in tables["choices"]:
        replies[row["turn"]].append(row["reply"])
        assert row["choice"] >= 1
        if row["reply"] is None:
            assert row["deltas"] is row["logprobs"] is None
    for turn, theirs in replies.items():
        assert all(generated[reply] == turn for reply in theirs if reply is not None)
    return replies


def _roots(tables: Tables) -> dict[int, bytes]:
    """Where the keys of each conversation start."""
    secrets = {row["seq"]: row["secret"] for row in tables["owners"]}
    names = {row["seq"]: row["name"] for row in tables["end_users"]}
    return {
        row["seq"]: root_key(secrets[row["owner"]], names.get(row["end_user"]))
        for row in tables["conversations"]
    }


def _message_is_in_its_place(row: dict[str, Any], parent: dict[str, Any] | None, root: bytes) -> None:
    if parent is None:
        assert row["depth"] == 0
    else:
        assert parent["conversation"] == row["conversation"]
        assert parent["seq"] < row["seq"]
        assert row["depth"] == parent["depth"] + 1
    assert row["tail"] is None or row["turn"] is not None
    if row["deleted_at"] is not None:
        assert msgspec.json.decode(row["body"]) == {"role": row["role"]}
        assert (row["key"], row["tail"]) == (b"", None)
    elif parent is None or parent["deleted_at"] is None:  # below a tombstone, a key cannot be told any more
        form = canonical(msgspec.json.decode(row["body"], type=Message))
        assert row["key"] == next_key(parent["key"] if parent else root, form)


def _tombstones_hold_the_tree_together(tables: Tables) -> None:
    """Something hangs below each of them, and none is a head."""
    tombstones = {row["seq"] for row in tables["messages"] if row["deleted_at"] is not None}
    assert tombstones <= {row["parent"] for row in tables["messages"]}
    assert not tombstones & {row["head"] for row in tables["conversations"]}


def _turn_is_whole(row: dict[str, Any], messages: dict[int, dict[str, Any]]) -> None:
    ended = TurnState(row["state"]).ended
    assert ended == (row["lease"] is None) == (row["ended_at"] is not None)
    queued = row["state"] == TurnState.QUEUED
    assert queued == (row["input"] is not None)
    assert not queued or row["started_at"] is row["question"] is row["parent"] is None
    assert ended or row["reply"] is None
    for column in ("question", "reply", "parent", "head_before", "continues"):
        if row[column] is not None:
            assert messages[row[column]]["conversation"] == row["conversation"]
    if row["gap_from"] is not None:
        parent = messages[row["parent"]]
        assert 0 <= row["gap_from"] < row["gap_to"] <= parent["depth"]
