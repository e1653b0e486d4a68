"""`palaver ask`: one question, one reply."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from palaver.cli.options import ANSWERING, WHERE, takes
from palaver.config import Config

if TYPE_CHECKING:
    from palaver.cli.saying import Said

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="What answers: `pocket`, a path to a GGUF file, `UPSTREAM/model`, or any name that the running "
        "palaver has; by default what that one or the settings say.  [env: PALAVER_MODEL]",
    ),
]


@takes(*ANSWERING, *WHERE)
def ask(
    text: Annotated[
        str, typer.Argument(metavar="[TEXT]", help="The question. Standard input goes below it.")
    ] = "",
    model: Model = None,
    conversation: Annotated[
        str | None, typer.Option(metavar="NAME", help="Go on with this conversation, or begin it.")
    ] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="Instructions for the model.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object in the end.")] = False,
    *,
    config: Config,
) -> None:
    """Ask one question and print the reply as it comes. Ctrl-C stops it; what was said is kept."""
    from palaver.cli.link import run

    no_input = sys.stdin is None or sys.stdin.isatty()
    piped = "" if no_input else sys.stdin.buffer.read().decode("utf-8", "replace")
    question = "\n\n".join(part for part in (text, piped) if part.strip())
    if not question:
        raise typer.BadParameter("There is nothing to ask.", param_hint="TEXT")
    run(_ask(with_model(config, model), question, model, conversation, system, as_json), config)


def with_model(config: Config, model: str | None) -> Config:
    """The settings for the case that this process has to answer by itself."""
    return msgspec.structs.replace(config, model=model) if model else config


async def _ask(
    config: Config,
    question: str,
    model: str | None,
    conversation: str | None,
    system: str | None,
    as_json: bool,
) -> int:
    from palaver.cli.link import INTERRUPTED, Link
    from palaver.cli.talk import Talk
    from palaver.cli.terminal import ReplyView, Terminal

    terminal = Terminal()
    view = ReplyView(terminal, silent=as_json)
    async with Link(config) as link:
        talk = Talk(link, model=model, name=conversation, instructions=system)
        if model:
            await talk.check_model()
        await talk.load()
        try:
            said = await talk.say(question, view)
        finally:
            view.end()
    if as_json:
        terminal.say(json.dumps(as_object(said), ensure_ascii=False, indent=2))
    if conversation and said.conversation is None:
        terminal.note("This palaver records nothing (record = none): it is not kept.")
    if said.stopped:
        terminal.note("Stopped. What was said so far is kept.")
    return INTERRUPTED if said.stopped else 0


def as_object(said: Said) -> dict[str, object]:
    """A reply as JSON has it. `conversation` is null where the turn is not kept."""
    return {
        "conversation": said.conversation,
        "turn": said.turn,
        "model": said.model,
        "reply": said.text,
        "finish_reason": said.finish_reason,
        "usage": said.usage,
    }
