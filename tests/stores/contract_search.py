"""The contract: whatever is kept is found by its words, wherever it stands, and by nobody else."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palaver.core.errors import ConversationNotFound, MessageNotFound
from palaver.core.message import Message
from palaver.core.searching import MARKS, Query, Term, read_query
from palaver.stores.base import Item, Scope, Store
from tests.stores.contract_base import Part
from tests.stores.talking import Talker, assistant, user

WORDS = ["zak", "qub", "vom", "plig", "dru"]
"""Words without endings that could be taken off."""
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
TALKS = st.lists(
    st.tuples(
        st.sampled_from(["local", "other"]),
        st.sampled_from([None, "ann", "bob"]),
        st.sampled_from(["app/1", "app/2", "web"]),
        st.lists(TEXTS, min_size=2, max_size=6).map(lambda texts: texts[: len(texts) // 2 * 2]),
    ),
    min_size=1,
    max_size=4,
)
QUERIES = st.one_of(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True).map(" ".join),
    st.lists(st.sampled_from(WORDS), min_size=2, max_size=3).map(lambda words: f'"{" ".join(words)}"'),
    st.tuples(st.sampled_from(WORDS), st.sampled_from(WORDS)).map(lambda two: f'"{two[0]}" {two[1]}'),
)
SCOPES = st.builds(
    Scope,
    end_user=st.sampled_from([None, "ann", "bob", "nobody"]),
    role=st.sampled_from([None, "user", "assistant", "tool"]),
    source=st.sampled_from([None, "app", "app/2", "web"]),
    tasks=st.booleans(),
    temporary=st.booleans(),
)
Kept = tuple[str, str | None, str, bool, Item]
"""A message with its owner, end user, source, and whether its conversation is a task."""


def fits(query: Query, text: str) -> bool:
    """Whether a text of the words above has all phrases of a query, and any of its words."""
    has = all(f" {phrase.text} " in f" {text} " for phrase in query.phrases)
    return has and (bool(query.phrases) or any(word.text in text.split() for word in query.words))


def scanned(kept: list[Kept], owner: str, query: Query, scope: Scope) -> set[str]:
    """What a search is to find, by looking at everything."""
    return {
        item.id
        for whose, end_user, source, is_task, item in kept
        if whose == owner
        and scope.end_user in (None, end_user)
        and scope.role in (None, item.message.role)
        and source.startswith(scope.source or "")
        and (scope.tasks or not is_task)
        and (scope.since is None or item.created_at >= scope.since)
        and (scope.before is None or item.created_at < scope.before)
        and fits(query, item.message.text)
    }


async def keep(store: Store, talks: list[tuple[str, str | None, str, list[str]]]) -> list[Kept]:
    """Have these talks, each beside the others."""
    kept: list[Kept] = []
    for number, (owner, end_user, source, texts) in enumerate(talks):
        talker = Talker(store, owner, end_user)
        for question, answer in zip(texts[::2], texts[1::2], strict=True):
            talker.history.append(user(question))
            # A first message of its own keeps talks apart that begin alike.
            sent: list[Message] = [user(f"n{number}"), assistant(f"n{number}"), *talker.history]
            admitted = await talker.admit(sent, f"c{number}", source=source)
            await talker.end(admitted.turn, answer)
            talker.history.append(assistant(answer))
        conversation = await store.conversation(owner, admitted.conversation)
        for item in await talker.path(admitted.conversation):
            kept.append((owner, end_user, source, conversation.one_shot, item))
    return kept


async def found(store: Store, text: str, owner: str = "local", **scope: object) -> list[str]:
    """The texts that a search finds."""
    asked = Scope(**scope)  # type: ignore[arg-type]
    matches = await store.search(owner, read_query(text), asked)
    texts = await store.messages(owner, [match.message for match in matches.found])
    by_id = {item.id: item.message.text for item in texts}
    return [by_id[match.message] for match in matches.found]


class Searching(Part):
    @settings(max_examples=25, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
    @given(TALKS, st.lists(st.tuples(QUERIES, SCOPES), min_size=1, max_size=5))
    def test_it_finds_what_a_look_at_everything_finds(
        self, talks: list[tuple[str, str | None, str, list[str]]], asked: list[tuple[str, Scope]]
    ) -> None:
        async def play(folder: Path) -> None:
            async with self.opened(folder) as store:
                kept = await keep(store, talks)
                for text, scope in asked:
                    for owner in ("local", "other"):
                        query = read_query(text)
                        matches = await store.search(owner, query, scope)
                        names = [match.message for match in matches.found]
                        assert set(names) == scanned(kept, owner, query, scope)
                        assert len(names) == len(set(names))
                        scores = [match.score for match in matches.found]
                        assert scores == sorted(scores, reverse=True)
                        assert all(score > 0 for score in scores)
                        every = Query(phrases=query.terms)
                        latest = await store.latest(owner, query, scope, limit=1000)
                        assert {match.message for match in latest.found} == scanned(kept, owner, every, scope)
                        numbers = [match.number for match in latest.found]
                        assert numbers == sorted(numbers, reverse=True)

        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(play(Path(folder)))

    async def test_times_narrow_it(self, store: Store) -> None:
        talker = Talker(store)
        id = await talker.talk("zak one", "re", "zak two", "re", conversation="c")
        times = [item.created_at for item in await talker.path(id)]
        assert set(await found(store, "zak", since=times[0], before=times[-1] + 1)) == {"zak one", "zak two"}
        assert await found(store, "zak", before=times[0]) == []
        assert await found(store, "zak", since=times[-1] + 1) == []

    async def test_one_conversation(self, store: Store) -> None:
        here = await Talker(store).talk("zak here", "re", conversation="here")
        await Talker(store, end_user="ann").talk("zak there", "re", conversation="there")
        assert await found(store, "zak", conversation=here) == ["zak here"]
        for other in ("conv_01m8q7egmz5z7taqv1vww8tsnh", "nobody"):
            with pytest.raises(ConversationNotFound):
                await found(store, "zak", conversation=other)
        with pytest.raises(ConversationNotFound):
            await found(store, "zak", owner="other", conversation=here)

    async def test_all_branches_and_forks(self, store: Store) -> None:
        talker = Talker(store)
        id = await talker.talk("zak", "plig one", conversation="c")
        first, reply = await talker.path(id)
        again = await talker.admit([], id, parent=first.id)
        await talker.end(again.turn, "plig two")
        assert set(await found(store, "plig")) == {"plig one", "plig two"}
        fork = await store.fork("local", id, reply.id)
        assert sorted(await found(store, "plig")) == ["plig one", "plig one", "plig two"]
        assert await found(store, "plig", conversation=fork.id) == ["plig one"]
        ids = [match.message for match in (await store.search("local", read_query("plig"), Scope())).found]
        head = (await talker.conversation(id)).head
        assert head is not None
        assert await store.on_path("local", head, [*ids, first.id, "msg_"]) == {head: 1, first.id: 0}
        with pytest.raises(MessageNotFound):
            await store.on_path("other", head, ids)

    async def test_tasks_and_temporary_ones_only_where_asked_for(self, store: Store) -> None:
        task = await Talker(store).talk("zak task", "re")
        passing = await Talker(store).admit([user("zak passing")], "p", temporary=3600)
        assert await found(store, "zak") == []
        assert await found(store, "zak", tasks=True) == ["zak task"]
        assert set(await found(store, "zak", tasks=True, temporary=True)) == {"zak task", "zak passing"}
        assert await found(store, "zak", conversation=task) == ["zak task"]
        assert await found(store, "zak", conversation=passing.conversation) == ["zak passing"]

    async def test_what_was_kept_later_is_left_out(self, store: Store) -> None:
        await Talker(store).talk("zak one", "re", conversation="c")
        until = (await store.search("local", read_query("zak"), Scope())).until
        await Talker(store).talk("zak two", "re", conversation="d")
        assert await found(store, "zak", until=until) == ["zak one"]
        latest = await store.latest("local", read_query("zak"), Scope())
        more = await store.latest("local", read_query("zak"), Scope(), below=latest.found[0].number)
        assert [match.conversation for match in more.found] == [latest.found[1].conversation]

    async def test_words_of_any_script_and_any_form(self, store: Store) -> None:
        said = {
            "東京タワーに行きました": ["東京", "タワー"],
            "Ελλάδα and ÀÉÎ": ["ΕΛΛΆΔΑ", "aei"],
            "مرحبا بالعالم": ["مرحبا"],
            "नमस्ते दुनिया": ["नमस्ते"],
            "สวัสดีชาวโลก": ["ชาวโลก"],
            "안녕하세요 세계": ["안녕"],
            "she was baking": ["bake", "bak*"],
            "o'clock and naïve": ["o'clock", "naive"],
        }
        for number, text in enumerate(said):
            await Talker(store).talk(text, "re", conversation=f"c{number}")
        for text, queries in said.items():
            for query in queries:
                assert await found(store, query) == [text], query

    async def test_titles(self, store: Store) -> None:
        id = await Talker(store, end_user="ann").talk("Baking bread in Rome", "re", conversation="c")
        await Talker(store, "other").talk("Baking elsewhere", "re", conversation="c")
        query = read_query("bake")
        (match,) = await store.search_titles("local", query, Scope())
        assert (match.conversation, match.score > 0) == (id, True)
        assert match.title == f"{MARKS[0]}Baking{MARKS[1]} bread in Rome"
        assert await store.search_titles("local", query, Scope(end_user="bob")) == []
        await store.update_conversation("local", id, title="Wine")
        assert await store.search_titles("local", query, Scope()) == []
        assert len(await store.search_titles("local", read_query("wine"), Scope(end_user="ann"))) == 1
        await store.delete_conversation("local", id)
        assert await store.search_titles("local", read_query("wine"), Scope()) == []

    async def test_the_latest_titles(self, store: Store) -> None:
        ids = [
            await Talker(store).talk(f"Bread {n} and {'wine' * (n % 2)}", "re", conversation=f"c{n}")
            for n in range(6)
        ]
        await Talker(store, "other").talk("Bread elsewhere", "re", conversation="c")
        await store.update_conversation("local", ids[2], metadata={"now": "later"})
        whole = await store.latest_titles("local", read_query("bread"), Scope())
        when = [(match.updated_at, match.conversation) for match in whole]
        assert {id for _, id in when} == set(ids)
        assert when == sorted(when, reverse=True)
        parts = [
            await store.latest_titles("local", read_query("bread"), Scope(), below=below, limit=2)
            for below in (None, when[1], when[3], when[5])
        ]
        assert [match for part in parts for match in part] == whole
        both = await store.latest_titles("local", read_query("wine bread"), Scope())
        assert {match.conversation for match in both} == set(ids[1::2])
        assert all(match.title.startswith(f"{MARKS[0]}Bread{MARKS[1]}") for match in both)

    async def test_excerpts(self, store: Store) -> None:
        text = "word " * 300 + "plig stands at the very end"
        id = await Talker(store).talk(text, "short", conversation="c")
        items = await Talker(store).path(id)
        given = [items[0].id, items[1].id, "msg_"]
        excerpts = await store.excerpts("local", read_query("plig"), given)
        assert excerpts.keys() == {items[0].id, items[1].id}
        assert f"{MARKS[0]}plig{MARKS[1]} stands at the very end" in excerpts[items[0].id]
        assert excerpts[items[0].id].startswith("…")
        assert excerpts[items[1].id] == "short"
        assert await store.excerpts("other", read_query("plig"), given) == {}

    @pytest.mark.parametrize(
        ("query", "said"),
        [
            ("plig", "PLIG!"),
            ("bake", "she was baking"),
            ("zurich", "in Zürich"),
            ('"rye bread"', "rye, bread"),
            ("東京", "に東京タワー"),
            ("zak qub", "zak and qub"),
            ("bak*", "bakery"),
        ],
    )
    async def test_excerpts_of_long_texts(self, store: Store, query: str, said: str) -> None:
        text = f"zak {'word ' * 4000} {said}{' word' * 4000}"
        talker = Talker(store)
        (first, _) = await talker.path(await talker.talk(text, "re", conversation="c"))
        (excerpt,) = (await store.excerpts("local", read_query(query), [first.id])).values()
        assert excerpt.startswith("…")
        assert excerpt.endswith("…")
        assert said in excerpt.replace(MARKS[0], "").replace(MARKS[1], "")
        assert MARKS[0] in excerpt

    async def test_an_excerpt_of_half_a_sign(self, store: Store) -> None:
        await Talker(store).talk("tea \ufffd time", "re", conversation="c")
        query = Query(phrases=(Term("tea \ud83c time", is_phrase=True),))
        (match,) = (await store.search("local", query, Scope())).found
        (excerpt,) = (await store.excerpts("local", query, [match.message])).values()
        assert excerpt == f"{MARKS[0]}tea \ufffd time{MARKS[1]}"

    async def test_what_conversations_are_called(self, store: Store) -> None:
        id = await Talker(store, end_user="ann").talk("zak", "re", conversation="c")
        names = await store.conversation_names("local", [id, "conv_"])
        assert {key: (each.name, each.title, each.end_user) for key, each in names.items()} == {
            id: ("c", "zak", "ann")
        }
        assert await store.conversation_names("other", [id]) == {}

    @pytest.mark.parametrize(
        "text",
        [
            '" OR 1',
            "NEAR(a b)",
            "a AND",
            "text : x",
            "-x",
            "^x",
            "x + y",
            "{a b}",
            "a" * 10_000,
            "o'",
            "%_x",
            "x\0y",
        ],
    )
    async def test_no_query_is_wrong_inside(self, store: Store, text: str) -> None:
        await Talker(store).talk("near and or not x y", "re", conversation="c")
        matches = await store.search("local", read_query(text), Scope())
        await store.latest("local", read_query(text), Scope())
        await store.search_titles("local", read_query(text), Scope())
        await store.excerpts("local", read_query(text), [match.message for match in matches.found])
