"""Queries: whatever somebody writes, in any script, is plain words. Only too much and nothing are refused."""

# ruff: noqa: RUF001 - other scripts have signs that look like ours

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from palaver.core.errors import InvalidRequest
from palaver.core.message import FunctionCall, Message, ToolCall
from palaver.core.searching import (
    INVISIBLE,
    MARKS,
    MOST_CHARACTERS,
    MOST_WORDS,
    STOP_WORDS,
    Query,
    read_query,
    searchable,
    spaced,
    unspaced,
)

TEXTS = {
    "German": "Die Großmutter wohnt seit März in Köln-Ehrenfeld.",
    "Russian": "Моя сестра живёт в Нижнем Новгороде.",
    "Arabic": "أختي تعيش في الإسكندرية.",
    "Hindi": "मेरी बहन दिल्ली में रहती है।",
    "Chinese": "我妹妹住在成都，喜欢吃辣。",
    "Japanese": "妹は札幌に住んでいます。",
    "Thai": "น้องสาวของฉันอยู่ที่เชียงใหม่",
    "Korean": "내 여동생은 부산에서 일해요.",
    "Hebrew": "אחותי גרה בחיפה.",
    "Greek": "Η αδελφή μου μένει στη Θεσσαλονίκη.",
    "French": "L'été dernier, j'ai déménagé à Besançon.",
}
QUERIES = {
    "German": ("Wo wohnt Großmutter?", "Köln", "köln ehrenfeld"),
    "Russian": ("Где живёт сестра?", "НИЖНЕМ"),
    "Arabic": ("أين تعيش أختي؟", "الإسكندرية"),
    "Hindi": ("मेरी बहन कहाँ रहती है?", "दिल्ली"),
    "Chinese": ("妹妹住在哪里？", "成都"),
    "Japanese": ("妹はどこに住んでいますか？", "札幌"),
    "Thai": ("น้องสาวอยู่ที่ไหน", "เชียงใหม่"),
    "Korean": ("여동생은 어디에서 일해요?", "부산"),
    "Hebrew": ("איפה גרה אחותי?", "בחיפה"),
    "Greek": ("Πού μένει η αδελφή μου;", "Θεσσαλονίκη"),
    "French": ("Quand est-ce que tu as déménagé, l’été ?", "été", "besancon"),
}


def words(text: str) -> list[str]:
    return [term.text for term in read_query(text).words]


def phrases(text: str) -> list[str]:
    return [term.text for term in read_query(text).phrases]


