"""A long conversation as an app has it, that resends its whole history each time: which moves it makes, and which
nodes of a tree these should leave behind."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tests.sdks.asking import Sdk, python_client

SOON = 5
"""An edit that the app stays with is at most so many turns back: the conversation is to become long."""


class Move(msgspec.Struct, frozen=True):
    """One request: the history of an earlier one with its reply (None: nothing yet), cut to `keep` messages.

    `say` is a new user message, None asks for the reply to the last one again. `seed` makes replies differ.
    """

    of: int | None
    keep: int
    say: str | None
    seed: int | None = None


class Exchange(msgspec.Struct, frozen=True):
    """What the app sent and got; each message is what the app has of it."""

    sent: list[dict[str, Any]]
    reply: dict[str, Any]


def moves(turns: int, edits: int, regenerations: int, seed: int) -> list[Move]:
    """Go on until one path has so many turns, with edits and regenerations at random places of it.

    Every second time the app stays with what it has got; else it goes on there for some turns, and then comes back
    to where it was.
    """
    chance = random.Random(seed)
    detours = ["edit"] * edits + ["again"] * regenerations
    chance.shuffle(detours)
    places = sorted(chance.sample(range(2, turns), len(detours)))
    made = [Move(None, 0, "Begin")]
    path, last = 1, 0  # the turns of the path that the app is on, and the request that ended it
    while path < turns:
        while places and places[0] <= path:
            places.pop(0)
            stays = chance.random() < 0.5
            place = chance.randrange(max(0, path - SOON) if stays else 0, path)
            ends = _detour(chance, made, detours.pop(), last, place)
            if stays:
                path, last = place + 1, ends
            else:
                for _ in range(chance.randrange(4)):
                    made.append(Move(len(made) - 1, _whole(made, len(made) - 1), f"Aside {len(made)}"))
        made.append(Move(last, _whole(made, last), f"Turn {len(made)}"))
        path, last = path + 1, len(made) - 1
    assert not detours
    return made


def _detour(chance: random.Random, made: list[Move], kind: str, last: int, place: int) -> int:
    """Ask another question at a place (turns from the root) of a path, or the same again; its request."""
    if kind == "edit":
        made.append(Move(last, 2 * place, f"Rather {len(made)}"))
    else:
        # Without a seed the reply is as before: another generation, with the same text.
        made.append(Move(last, 2 * place + 1, None, chance.choice([None, len(made)])))
    return len(made) - 1


def _whole(made: Sequence[Move], request: int) -> int:
    """How many messages the history of a request has, with its reply."""
    move = made[request]
    return move.keep + (move.say is not None) + 1


def talk(sdk: Sdk, address: str, made: Sequence[Move], heard: Callable[[str], None]) -> list[Exchange]:
    """Make these moves with an SDK; `heard` is told the conversation of each reply."""
    exchanges: list[Exchange] = []
    with python_client(sdk, address) as client:
        for move in made:
            sent = history(exchanges, move)
            raw = client.chat.completions.with_raw_response.create(
                model="scripted", messages=sent, seed=move.seed
            )
            heard(raw.headers["palaver-conversation"])
            exchanges.append(Exchange(sent, raw.parse().choices[0].message.model_dump()))
    return exchanges


def history(exchanges: Sequence[Exchange], move: Move) -> list[dict[str, Any]]:
    """What the app sends for a move."""
    kept: list[dict[str, Any]] = []
    if move.of is not None:
        before = exchanges[move.of]
        kept = [*before.sent, before.reply][: move.keep]
    return kept if move.say is None else [*kept, {"role": "user", "content": move.say}]


def distinct_nodes(exchanges: Sequence[Exchange]) -> int:
    """How many messages a tree of these has: each one sent counts once at its place, every reply is one more.

    A place is told by what stands above it, word by word.
    """
    places: dict[tuple[int, str, str], int] = {}
    questions = set()
    for exchange in exchanges:
        above = 0
        for message in exchange.sent:
            above = places.setdefault((above, message["role"], message["content"]), len(places) + 1)
            if message["role"] == "user":
                questions.add(above)
    return len(questions) + len(exchanges)
