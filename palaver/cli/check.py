"""`palaver check`: whether the store is what it must be."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from palaver.cli.options import WHERE, takes
from palaver.cli.wording import harmless
from palaver.config import Config


@takes(*WHERE)
def check(
    rebuild_index: Annotated[
        bool,
        typer.Option(
            "--rebuild-index",
            help="First make the search index anew, of what is kept; only while no other palaver runs.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """Check the store: every page, every key, every rule, every word of the search index.

    Without --rebuild-index it only reads, also beside a running palaver, and also a backup (--store
    sqlite:///FILE). What it finds is printed, one line each, and the exit code is 1.
    """
    from palaver.cli.direct import counted, directly
    from palaver.cli.terminal import Terminal
    from palaver.wiring import upkeep

    terminal = Terminal()
    with directly(config):
        if rebuild_index:
            rebuilt = upkeep.rebuild_index(config)
            terminal.note(
                f"The search index was made anew: {rebuilt.messages} messages, {rebuilt.titles} titles."
            )
        report = upkeep.check(config)
    if as_json:
        terminal.say(msgspec.json.format(msgspec.json.encode(report)).decode())
        raise typer.Exit(int(bool(report.problems)))
    for finding in report.findings:
        terminal.say(harmless(f"{finding.what} {finding.id}: {finding.text}".replace("\n", " ")))
    if report.problems > len(report.findings):
        terminal.say(f"… and {report.problems - len(report.findings)} more")
    told = f"{report.store}: {counted(report.rows)}; "
    if report.version < report.newest:
        told += f"of version {report.version}, so only its form was checked; "
    problems = "1 problem" if report.problems == 1 else f"{report.problems} problems"
    terminal.note(told + (problems if report.problems else "nothing is wrong"))
    if report.problems:
        raise typer.Exit(1)
