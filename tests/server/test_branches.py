"""A conversation as the tree it is: `tree`, `leaves`, `head`, `fork`, and the path to any message."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from palaver.core.errors import EngineBroke
from palaver.core.turn import Accepted, ContentDelta, Finish
from tests.server.conftest import Door


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def texts(items: list[dict[str, Any]]) -> list[str]:
    return ["".join(part["text"] for part in item["content"]).split(" [")[0] for item in items]


async def pages(door: Door, path: str, limit: int = 2) -> list[dict[str, Any]]:
    """All of a list, page by page."""
    found: list[dict[str, Any]] = []
    joint = "&" if "?" in path else "?"
    while True:
        after = f"&after={found[-1]['id']}" if found else ""
        response, page = await door.get(f"{path}{joint}limit={limit}{after}")
        assert response.status == 200, page
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        found += page["data"]
        if not page["has_more"]:
            return found


async def branched(door: Door, **more: Any) -> tuple[str, list[dict[str, Any]]]:
    """A question answered, a second one, and beside that another, which is the head's branch. With its tree."""
    more = {"conversation": "trip", **more}
    first, conversation = await door.say([user("1")], **more)
    history = [user("1"), assistant(first)]
    await door.say([*history, user("2")], **more)
    await door.say([*history, user("other")], **more)
    query = f"?user={more['user']}" if "user" in more else ""
    return conversation, await pages(door, f"/v1/conversations/{conversation}/tree{query}")


async def test_the_tree_has_every_message_with_its_parent(door: Door) -> None:
    conversation, tree = await branched(door)
    assert texts(tree) == [
        "1",
        "Reply 1 to: 1",
        "2",
        "Reply 2 to: 2",
        "other",
        "Reply 2 to: other",
    ]
    places = {item["id"]: place for place, item in enumerate(tree)}
    assert [places.get(item["parent"]) for item in tree] == [None, 0, 1, 2, 1, 4]
    by_name = await pages(door, "/v1/conversations/trip/tree", limit=100)
    assert by_name == tree
    items = await pages(door, f"/v1/conversations/{conversation}/messages?order=asc")
    assert items == [tree[i] for i in (0, 1, 4, 5)]


async def test_leaves_are_the_ends_of_branches_the_latest_first(door: Door) -> None:
    conversation, tree = await branched(door)
    assert await pages(door, f"/v1/conversations/{conversation}/leaves", limit=1) == [tree[5], tree[3]]


async def test_items_can_lead_to_any_message(door: Door) -> None:
    conversation, tree = await branched(door)
    path = f"/v1/conversations/{conversation}/messages?to={tree[3]['id']}"
    assert await pages(door, path) == tree[3::-1]
    assert await pages(door, path + "&order=asc") == tree[:4]
    response, body = await door.get(path + f"&after={tree[5]['id']}")
    assert (response.status, body["error"]["param"]) == (400, "after")


async def test_the_head_can_be_chosen(door: Door) -> None:
    conversation, tree = await branched(door)
    response, body = await door.post("/v1/conversations/trip/head", {"message": tree[3]["id"]})
    assert response.status == 200
    _, found = await door.get("/v1/conversations/trip")
    assert body == {name: value for name, value in found.items() if name not in ("instructions", "running")}
    assert (body["head"], body["messages"]) == (tree[3]["id"], 4)
    assert await pages(door, f"/v1/conversations/{conversation}/messages?order=asc") == tree[:4]


async def test_the_head_can_be_the_newest_leaf_of_a_branch(door: Door) -> None:
    _, tree = await branched(door)
    for message, leaf in ((0, 5), (1, 5), (2, 3), (3, 3), (4, 5)):
        body = {"message": tree[message]["id"], "newest": True}
        response, moved = await door.post("/v1/conversations/trip/head", body)
        assert (response.status, moved["head"]) == (200, tree[leaf]["id"])


async def test_the_map_has_the_form_of_the_tree(door: Door) -> None:
    _, tree = await branched(door)
    response, found = await door.get("/v1/conversations/trip/map")
    assert response.status == 200
    ids, times = [each["id"] for each in tree], [each["created_at"] for each in tree]
    assert found == {
        "object": "map",
        "head": ids[5],
        "segments": [
            {
                "first": ids[first],
                "last": ids[first + 1],
                "parent": parent,
                "messages": 2,
                "role": "user",
                "text": text,
                "created_at": times[first],
                "updated_at": times[first + 1],
                "on_path": on_path,
            }
            for first, parent, text, on_path in (
                (0, None, "1", True),
                (2, ids[1], "2", False),
                (4, ids[1], "other", True),
            )
        ],
    }


async def test_a_fork_is_a_conversation_of_its_own(door: Door) -> None:
    conversation, tree = await branched(door, user="ada")
    response, fork = await door.post(
        "/v1/conversations/trip/fork", {"message": tree[3]["id"], "name": "copy"}, {"palaver-user": "ada"}
    )
    assert response.status == 200
    assert fork["id"] != conversation
    assert (fork["name"], fork["user"], fork["messages"], fork["title"]) == ("copy", "ada", 4, "1")
    copies = await pages(door, "/v1/conversations/copy/tree?user=ada")
    assert texts(copies) == texts(tree[:4])
    assert [copy["turn"] for copy in copies] == [None] * 4
    _, where = await door.say([user("1")], conversation="copy", user="ada")
    assert where == fork["id"]
    assert await pages(door, f"/v1/conversations/{conversation}/tree") == tree


