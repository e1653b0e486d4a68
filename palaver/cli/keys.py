"""`palaver keys`: API keys, listed, made and revoked."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from palaver.cli import window
from palaver.cli.options import WHERE, takes
from palaver.cli.wording import columns, harmless, moment
from palaver.config import Config

SCOPES = ("chat", "read", "write", "admin")
SPAN = re.compile(r"(\d+)([hdwy])")
DAYS = {"h": 1 / 24, "d": 1, "w": 7, "y": 365}

keys = typer.Typer(name="keys", rich_markup_mode=None)


@keys.callback(invoke_without_command=True)
@takes(*WHERE)
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
    subcommand: str | None,
) -> None:
    """List API keys, make and revoke them.

    Each says whose conversations it opens, what it may do, its limits, and when it was last used. The keys
    themselves are shown only when they are made.
    """
    from palaver.cli.link import run

    if subcommand is None:
        run(_list(config, as_json), config)


async def _list(config: Config, as_json: bool) -> None:
    from palaver.cli.link import Link
    from palaver.cli.terminal import Terminal, wide

    async with Link(config) as link:
        found = await link.palaver.api_keys()
    terminal = Terminal()
    if as_json:
        terminal.say(json.dumps({"object": "list", "data": found}, ensure_ascii=False, indent=2))
        return
    for line in columns(rows(found)):
        terminal.say(line[: wide()])
    if not found:
        terminal.note("No API keys yet; `palaver keys add NAME` makes one.")


def rows(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A line for each key: id, how it ends, name, owner, status, scopes, limits, last use."""
    return [
        [
            each["id"],
            f"…{harmless(each['hint'])}",
            harmless(each["name"]),
            f"of {harmless(each['owner'])}",
            each["status"] + (f" until {moment(each['expires_at'])}" if _expires(each) else ""),
            ",".join(map(harmless, each["scopes"])),
            limits(each),
            f"used {moment(each['last_used_at'])}" if each["last_used_at"] else "never used",
        ]
        for each in found
    ]


def _expires(key: Mapping[str, Any]) -> bool:
    return key["status"] == "active" and key["expires_at"] is not None


def limits(key: Mapping[str, Any]) -> str:
    """A key's limits in words; empty where it has none."""
    told = (("requests_per_minute", "requests"), ("tokens_per_minute", "tokens"))
    found = [f"{key[name]:,} {what}" for name, what in told if key[name] is not None]
    return f"{' and '.join(found)} a minute" if found else ""


def days(text: str) -> float:
    """A span such as 30d in days. Raises typer.BadParameter."""
    match = SPAN.fullmatch(text)
    if match is None or not int(match[1]):
        raise typer.BadParameter(f"{text!r} is no span of time such as 12h, 30d, 8w or 1y.")
    return int(match[1]) * DAYS[match[2]]


def _scope(text: str) -> str:
    if text not in SCOPES:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(SCOPES)}.")
    return text


@keys.command()
@takes(*WHERE)
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    owner: Annotated[
        str, typer.Option(metavar="OWNER", help="Whose conversations it opens; a new owner has none yet.")
    ] = "local",
    scope: Annotated[
        list[str] | None,
        typer.Option(
            parser=_scope,
            metavar="|".join(SCOPES),
            help="What it may do; may be given several times.  [default: chat, read, write]",
        ),
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="How many turns it may ask for in a minute.")
    ] = None,
    tokens_per_minute: Annotated[
        int | None,
        typer.Option(min=1, metavar="NUMBER", help="How many tokens its turns may have in a minute."),
    ] = None,
    expires: Annotated[
        float | None,
        typer.Option(
            parser=days,
            metavar="SPAN",
            help="It expires so long from now: 12h, 30d, 8w, 1y.  [default: never]",
        ),
    ] = None,
    window_mode: Annotated[window.Mode | None, typer.Option(metavar="strict|auto", help=window.MODE)] = None,
    truncation: Annotated[
        window.Truncation | None, typer.Option(metavar="auto|disabled", help=window.TRUNCATION)
    ] = None,
    window_size: Annotated[int | None, typer.Option(min=1, metavar="NUMBER", help=window.SIZE)] = None,
    window_keep: Annotated[
        float | None, typer.Option(min=window.LEAST, max=window.MOST, metavar="NUMBER", help=window.KEEP)
    ] = None,
    window_reserve: Annotated[int | None, typer.Option(min=1, metavar="NUMBER", help=window.RESERVE)] = None,
    context_length_exceeded_behavior: Annotated[
        window.Exceeding | None, typer.Option(metavar="error|truncate", help=window.EXCEEDING)
    ] = None,
    *,
    config: Config,
) -> None:
    """Make an API key.

    The key is all that is printed on standard output, and it is shown this once. From the first key on, every
    request needs one, on this machine too; only this command line goes on without.
    """
    from palaver.cli.link import run

    asked = {
        "name": name,
        "owner": owner,
        "scopes": scope,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "expires_in_days": expires,
        "window": window.settings(
            window_mode,
            truncation,
            window_size,
            window_keep,
            window_reserve,
            context_length_exceeded_behavior,
        ),
    }
    run(_add(config, {field: value for field, value in asked.items() if value}), config)


async def _add(config: Config, asked: dict[str, Any]) -> None:
    from palaver.cli.link import Link

    async with Link(config) as link:
        made = await link.palaver.add_api_key(**asked)
    print(made["key"], flush=True)
    until = f", until {moment(made['expires_at'])}" if made["expires_at"] else ""
    limited = f", {limits(made)}" if limits(made) else ""
    print(
        harmless(
            f"{made['id']} of {made['owner']}: {', '.join(made['scopes'])}{limited}{until}.\n"
            "The key is not shown again. From now on every request needs a key."
        ),
        file=sys.stderr,
    )


@keys.command()
@takes(*WHERE)
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="As `palaver keys` says it: key_…")],
    *,
    config: Config,
) -> None:
    """Revoke an API key: it is accepted no longer, from now on."""
    from palaver.cli.link import run

    run(_revoke(config, id), config)


async def _revoke(config: Config, id: str) -> None:
    from palaver.cli.link import Link

    async with Link(config) as link:
        key = await link.palaver.revoke_api_key(id)
    print(harmless(f"{key['id']} ({key['name']}) of {key['owner']} is revoked."))
