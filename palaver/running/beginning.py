"""What a turn starts from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypedDict

import msgspec

from palaver.core.message import Message


class Beginning(msgspec.Struct, frozen=True):
    """What a turn starts from once its time has come: its prompt, and the reply that it goes on with."""

    messages: tuple[Message, ...]
    continues: Message | None = None


class Begun(TypedDict, total=False):
    """What a turn starts from, or how to wait for it."""

    continues: Message | None
    begin: Callable[[], Awaitable[Beginning]] | None
