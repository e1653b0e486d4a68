"""Finding by vectors: what they are made of, how near they are, and that nothing depends on them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from palaver.core.errors import (
    ConversationNotFound,
    EngineBroke,
    EngineRefused,
    EngineUnavailable,
    UnsupportedParameter,
)
from palaver.core.searching import read_query
from palaver.engines.base import Model
from palaver.finding import Finding
from palaver.finding.embedding import MOST_CHANGES, Embedding
from palaver.finding.meaning import QUERIES, Vectors
from palaver.finding.vectors import packed, similarities
from palaver.stores.base import Scope, Store
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase
from tests.chat.puppets import OneModel
from tests.finding.embedders import WordEngine
from tests.stores.talking import Talker

NAN = float("nan")


class TestArithmetic:
    def test_a_vector_is_kept_in_bytes(self) -> None:
        kept = packed([0.0, -2.0, 0.0])
        assert kept == bytes([0, 129, 0])

    @pytest.mark.parametrize("vector", [[0.0, 0.0], [], [1.0, NAN], [math.inf, 1.0], [-math.inf]])
    def test_what_is_no_direction_is_none(self, vector: list[float]) -> None:
        assert packed(vector) is None

    def test_how_near_they_are(self) -> None:
        vectors = [packed(each) for each in ([1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 1.0])]
        near = similarities(vectors[0] or b"", b"".join(each or b"" for each in vectors))
        assert near == pytest.approx([1.0, 0.0, -1.0, math.sqrt(0.5)], abs=0.01)

    def test_many_of_them(self) -> None:
        one = packed([3.0, 4.0]) or b""
        assert similarities(one, one * 10_001) == pytest.approx([1.0] * 10_001, abs=0.01)
        assert similarities(one, b"") == []


class Home:
    def __init__(self, store: Store, engine: WordEngine) -> None:
        self.store = store
        self.engine = engine
        self.embedding = Embedding(
            store,
            OneModel(Model(name="puppet", served_as="words", engine=engine)),
            "puppet",
            lambda: "turn_1",
        )
        self.vectors = Vectors(store, self.embedding)
        self.finding = Finding(store, self.vectors)

    async def embed_all(self) -> None:
        last = await self.embedding.embedder()
        rows = await self.store.unembedded(last.number if last else None, limit=1000)
        embedder, vectors = await self.embedding.vectors("local", [row.text for row in rows])
        assert embedder is not None
        made = {row.message: vector for row, vector in zip(rows, vectors, strict=True) if vector is not None}
        await self.store.keep_vectors(embedder.number, made)

    async def found(self, text: str, owner: str = "local", **scope: object) -> list[str]:
        """The texts of what is found."""
        matches = await self.finding.find(owner, read_query(text), Scope(**scope))  # type: ignore[arg-type]
        texts = []
        for match in matches.found:
            items = await self.store.items(owner, match.conversation, to=match.message, limit=1, order="desc")
            texts.append(items[0].message.text)
        return texts


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    store = SqlStore(await SqliteDatabase.open(tmp_path / "palaver.db"))
    yield Home(store, WordEngine())
    await store.close()


class TestSearch:
    async def test_what_words_alone_do_not_find(self, home: Home) -> None:
        # For the engine words count that search leaves out.
        await Talker(home.store).talk("You should be here before me.", "Certainly.", conversation="c")
        await Talker(home.store).talk("Apples", "Pears", conversation="d")
        assert await home.found("should be here before noon") == []
        await home.embed_all()
        assert (await home.found("should be here before noon"))[0] == "You should be here before me."

    async def test_words_count_as_well(self, home: Home) -> None:
        await Talker(home.store).talk("A kennel", "Good", "A house", "Fine", conversation="c")
        await home.embed_all()
        assert (await home.found("kennel"))[0] == "A kennel"
        assert await home.found('"A house"') == ["A house"], "a phrase has to be there"

    async def test_nothing_of_others(self, home: Home) -> None:
        await Talker(home.store).talk("kennel one", "re one", conversation="c")
        await Talker(home.store, "other").talk("kennel two", "re two", conversation="c")
        await home.embed_all()
        assert "kennel two" not in await home.found("kennel")
        assert "kennel one" not in await home.found("kennel", "other")
        with pytest.raises(ConversationNotFound):
            await home.found("kennel", conversation="d")

    async def test_nothing_that_is_deleted(self, home: Home) -> None:
        id = await Talker(home.store).talk("kennel one", "re one", "kennel two", "re two", conversation="c")
        await home.embed_all()
        assert len(await home.found("kennel one")) >= 2
        await home.store.delete_conversation("local", id)
        assert await home.found("kennel one") == []

    async def test_a_query_is_embedded_once(self, home: Home) -> None:
        await Talker(home.store).talk("kennel one", "re one", conversation="c")
        await home.embed_all()
        home.engine.texts.clear()
        for _ in range(3):
            await home.found("kennel one")
        assert home.engine.texts == [["kennel one"]]
        for number in range(QUERIES):
            await home.found(f"kennel {number}")
        await home.found("kennel one")
        assert home.engine.texts[-1] == ["kennel one"]
        window, options = home.engine.asked[-1]
        assert (window.owner, window.conversation, options.model, options.idle) == (
            "local",
            None,
            "words",
            True,
        )

    @pytest.mark.parametrize(
        "error", [EngineUnavailable("no"), EngineRefused("no", status=500), EngineBroke("no"), TimeoutError()]
    )
    async def test_a_model_that_fails_leaves_words_alone(self, home: Home, error: Exception) -> None:
        await Talker(home.store).talk("kennel one", "re one", conversation="c")
        await home.embed_all()
        home.engine.failures.append(error)
        assert await home.found("kennel two") == ["kennel one"]
        asked = len(home.engine.texts)
        assert await home.found("kennel three") == ["kennel one"]
        assert len(home.engine.texts) == asked, "it is not asked again for a while"

    async def test_a_model_that_says_nothing_is_not_waited_for(self, home: Home) -> None:
        await Talker(home.store).talk("kennel one", "re one", conversation="c")
        await home.embed_all()
        home.engine.held_up.clear()
        home.finding = Finding(home.store, home.vectors, patience=0.01)
        assert await home.found("kennel two") == ["kennel one"]
        asked = len(home.engine.texts)
        home.finding = Finding(home.store, home.vectors)
        assert await home.found("kennel three") == ["kennel one"]
        assert len(home.engine.texts) == asked, "it is not asked again for a while"

    async def test_a_query_without_a_vector(self, home: Home) -> None:
        await Talker(home.store).talk("kennel one", "re one", conversation="c")
        await home.embed_all()
        home.engine.spoil = lambda vectors: [[NAN] * 16 for _ in vectors]
        assert await home.found("kennel two") == ["kennel one"]

    async def test_where_nothing_has_a_vector_the_model_is_not_asked(self, home: Home) -> None:
        await Talker(home.store).talk("kennel one", "re one", conversation="c")
        await Talker(home.store, "other").talk("kennel one", "re one", conversation="c")
        assert await home.found("kennel two") == ["kennel one"]
        assert home.engine.texts == []
        await home.embed_all()
        id = await Talker(home.store).talk("kennel three", "re three", conversation="d")
        home.engine.texts.clear()
        assert await home.found("kennel two", conversation=id) == ["kennel three"]
        assert home.engine.texts == [], "nor where none of those has that could be found"


class TestModel:
    async def test_texts_that_are_too_long_are_shortened(self, home: Home) -> None:
        home.engine.longest = 1000
        _, vectors = await home.embedding.vectors("local", ["short", "word " * 400])
        assert None not in vectors
        assert [max(map(len, texts)) for texts in home.engine.texts] == [2000, 1000]

    async def test_one_that_is_too_long_however_short_stops_no_other(self, home: Home) -> None:
        home.engine.longest = 300
        embedder, vectors = await home.embedding.vectors("local", ["short", "word " * 400, " "])
        assert embedder is not None
        assert [vector is None for vector in vectors] == [False, True, True]
        assert await home.embedding.vectors("local", ["word " * 400]) == (None, [None])
        assert await home.embedding.vectors("local", [" "]) == (None, [None])

    async def test_what_a_server_refuses(self, home: Home) -> None:
        home.engine.failures.append(EngineRefused("too long", status=413))
        _, vectors = await home.embedding.vectors("local", ["one"])
        assert None not in vectors
        home.engine.failures.append(EngineRefused("who are you", status=401))
        with pytest.raises(EngineRefused):
            await home.embedding.vectors("local", ["one"])

    @pytest.mark.parametrize("wrong", ["fewer", "more", "sizes", "empty"])
    async def test_what_cannot_be_their_vectors(self, home: Home, wrong: str) -> None:
        home.engine.spoil = {
            "fewer": lambda vectors: vectors[:-1],
            "more": lambda vectors: [*vectors, vectors[0]],
            "sizes": lambda vectors: [[1.0], *vectors[1:]],
            "empty": lambda vectors: [[] for _ in vectors],
        }[wrong]
        with pytest.raises(EngineBroke):
            await home.embedding.vectors("local", ["one", "two"])

    async def test_zeros_and_what_is_no_number_are_no_vectors(self, home: Home) -> None:
        home.engine.spoil = lambda vectors: [[0.0] * 16, [NAN] * 16, vectors[2]]
        _, vectors = await home.embedding.vectors("local", ["one", "two", "three"])
        assert [vector is None for vector in vectors] == [True, True, False]

    async def test_another_size_is_another_embedder(self, home: Home) -> None:
        await Talker(home.store).talk("kennel one", "re one", conversation="c")
        await home.embed_all()
        home.engine.dimensions = 8
        assert await home.found("kennel two") == ["kennel one"], "there is nothing to compare it with"
        last = await home.embedding.embedder()
        assert last is not None
        assert len(await home.store.unembedded(last.number)) == 2
        await home.embed_all()
        assert len(await home.found("kennel two")) == 2

    async def test_one_that_changes_its_size_for_ever_is_broken(self, home: Home) -> None:
        for size in range(8, 9 + MOST_CHANGES):
            home.engine.dimensions = size
            await home.embedding.vectors("local", ["one"])
        home.engine.dimensions = 32
        with pytest.raises(EngineBroke, match="change their size"):
            await home.embedding.vectors("local", ["one"])

    async def test_a_model_that_makes_none(self, home: Home) -> None:
        home.engine.capabilities -= {"embeddings"}
        with pytest.raises(UnsupportedParameter):
            await home.embedding.vectors("local", ["one"])
