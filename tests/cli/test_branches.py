"""Branches on the command line: `tree`, `head`, `fork`, `show --to`, and what is typed in a chat."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Terminals, palaver, said
from tests.stores.sqlite_files import opened

LINES = [
    {"when": "break", "reply": "it goes well until the end", "fail": "break after 3 tokens"},
    {"when": "refuse", "fail": "refused"},
    {"reply": None},
]


@pytest.fixture
def model(tmp_path: Path) -> str:
    """The value of --model for a model that breaks off where it is told to, and refuses."""
    path = tmp_path / "branches.jsonl"
    path.write_text("\n".join(map(json.dumps, LINES)))
    return f"scripted:{path}"


def tree(folder: Path, name: str = "c") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said(folder, "tree", name, "--json"))
    return found


def texts(items: list[dict[str, Any]]) -> list[str]:
    return ["".join(part["text"] for part in item["content"]).split(" [")[0] for item in items]


def path(folder: Path, name: str = "c") -> list[str]:
    return texts(json.loads(said(folder, "show", name, "--limit", "0", "--json"))["items"])


def shape(items: list[dict[str, Any]]) -> list[tuple[str, int | None]]:
    """Each message with the place of its parent."""
    places = {item["id"]: place for place, item in enumerate(items)}
    parents = [places.get(item["parent"]) for item in items]
    return list(zip(texts(items), parents, strict=True))


def chat(folder: Path, model: str, *lines: str, name: str = "c", **more: str) -> tuple[list[str], str]:
    """Type lines into a chat: the replies, and what is said beside them."""
    done = palaver(folder, "chat", name, "--model", model, given="".join(f"{x}\n" for x in lines), **more)
    assert "Traceback" not in done.stderr
    return [line.split(" [")[0] for line in done.stdout.splitlines() if line], done.stderr


def test_branches_are_drawn_chosen_read_and_forked(tmp_path: Path, model: str) -> None:
    chat(tmp_path, model, "one", "two", "/edit zwei")
    items = tree(tmp_path)["items"]
    assert shape(items) == [
        ("one", None),
        ("Reply 1 to: one", 0),
        ("two", 1),
        ("Reply 2 to: two", 2),
        ("zwei", 1),
        ("Reply 2 to: zwei", 4),
    ]
    short = [item["id"][-4:] for item in items]
    lines = said(tmp_path, "tree", "c").splitlines()[1:]
    assert [line.split(" [")[0] for line in lines] == [
        f"  {short[0]}  user       one",
        f"  {short[1]}  assistant  Reply 1 to: one",
        f"  ├─ {short[2]}  user       two",
        f"  │  {short[3]}  assistant  Reply 2 to: two",
        f"  {short[4]}  user       zwei",
        f"* {short[5]}  assistant  Reply 2 to: zwei",
    ]
    shown = json.loads(said(tmp_path, "show", "c", "--to", short[3], "--json"))["items"]
    assert texts(shown) == ["one", "Reply 1 to: one", "two", "Reply 2 to: two"]
    last = palaver(tmp_path, "show", "c", "--to", short[3], "--limit", "1")
    assert "The last 1 messages; --limit 0 shows all." in last.stderr
    assert "Reply 2 to: two" in said(tmp_path, "head", "c", short[3])
    assert tree(tmp_path)["head"] == items[3]["id"]
    assert path(tmp_path) == ["one", "Reply 1 to: one", "two", "Reply 2 to: two"]
    moved = json.loads(said(tmp_path, "head", "c", items[1]["id"], "--json"))
    assert (moved["head"], moved["messages"]) == (items[1]["id"], 2)
    assert said(tmp_path, "fork", "c", short[5], "--as", "copy") == "copy\n"
    assert path(tmp_path, "copy") == ["one", "Reply 1 to: one", "zwei", "Reply 2 to: zwei"]
    fork = json.loads(said(tmp_path, "fork", "c", "--json"))
    assert (fork["name"], fork["messages"]) == (None, 2)
    assert said(tmp_path, "fork", "c").startswith("conv_")


def test_a_long_chat_is_drawn_in_a_few_lines(tmp_path: Path, model: str) -> None:
    chat(tmp_path, model, *(f"number {i}" for i in range(60)))
    lines = said(tmp_path, "tree", "c").splitlines()
    assert len(lines) == 6
    assert lines[3] == "  ⋮ 116 more"
    assert len(said(tmp_path, "tree", "c", "--all").splitlines()) == 121


def test_what_cannot_be_done_is_one_line(tmp_path: Path, model: str) -> None:
    chat(tmp_path, model, "one")
    for arguments, code, words in (
        (["tree", "nobody"], 1, "nobody"),
        (["head", "c", "xy"], 1, "4 characters at least"),
        (["head", "c", "zzzzz"], 1, "ends or begins with zzzzz"),
        (["head", "nobody", "zzzzz"], 1, "nobody"),
        (["head", "c", "msg_01arz3ndektsv4rrffq69g5fav"], 1, "msg_01arz3ndektsv4rrffq69g5fav"),
        (["fork", "c", "--as", "c"], 1, "named c already"),
        (["fork", "c", "--as", "conv_c"], 1, "conv_"),
        (["show", "c", "--to", "zzzzz"], 1, "ends or begins with zzzzz"),
        (["head", "c"], 2, "MESSAGE"),
    ):
        done = palaver(tmp_path, *arguments)
        assert (done.returncode, done.stdout) == (code, "")
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_an_abbreviation_that_fits_several_is_told(tmp_path: Path, model: str) -> None:
    chat(tmp_path, model, "one")
    ids = [item["id"] for item in tree(tmp_path)["items"]]
    done = palaver(tmp_path, "head", "c", "msg_" + ids[0][4:8])
    assert done.returncode == 1
    assert "may be any of 2 messages" in done.stderr
    assert all(id in done.stderr for id in ids)


def test_what_was_deleted_is_shown_as_that(tmp_path: Path, model: str) -> None:
    chat(tmp_path, model, "one", "two")
    gone = tree(tmp_path)["items"][1]["id"]

    async def delete() -> None:
        async with opened(tmp_path / "data" / "palaver.db") as store:
            await store.delete_message("local", gone)

    asyncio.run(delete())
    assert "(deleted)" in said(tmp_path, "show", "c")
    assert f"  {gone[-4:]}  assistant  (deleted)" in said(tmp_path, "tree", "c")
    replies, _ = chat(tmp_path, model, "three")
    assert replies[-1] == "Reply 3 to: three"
    assert shape(tree(tmp_path)["items"])[4] == ("three", 3)


class TestInAChat:
    def test_a_question_is_answered_again(self, tmp_path: Path, model: str) -> None:
        replies, _ = chat(tmp_path, model, "one", "two", "/retry", "three")
        assert replies == [
            f"Reply {i} to: {x}" for i, x in ((1, "one"), (2, "two"), (2, "two"), (3, "three"))
        ]
        assert shape(tree(tmp_path)["items"])[2:] == [
            ("two", 1),
            ("Reply 2 to: two", 2),
            ("Reply 2 to: two", 2),
            ("three", 4),
            ("Reply 3 to: three", 5),
        ]

    def test_the_first_question_can_be_edited(self, tmp_path: Path, model: str) -> None:
        replies, _ = chat(tmp_path, model, "one", "/edit eins", "two")
        assert replies == ["Reply 1 to: one", "Reply 1 to: eins", "Reply 2 to: two"]
        assert path(tmp_path) == ["eins", "Reply 1 to: eins", "two", "Reply 2 to: two"]
        assert shape(tree(tmp_path)["items"])[2:4] == [("eins", None), ("Reply 1 to: eins", 2)]

    def test_the_new_text_can_be_asked_for(self, tmp_path: Path, model: str) -> None:
        replies, beside = chat(tmp_path, model, "one", "/edit", "eins", "/edit", "")
        assert replies == ["Reply 1 to: one", "Reply 1 to: eins"]
        assert "In place of: one" in beside
        assert "Nothing was changed." in beside

    def test_a_command_in_place_of_the_new_text_is_one(self, tmp_path: Path, model: str) -> None:
        replies, beside = chat(
            tmp_path, model, "one", "/edit", "/new other", "two", "/edit", "/quit", "three"
        )
        assert replies == ["Reply 1 to: one", "Reply 1 to: two"]
        assert "other is a new conversation" in beside
        replies, _ = chat(tmp_path, model, "/edit", " /eins")
        assert replies[-1] == "Reply 1 to: /eins"

    def test_a_reply_that_was_cut_off_goes_on(self, tmp_path: Path, model: str) -> None:
        chat(tmp_path, model, "break")
        (tmp_path / "branches.jsonl").write_text(json.dumps({"reply": "it goes well until the end"}))
        replies, beside = chat(tmp_path, model, "/continue", "/continue")
        assert replies[-1] == "it goes well until the end"
        assert "was not cut off" in beside
        assert shape(tree(tmp_path)["items"]) == [
            ("break", None),
            ("it goes well", 0),
            ("it goes well until the end", 0),
        ]

    def test_a_reply_that_broke_off_is_tried_again_beside_it(self, tmp_path: Path, model: str) -> None:
        chat(tmp_path, model, "break", "/retry", "/edit fine")
        assert shape(tree(tmp_path)["items"]) == [
            ("break", None),
            ("it goes well", 0),
            ("it goes well", 0),
            ("fine", None),
            ("Reply 1 to: fine", 3),
        ]
        assert path(tmp_path) == ["fine", "Reply 1 to: fine"]

    def test_a_question_that_failed_is_asked_again_or_changed(self, tmp_path: Path, model: str) -> None:
        replies, beside = chat(tmp_path, model, "one", "refuse", "/retry", "/edit two", "three")
        assert replies == ["Reply 1 to: one", "Reply 2 to: two", "Reply 3 to: three"]
        assert beside.count("The script says: refused.") == 2
        assert path(tmp_path) == [
            "one",
            "Reply 1 to: one",
            "two",
            "Reply 2 to: two",
            "three",
            "Reply 3 to: three",
        ]
        assert [text for text, _ in shape(tree(tmp_path)["items"])].count("refuse") == 1

    def test_a_branch_can_be_gone_to_and_the_tree_be_seen(self, tmp_path: Path, model: str) -> None:
        chat(tmp_path, model, "one", "two")
        items = tree(tmp_path)["items"]
        replies, beside = chat(
            tmp_path, model, f"/branch {items[1]['id'][-5:]}", "zwei", "/tree", "/branch", "/branch zzzzz"
        )
        assert replies[-1] == "Reply 2 to: zwei"
        assert path(tmp_path) == ["one", "Reply 1 to: one", "zwei", "Reply 2 to: zwei"]
        assert "├─ " in beside
        assert "/branch takes the id" in beside
        assert "ends or begins with zzzzz" in beside

    def test_a_question_that_is_the_head_is_open(self, tmp_path: Path, model: str) -> None:
        chat(tmp_path, model, "one", "two")
        items = tree(tmp_path)["items"]
        chat(tmp_path, model, f"/branch {items[2]['id'][-5:]}", "/retry")
        assert shape(tree(tmp_path)["items"])[4:] == [("Reply 2 to: two", 2)]
        said(tmp_path, "head", "c", items[0]["id"])
        replies, _ = chat(tmp_path, model, "eins")
        assert replies[-1] == "Reply 1 to: eins"
        assert path(tmp_path) == ["eins", "Reply 1 to: eins"]

    def test_what_others_say_meanwhile_is_beside_it(
        self, tmp_path: Path, model: str, terminals: Terminals
    ) -> None:
        screen = terminals.open("chat", "c", "--model", model)
        screen.wait_for("\n>")
        screen.type("one")
        screen.wait_for("Reply 1 to: one")
        said(tmp_path, "ask", "two", "--conversation", "c")
        screen.type("zwei")
        screen.wait_for("Reply 2 to: zwei")
        assert shape(tree(tmp_path)["items"]) == [
            ("one", None),
            ("Reply 1 to: one", 0),
            ("two", 1),
            ("Reply 2 to: two", 2),
            ("zwei", 1),
            ("Reply 2 to: zwei", 4),
        ]

    def test_a_typed_question_stands_there_to_be_changed(
        self, tmp_path: Path, model: str, terminals: Terminals
    ) -> None:
        screen = terminals.open("chat", "c", "--model", model)
        screen.wait_for("\n>")
        screen.type("one")
        screen.wait_for("Reply 1 to: one")
        screen.type("/edit")
        screen.wait_for("> one", times=2)
        screen.type(" more")
        screen.wait_for("Reply 1 to: one more")
        screen.type("/edit")
        screen.wait_for("> one more", times=2)
        screen.press("C-c")
        screen.wait_for("Nothing was changed.")
        screen.press("C-d")
        screen.wait_for("ended with 0")

    def test_nothing_said_yet(self, tmp_path: Path, model: str) -> None:
        done = palaver(
            tmp_path, "chat", "--model", model, given="/retry\n/edit x\n/continue\n/tree\n/branch abcd\n"
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("palaver: ") == 5
        assert "Traceback" not in done.stderr

    def test_where_nothing_is_kept(self, tmp_path: Path, model: str) -> None:
        lines = (
            "one",
            "two",
            "/retry",
            "/edit zwei",
            "refuse",
            "/retry",
            "/edit three",
            "/tree",
            "/continue",
        )
        replies, beside = chat(tmp_path, model, *lines, PALAVER_RECORD="none")
        assert replies == [
            f"Reply {i} to: {x}" for i, x in ((1, "one"), (2, "two"), (2, "two"), (2, "zwei"), (3, "three"))
        ]
        assert "Nothing is kept here." in beside
        assert "was not cut off" in beside

    def test_what_was_kept_goes_on_where_nothing_is_kept(self, tmp_path: Path, model: str) -> None:
        said(tmp_path, "ask", "one", "--system", "Be brief.", "--model", model, "--conversation", "c")
        replies, beside = chat(tmp_path, model, "two", "three", PALAVER_RECORD="none")
        assert replies[-2:] == ["Reply 2 to: two", "Reply 3 to: three"]
        assert "not kept" in beside
        assert len(path(tmp_path)) == 2


def test_instructions_stay_in_force(tmp_path: Path, model: str) -> None:
    """Told by the tokens of the prompts: with and without the conversation's instructions."""
    said(tmp_path, "ask", "one", "--system", "Be very brief.", "--model", model, "--conversation", "told")
    said(tmp_path, "ask", "one", "--model", model, "--conversation", "plain")
    usage = {}
    for name in ("told", "plain"):
        answer = said(tmp_path, "ask", "two", "--model", model, "--conversation", name, "--json")
        usage[name] = json.loads(answer)["usage"]["prompt_tokens"]
    assert usage["told"] > usage["plain"]
    chat(tmp_path, model, "three", "/edit drei", name="told")
    assert tree(tmp_path, "told")["instructions"] == [{"role": "system", "content": "Be very brief."}]
    chat(tmp_path, model, f"/branch {tree(tmp_path, 'told')['items'][0]['id']}", "/edit eins", name="told")
    assert path(tmp_path, "told") == ["eins", "Reply 1 to: eins"]
    assert tree(tmp_path, "told")["instructions"] == [{"role": "system", "content": "Be very brief."}]
