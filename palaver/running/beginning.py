"""What a turn starts from."""

from __future__ import annotations

import msgspec

from palaver.core.message import Message


class Beginning(msgspec.Struct, frozen=True):
    """What a turn starts from once its time has come: its prompt, and the reply that it goes on with."""

    messages: tuple[Message, ...]
    continues: Message | None = None
