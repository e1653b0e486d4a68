"""How much is measured."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.warm.home import Subject
from palaver.engines.pocket import POCKET

SECTIONS = ("restart", "turns", "crowd", "others")
OF_BIG = ("restart", "others")
"""What is worth the time with a model of a real one's size."""
SEED = 1


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What each section measures, in tokens, turns and times.

    restart: a conversation of `history` tokens is gone on with after a restart, `restarts` times, each reply of
    `reply` tokens. turns: a conversation of `turns` turns in a window of `size` tokens, replies of `answer`; its last
    `last` turns are compared with fresh ones, and as many restarts after it as `reopened`. crowd: `crowd`
    conversations of `crowd_turns` turns on `crowd_slots` slots, then `few` with one system prompt of `system` tokens,
    of `few_turns` turns on each of `few_slots`. others: a prompt of `long` tokens beside a stream, `laps` times.
    """

    history: int = 1800
    reply: int = 64
    restarts: int = 5
    turns: int = 1000
    size: int = 1024
    answer: int = 24
    last: int = 50
    reopened: int = 10
    crowd: int = 50
    crowd_turns: int = 20
    crowd_slots: int = 4
    few: int = 6
    few_turns: int = 5
    few_slots: tuple[int, ...] = (2, 4)
    system: int = 1000
    long: int = 4096
    laps: int = 3


QUICK = Plan(
    history=400,
    restarts=1,
    turns=24,
    size=320,
    answer=12,
    last=3,
    reopened=1,
    crowd=6,
    crowd_turns=2,
    crowd_slots=2,
    few=3,
    few_turns=2,
    few_slots=(2,),
    system=200,
    long=1024,
    laps=1,
)


def pocket(slots: int = 2) -> Subject:
    """The bundled model. More than one thread only wait for each other in it."""
    return Subject(name="pocket", path=POCKET, threads=1, slots=slots)


def random(path: Path, context: int, slots: int = 2) -> Subject:
    """A model of random weights in this file."""
    return Subject(name="random", path=path, context=context, slots=slots)
