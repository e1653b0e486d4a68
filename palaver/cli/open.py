"""`palaver open`: the chat page, in a browser."""

from __future__ import annotations

import sys

import typer

from palaver.cli.options import WHERE, takes
from palaver.config import Config
from palaver.core.errors import PalaverError


@takes(*WHERE)
def open_(config: Config) -> None:
    """Open the chat page of the running server in your browser.

    Says its address, to open elsewhere too. The server is the one that `palaver serve` runs on this machine.
    """
    import webbrowser

    address = page_address(config)
    print(address)
    if not webbrowser.open(address):
        print("palaver: no browser could be started here; open this address in one.", file=sys.stderr)
        raise typer.Exit(1)


def page_address(config: Config) -> str:
    """Where the page is. Raises PalaverError where no server runs, saying what to do."""
    from palaver import wiring

    owner = wiring.find_owner(config)
    if owner is None:
        raise PalaverError("No server is running: start one with `palaver serve`, then come back.")
    if owner.is_private:
        raise PalaverError(
            f"Another command (process {owner.pid}) has the store now, and shows no page: end it, and start a server "
            "with `palaver serve`."
        )
    return owner.address + "/"
