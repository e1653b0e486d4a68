"""What was said in a conversation before, as a chat shows it when it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from palaver.cli.link import Link
from palaver.cli.messages import is_cut, shown_text
from palaver.cli.show import heading, last_items
from palaver.cli.terminal import Terminal

SHOWN_AGAIN = 6
"""How many of the last messages are shown."""


async def show_last(link: Link, terminal: Terminal, ref: str) -> None:
    """Show the last messages of a conversation. Raises PalaverError."""
    conversation = await link.asked(lambda palaver: palaver.conversation(ref))
    items = await link.asked(lambda palaver: last_items(palaver, ref, SHOWN_AGAIN))
    earlier = conversation["messages"] - len(items)
    terminal.note(heading(conversation) + (f", after {earlier} earlier messages" if earlier else ""))
    for item in items:
        terminal.note()
        _show(terminal, item)
    terminal.note()


def _show(terminal: Terminal, item: Mapping[str, Any]) -> None:
    """A message of the past, looking as it did when it was said."""
    if item["role"] == "user":
        terminal.paragraph("> " + shown_text(item))
    elif item["role"] == "assistant":
        terminal.paragraph(shown_text(item))
    else:
        terminal.note(f"[{item['role']}] {shown_text(item)}")
    if is_cut(item):
        terminal.note("(cut off)")
