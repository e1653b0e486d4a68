"""`palaver models add`: the list to begin with, and how one of it, of the hub, or of this machine is added."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palaver.cli.options import WHERE, takes
from palaver.cli.wording import columns, line, size
from palaver.config import Config
from palaver.core.errors import ConfigError

if TYPE_CHECKING:
    from palaver.wiring.adding import Offer, Plan

FITS = {
    "fits": "fits this machine",
    "tight": "tight on this machine: close other programs, or set a smaller --context",
    "too large": "too large for this machine's memory",
}


@takes("context", "slots", "memory", *WHERE)
def add(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]",
            help="One of the list; hf:OWNER/REPO[:QUANT or :FILE.gguf] or its address on the hub; a path to a GGUF "
            "file; one of `palaver models find`.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What it is to be called.")
    ] = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Add one that is too large for this machine without being asked."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    config: Config,
) -> None:
    """Add models, from the hub or from this machine; without a name, list some to begin with.

    A download that is interrupted goes on where it was when the command is given again. Every file is checked
    against the hub's checksum. What is added can be named by apps from the next start of palaver on.
    """
    from palaver.cli.direct import directly

    if name is not None and len(names or ()) != 1:
        raise typer.BadParameter("--name goes with one model.")
    with directly(config):
        if not names:
            _list(config, as_json)
            return
        done = [_add(config, each, name, yes) for each in names]
        if as_json:
            print(json.dumps(done, ensure_ascii=False, indent=2))


def _list(config: Config, as_json: bool) -> None:
    from palaver.wiring.adding import offers

    found = offers(config)
    if as_json:
        print(json.dumps([_offered(each) for each in found], ensure_ascii=False, indent=2))
        return
    for row in columns(rows(found)):
        print(row)
    print(
        "\nSizes are those of the download and of the memory with the usual context. Add one with its name, or any "
        "other\nGGUF model of the hub: palaver models add hf:OWNER/REPO",
        file=sys.stderr,
    )


def rows(found: list[Offer]) -> list[list[str]]:
    """A line for each model of the list: name, sizes, whether it fits, licence, what it is."""
    return [
        [
            "✓" if each.is_added else " ",
            each.name,
            size(each.size),
            f"{size(each.need.usual)} of memory",
            each.fit,
            each.licence,
            each.about,
        ]
        for each in found
    ]


def _offered(offer: Offer) -> dict[str, Any]:
    return {
        "name": offer.name,
        "size": offer.size,
        "memory": offer.need.usual,
        "fit": offer.fit,
        "licence": offer.licence,
        "about": offer.about,
        "added": offer.is_added,
    }


def _add(config: Config, wanted: str, name: str | None, yes: bool) -> dict[str, Any]:
    from palaver.cli.models.progress import Progress
    from palaver.wiring.adding import carry_out, plan

    planned = plan(config, wanted, name)
    for said in told(planned):
        print(said, file=sys.stderr)
    if planned.fit == "too large" and not yes:
        _ask()
    with Progress(planned.name) as progress:
        model = carry_out(config, planned, progress.told)
    print(
        f"Added {model.name}. Try it: palaver chat --model {model.name}; make it the default: palaver use {model.name}",
        file=sys.stderr,
    )
    return {
        "name": model.name,
        "path": str(model.path),
        "size": model.size,
        "source": model.source,
        "licence": model.licence,
        "sha256": [file.sha256 for file in model.files],
    }


def told(planned: Plan) -> list[str]:
    """What is to be added, in words."""
    fetch = f", of which {size(planned.to_fetch)} are fetched" if 0 < planned.to_fetch < planned.size else ""
    here = "" if planned.to_fetch else ", already on this machine"
    return [
        line(f"{planned.name}: {planned.source}"),
        f"  size     {size(planned.size)}{fetch or here}",
        f"  memory   about {size(planned.need.usual)}: {FITS[planned.fit]}",
        f"  licence  {line(planned.licence) or 'not said'}",
    ]


def _ask() -> None:
    if not sys.stdin.isatty():
        raise ConfigError("It is too large for this machine's memory; give --yes to add it all the same.")
    if not typer.confirm("Add it all the same?", err=True):
        raise typer.Exit(1)