def found_by(query: Query) -> set[str]:
    """The languages whose texts have any term of a query, in an index like that of a store."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(
            "CREATE VIRTUAL TABLE said USING fts5 (name UNINDEXED, text, "
            "tokenize = 'porter unicode61 remove_diacritics 2')"
        )
        connection.executemany("INSERT INTO said VALUES (?, ?)", [(n, spaced(t)) for n, t in TEXTS.items()])
        quoted = ['"' + spaced(t.text).replace('"', '""') + '"' + "*" * t.is_prefix for t in query.terms]
        rows = connection.execute("SELECT name FROM said WHERE text MATCH ?", (" OR ".join(quoted),))
        return {name for (name,) in rows}


@pytest.mark.parametrize(
    ("language", "query"), [(language, query) for language, some in QUERIES.items() for query in some]
)
def test_words_are_found_in_every_script_and_nowhere_else(language: str, query: str) -> None:
    assert found_by(read_query(query)) == {language}


def test_a_question_is_what_tells_in_it() -> None:
    assert words("Where's Nora's dog, and when did I get the puppy?") == ["Nora", "dog", "get", "puppy"]
    assert words("I don't think he couldn’t, we're sure") == ["think", "sure"]
    assert words("O'Brien's boat at eight o'clock") == ["O'Brien", "boat", "eight", "o'clock"]
    assert words("L'eau de l’été, aujourd'hui; qu'elle s'appelle") == [
        "eau",
        "de",
        "été",
        "aujourd'hui",
        "elle",
        "appelle",
    ]


def test_each_word_counts_once() -> None:
    assert words("Tea tea TEA green") == ["Tea", "green"]


def test_words_that_are_everywhere_count_where_there_are_no_others() -> None:
    assert words("To be or not to be?") == ["To", "be", "or", "not"]
    assert words("don't you") == ["don't", "you"]
    assert read_query('who "Aunt Mary"').words == ()
    assert all(word == word.lower() for word in STOP_WORDS)


def test_scripts_without_spaces_are_looked_for_in_pieces() -> None:
    assert words("我妹妹住") == ["我妹", "妹妹", "妹住"]
    assert words("京") == ["京"]
    assert words("iPhoneを買う") == ["iPhone", "を買", "買う"]
    assert words("เชียงใหม่") == ["เชีย", "ชียง", "ียงใ", "ยงให", "งใหม", "ใหม่"]
    assert phrases("「東京」 “東京都庁”") == ["東京都庁"]


def test_marks_of_vowels_and_accents_stay_in_their_words() -> None:
    assert words("हिन्दी में") == ["हिन्दी", "में"]
    assert words("cafe\u0301 noe\u0308l") == ["cafe\u0301", "noe\u0308l"]
    assert words("❤️ love") == ["love"]


def test_a_star_is_for_whatever_begins_so() -> None:
    terms = read_query("Zuri* bern 東京都*").words
    assert [(term.text, term.is_prefix) for term in terms] == [
        ("Zuri", True),
        ("bern", False),
        ("東京", False),
        ("京都", True),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a* of*",
        "東*",
        "*a* good or **s**",
        "is *rather good* tea ***very*** strong",
        "**bold**ness and *so!* on",
        "* a list",
    ],
)
def test_other_stars_are_punctuation(text: str) -> None:
    assert not any(term.is_prefix for term in read_query(text).words)
    assert words(text) == words(text.replace("*", " "))


def test_a_star_counts_after_emphasis() -> None:
    terms = read_query("*so!* bak* **tea** bre* สว*").words
    assert [term.text for term in terms if term.is_prefix] == ["bak", "bre", "สว"]


def test_quotes_are_for_words_one_after_the_other() -> None:
    assert phrases('"Aunt Mary" „Tante Mia“ «ma tante» “the sea”') == [
        "Aunt Mary",
        "Tante Mia",
        "ma tante",
        "the sea",
    ]
    assert phrases('"one" "one" "?!" ""') == ["one"]
    assert phrases("«««one» „„two“ and «««") == ["one", "two"]
    assert (phrases('say "hello'), words('say "hello')) == ([], ["say", "hello"])


@pytest.mark.parametrize(
    "text", ["", "  ", '""', '"', '" "', "* ^ : - ( ) ' `", "?!… — «»", "🙂🎉", "❤️", "\0\0", "_"]
)
def test_what_has_no_word_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="no word") as refused:
        read_query(text, param="query")
    assert refused.value.param == "query"


@pytest.mark.parametrize(
    ("text", "looked_for"),
    [
        ("AND OR NOT", ["AND", "OR", "NOT"]),
        ("NEAR(tea coffee, 5)", ["NEAR", "tea", "coffee", "5"]),
        ("text: ^tea + place : c1 -milk", ["text", "tea", "place", "c1", "milk"]),
        ("{text place} : tea", ["text", "place", "tea"]),
        ("tea); DROP TABLE messages; --", ["tea", "DROP", "TABLE", "messages"]),
        ("t'e`mint", ["t'e", "mint"]),
    ],
)
def test_operators_are_words_or_nothing(text: str, looked_for: list[str]) -> None:
    assert words(text) == looked_for


def test_how_much_can_be_asked_in_quotes() -> None:
    assert phrases(f'"{"tea " * 40}" "{"milk " * 40}" "sugar"') == ["tea " * 40, " ".join(["milk"] * 24)]
    assert phrases(f'"{"東京" * 100}" "都"') == ["東京" * 32]
    assert phrases(f'"{"tea " * 64}"') == ["tea " * 64]
    assert [len(word) for word in words("a'" * 999 + "a")] == [2 * 256 - 1]


def test_half_a_sign_is_none() -> None:
    assert spaced("tea\ud83c").encode() == "tea\ufffd".encode()
    query = read_query('"tea \ud83c time"')
    assert found_by(query) == set()


def test_how_much_can_be_asked() -> None:
    assert len(words(" ".join(f"w{i}" for i in range(1000)))) == MOST_WORDS
    assert len(phrases(" ".join(f'"w{i}"' for i in range(1000)))) == MOST_WORDS
    assert words("a" * MOST_CHARACTERS) == ["a" * MOST_CHARACTERS]
    assert len(words("京都" * (MOST_CHARACTERS // 2))) == 2
    with pytest.raises(InvalidRequest, match="10,000"):
        read_query("a" * (MOST_CHARACTERS + 1))


@given(st.text(max_size=200))
@example('AND "OR" NOT NEAR( * ^ : - " \' `')
@example("\0 a\0b \ufffd")
@example(f"{MARKS[0]}tea{MARKS[1]} {INVISIBLE}")
@example("l'l'eau's's don't've")
def test_nothing_breaks_an_index(text: str) -> None:
    try:
        query = read_query(text)
    except InvalidRequest:
        return
    assert query.terms
    assert all(term.text for term in query.terms)
    found_by(query)


@given(st.text())
def test_a_text_is_itself_again(text: str) -> None:
    again = unspaced(spaced(text))
    for mark in ("\0", *MARKS):
        text = text.replace(mark, " ")
    assert again == text.replace(INVISIBLE, "")


def test_of_a_message_its_text_is_searched() -> None:
    called = Message(
        "assistant", "Hm.", tool_calls=[ToolCall(FunctionCall("look", '{"at": "sky"}'), "call_1")]
    )
    assert searchable(called) == "Hm."
