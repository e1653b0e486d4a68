"""`palaver window`: how the windows of a conversation are chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from palaver.cli.options import WHERE, takes
from palaver.cli.wording import columns
from palaver.config import Config

MODE = "What requests that resend their history are shown: `strict` what they sent, `auto` what fits."
TRUNCATION = "What turns below stored messages are shown: `auto` what fits, `disabled` all of it."
SIZE = "The most tokens that prompt and reply may have together."
KEEP = "The share of its room that a new window keeps when there is no more, from 0.05 to 0.95."
EXCEEDING = "Where prompt and `max_tokens` do not fit: refuse (`error`), or lower `max_tokens` (`truncate`)."
RECALL = "Where messages are left out: offer a tool that quotes them, quote `always` what fits, or neither."
RESERVE = "Tokens kept free for a reply where no `max_tokens` says how long it may be."
LEAST, MOST = 0.05, 0.95
"""Of what a new window keeps."""

Mode = Literal["strict", "auto"]
Truncation = Literal["auto", "disabled"]
Recall = Literal["off", "tool", "always"]
Exceeding = Literal["error", "truncate"]


@takes(*WHERE)
def window(
    conversation: Annotated[str, typer.Argument(metavar="NAME_OR_ID", help="As `palaver list` says it.")],
    mode: Annotated[Mode | None, typer.Option(metavar="strict|auto", help=MODE)] = None,
    truncation: Annotated[Truncation | None, typer.Option(metavar="auto|disabled", help=TRUNCATION)] = None,
    size: Annotated[int | None, typer.Option(min=1, metavar="NUMBER", help=SIZE)] = None,
    keep: Annotated[float | None, typer.Option(min=LEAST, max=MOST, metavar="NUMBER", help=KEEP)] = None,
    reserve: Annotated[int | None, typer.Option(min=1, metavar="NUMBER", help=RESERVE)] = None,
    recall: Annotated[Recall | None, typer.Option(metavar="off|tool|always", help=RECALL)] = None,
    summaries: Annotated[
        bool | None, typer.Option("--summaries/--no-summaries", help="Show a summary of what is left out.")
    ] = None,
    context_length_exceeded_behavior: Annotated[
        Exceeding | None, typer.Option(metavar="error|truncate", help=EXCEEDING)
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Take back first what was said before.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """Show how the windows of a conversation are chosen, or say how.

    What is said here goes before what API key, model and server say, and what a request says itself goes before it.
    It counts from the next turn on.
    """
    from palaver.cli.link import run

    said = settings(
        mode, truncation, size, keep, reserve, context_length_exceeded_behavior, recall, summaries
    )
    run(_window(config, conversation, said, reset, as_json), config)


def settings(
    mode: str | None,
    truncation: str | None,
    size: int | None,
    keep: float | None,
    reserve: int | None,
    exceeding: str | None,
    recall: str | None = None,
    summaries: bool | None = None,
) -> dict[str, Any]:
    """What was said of a window."""
    given = {"mode": mode, "truncation": truncation, "size": size, "keep": keep, "reserve": reserve}
    given |= {"context_length_exceeded_behavior": exceeding, "recall": recall, "summaries": summaries}
    return {name: value for name, value in given.items() if value is not None}


async def _window(config: Config, ref: str, said: dict[str, Any], reset: bool, as_json: bool) -> None:
    from palaver.cli.link import Link
    from palaver.cli.show import heading
    from palaver.cli.terminal import Terminal

    async with Link(config) as link:
        conversation = await link.palaver.conversation(ref)
        if said or reset:
            before = {} if reset else conversation["window"] or {}
            conversation = await link.palaver.set_window(conversation["id"], **before | said)
    terminal = Terminal()
    if as_json:
        terminal.say(json.dumps(conversation, ensure_ascii=False, indent=2))
        return
    terminal.say(heading(conversation), "bold")
    here = lines(conversation["window"] or {})
    for line in here:
        terminal.say(line)
    what = "The rest is" if here else "Nothing is said for this conversation; all is"
    terminal.note(f"{what} as API key, model and server say.")


def lines(said: Mapping[str, Any]) -> list[str]:
    """The settings that were said, one a line."""
    return columns([name, str(value)] for name, value in said.items() if value is not None) if said else []