async def test_a_fork_needs_neither_a_message_nor_a_name(door: Door) -> None:
    _, tree = await branched(door)
    _, fork = await door.post("/v1/conversations/trip/fork", {})
    assert fork["name"] is None
    copies = await pages(door, f"/v1/conversations/{fork['id']}/messages?order=asc")
    assert texts(copies) == texts([tree[i] for i in (0, 1, 4, 5)])


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("head", {}, "message"),
        ("head", {"message": None}, "message"),
        ("head", {"message": 5}, "message"),
        ("head", {"message": "x", "newest": 1}, "newest"),
        ("fork", {"message": 5}, "message"),
        ("fork", {"name": ""}, "name"),
        ("fork", {"name": "x" * 513}, "name"),
        ("fork", {"name": "conv_x"}, "name"),
        ("fork", {"name": ".."}, "name"),
        ("fork", {"name": "trip"}, "name"),
        ("fork", [], None),
    ],
)
async def test_what_is_not_valid_names_the_field(door: Door, path: str, body: Any, param: str | None) -> None:
    await branched(door)
    response, answer = await door.post(f"/v1/conversations/trip/{path}", body)
    assert (response.status, answer["error"]["param"]) == (400, param), answer
    _, page = await door.get("/v1/conversations?include_tasks=true")
    assert len(page["data"]) == 1


async def test_a_list_of_messages_has_bounds_and_places(door: Door) -> None:
    await branched(door)
    await door.say([user("x")], conversation="other")
    foreign = (await pages(door, "/v1/conversations/other/tree"))[0]["id"]
    for verb in ("tree", "leaves"):
        for query, param in (
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("after=msg_none", "after"),
            (f"after={foreign}", "after"),
        ):
            response, body = await door.get(f"/v1/conversations/trip/{verb}?{query}")
            assert (response.status, body["error"]["param"]) == (400, param), body


async def test_a_message_of_another_conversation_is_not_found(door: Door) -> None:
    await branched(door)
    await door.say([user("x")], conversation="other")
    foreign = (await pages(door, "/v1/conversations/other/tree"))[0]["id"]
    for answer in (
        await door.post("/v1/conversations/trip/head", {"message": foreign}),
        await door.post("/v1/conversations/trip/fork", {"message": foreign}),
        await door.get(f"/v1/conversations/trip/messages?to={foreign}"),
    ):
        response, body = answer
        assert (response.status, body["error"]["code"]) == (404, "message_not_found"), body


async def test_another_end_users_conversation_is_not_found(door: Door) -> None:
    conversation, tree = await branched(door, user="ada")
    message = {"message": tree[0]["id"]}
    for ref, query in ((conversation, "?user=bob"), ("trip", ""), ("conv_00000000000000000000000000", "")):
        path = f"/v1/conversations/{ref}"
        for answer in (
            await door.get(f"{path}/tree{query}"),
            await door.get(f"{path}/leaves{query}"),
            await door.post(f"{path}/head{query}", message),
            await door.post(f"{path}/fork{query}", message),
        ):
            response, body = answer
            assert (response.status, body["error"]["code"]) == (404, "conversation_not_found"), body


async def test_a_message_says_how_its_turn_ended(door: Door) -> None:
    door.hand.put(Accepted(), ContentDelta("one"), Finish("length"))
    await door.ask(model="test/hand", conversation="trip")
    door.hand.put(Accepted(), ContentDelta("tw"), EngineBroke())
    await door.ask(model="test/hand", conversation="trip")
    door.hand.began.clear()
    door.hand.put(Accepted(), ContentDelta("thr"))
    asking = asyncio.create_task(door.ask(model="test/hand", conversation="trip"))
    await door.hand.began.wait()
    [turn] = door.chat._running
    live = door.chat.live("local", turn)
    assert live is not None
    while not live.events:
        await asyncio.sleep(0.002)
    await door.post(f"/v1/chat/completions/{turn}/cancel", {})
    await asking
    tree = await pages(door, "/v1/conversations/trip/tree", limit=100)
    assert [(item["status"], item["turn_state"]) for item in tree] == [
        ("completed", None),
        ("completed", "completed"),
        ("incomplete", "incomplete"),
        ("incomplete", "cancelled"),
    ]
    assert [item["finish_reason"] for item in tree[:3]] == [None, "length", None]
    assert not any(item["deleted"] for item in tree)


async def test_a_conversation_has_its_instructions_and_a_list_has_not(door: Door) -> None:
    system = {"role": "system", "content": "Be brief."}
    first, _ = await door.say([system, user("1")], conversation="trip")
    _, body = await door.get("/v1/conversations/trip")
    assert body["instructions"] == [system]
    _, page = await door.get("/v1/conversations")
    assert "instructions" not in page["data"][0]
    await door.say([user("1"), assistant(first), user("2")], conversation="trip")
    _, body = await door.get("/v1/conversations/trip")
    assert body["instructions"] == []


async def test_a_tombstone_is_shown_as_one(door: Door) -> None:
    conversation, tree = await branched(door)
    await door.chat.store.delete_message("local", tree[1]["id"])
    after = await pages(door, f"/v1/conversations/{conversation}/tree")
    gone = after[1]
    assert (gone["id"], gone["deleted"], gone["content"], gone["role"]) == (
        tree[1]["id"],
        True,
        [],
        "assistant",
    )
    assert [item["parent"] for item in after] == [item["parent"] for item in tree]


async def test_temporary_conversations_are_listed_where_they_are_asked_for(door: Door) -> None:
    await door.say([user("kept")], conversation="kept")
    _, conversation = await door.say([user("x")], conversation="passing", temporary=True)
    _, body = await door.get(f"/v1/conversations/{conversation}")
    assert body["expires_at"] > body["created_at"]
    for query, expected in (("", ["kept"]), ("?include_temporary=true", ["passing", "kept"])):
        _, page = await door.get("/v1/conversations" + query)
        assert [each["name"] for each in page["data"]] == expected
    _, body = await door.get("/v1/conversations/kept")
    assert body["expires_at"] is None
