"""What state a palaver is in, as a list of findings that may be shown to anybody.

findings     what is found: ok, a note, or broken
discretion   what is never told
machine      versions, processor, memory, graphics processors
settings     the settings in force
storage      the store, its disk and owner, the port
models       the models that run here
servers      upstreams, and other servers on this machine
"""

from __future__ import annotations

import asyncio
import os
import platform
import tomllib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from palaver.config import SECRET, Config, SettingError
from palaver.stores.ownership import Owner, find_owner
from palaver.wiring.doctor import machine, models, servers, settings, storage
from palaver.wiring.doctor.discretion import Discretion, place, secrets_of
from palaver.wiring.doctor.findings import Finding, broken, note, ok

__all__ = ["Finding", "examine"]

LOGS = (
    "`palaver serve` writes its log to standard error; with --log-level debug there is more of it. It holds no keys "
    "and no text of messages."
)

log = structlog.get_logger(__name__)


async def examine(
    config: Config, file: Path, wrong: SettingError | None = None, environment: Mapping[str, str] = os.environ
) -> list[Finding]:
    """Everything that can be looked at without starting or changing anything.

    `file` is the configuration file that counts. Where the settings cannot be used, `wrong` says why, and `config`
    are the defaults.
    """
    found: list[Finding] = []
    found += await asyncio.to_thread(_listed, "machine", lambda: machine.examine(config))
    if wrong is not None:
        do = "Repair it; until then palaver does not start. What follows goes by the defaults."
        found.append(broken("config", str(wrong), do))
    found += _listed("config", lambda: settings.examine(config, file, environment))
    owner = _owner(config)
    found += await asyncio.to_thread(_listed, "store", lambda: storage.examine(config, owner))
    found += await _awaited("model", models.examine(config))
    own = owner.address if owner is not None else None
    found += await _awaited("servers", _each(servers.examine(config, own, environment)))
    found.append(ok("logs", LOGS))
    return _discretion(config, file, environment, owner).findings(found)


def _owner(config: Config) -> Owner | None:
    try:
        return find_owner(config.store_path)
    except OSError:
        return None  # what is wrong with its folder is told with the store


async def _each(finding: Any) -> AsyncIterator[Finding]:
    for each in await finding:
        yield each


def _listed(what: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """What is found, up to where looking itself fails: one part that cannot be examined does not hide the others."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except Exception as error:
        found.append(_unforeseen(what, error))
    return found


async def _awaited(what: str, look: AsyncIterator[Finding]) -> list[Finding]:
    found = []
    try:
        async for finding in look:
            found.append(finding)
    except Exception as error:  # see `_listed`
        found.append(_unforeseen(what, error))
    return found


def _unforeseen(what: str, error: Exception) -> Finding:
    log.debug("something could not be examined", what=what, exc_info=error)
    return note(what, f"could not be examined ({type(error).__name__})", "Please say so in the issue.")


def _discretion(
    config: Config, file: Path, environment: Mapping[str, str], owner: Owner | None
) -> Discretion:
    home = Path.home()
    machine_name = platform.node()
    addresses = [*config.upstream.values(), config.llama_server]
    private = [urlsplit(url).hostname or "" for url in addresses if _is_private(url)]
    hosts = [machine_name, machine_name.partition(".")[0], *private, *config.allowed_host]
    secrets = [*config.api_key, *config.upstream_key.values(), *secrets_of(environment), *_in_file(file)]
    return Discretion(
        secrets=[*secrets, owner.key if owner else "", *(_password(url) for url in addresses)],
        home=str(home),
        user=environment.get("USER") or environment.get("USERNAME") or home.name,
        hosts=hosts,
    )


def _is_private(url: str) -> bool:
    return "HOST" in place(url) or "its network" in place(url)


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""


def _in_file(file: Path) -> list[str]:
    """The secrets that stand in the file, also where it cannot be used otherwise."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return []
    return [text for name, value in values.items() if name in SECRET for text in _texts(value)]


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _texts(each)]
