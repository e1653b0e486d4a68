"""Names that the command line gives or reads: of conversations and of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import PurePath
from typing import Any

from palaver.cli.wording import line

OURS = "palaver"
"""What the source of a conversation that this command line began starts with."""


def new_names(now: datetime) -> Iterator[str]:
    """Names for a conversation that begins now, best first: ``chat-2026-11-23-1402``, then with ``-2`` …"""
    name = f"chat-{now:%Y-%m-%d-%H%M}"
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def model_name(asked: str) -> str:
    """The name that a running palaver gives a model which the option --model describes."""
    if asked.startswith("scripted:"):
        return "scripted"
    return PurePath(asked).stem if asked.endswith(".gguf") else asked


def ref_of(conversation: Mapping[str, Any]) -> str:
    """What commands find a conversation by: its name, or the id.

    A name that somebody else than the owner has it by is looked up among that end user's only; one that does not
    look as it is written cannot be typed.
    """
    name = conversation["name"]
    usable = name and not conversation["user"] and name == line(name) and name not in (".", "..")
    return str(name if usable else conversation["id"])


def to_continue(conversations: Sequence[Mapping[str, Any]]) -> str | None:
    """Of conversations, last updated first, the id of the one that a person at a terminal would go on with.

    That is the first with a name, or begun by the command line: apps begin conversations too, without names.
    """
    for conversation in conversations:
        if conversation.get("name") or str(conversation.get("source") or "").startswith(OURS):
            return str(conversation["id"])
    return None
