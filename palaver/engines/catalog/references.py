"""What an operator may call a model by: names of files on the hub, and their addresses. Pure.

What a client sends as `model` never comes here.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

import msgspec

from palaver.core.errors import ConfigError

PREFIX = "hf:"
HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
HUB = re.compile(rf"(?P<repo>{PART}/{PART})(?:@(?P<revision>[^:@]+))?(?::(?P<choice>.+))?")
MAIN = "main"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,99}")
"""A name that an added model may have. No slash, which an upstream's models have; nothing that parts a list."""
SPLIT = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<end>\.gguf)", re.IGNORECASE)
"""How a part of a model is called that is split over several files."""


class HubName(msgspec.Struct, frozen=True):
    """A model on the hub: a repository, which version of it, and which of its files.

    `choice` is a quantisation (``Q4_K_M``), a file's path in the repository, or empty for the usual one.
    """

    repo: str
    choice: str = ""
    revision: str = MAIN

    def __str__(self) -> str:
        revision = "" if self.revision == MAIN else f"@{self.revision}"
        return f"{PREFIX}{self.repo}{revision}" + (f":{self.choice}" if self.choice else "")


def hub_name(text: str, hosts: tuple[str, ...] = HOSTS) -> HubName | None:
    """The model that ``hf:OWNER/REPO[@REVISION][:QUANT-or-FILE]`` or a hub's address names; None for other text.

    Addresses are those of a repository, of a version of it (``/tree/…``), or of a file (``/blob/…``,
    ``/resolve/…``), on one of `hosts`. Raises ConfigError (setting ``model``) for one that names no model.
    """
    if text.startswith(PREFIX):
        return _named(text, text.removeprefix(PREFIX))
    if not text.startswith(("https://", "http://")):
        host, _, rest = text.partition("/")
        return _named(text, rest) if host in hosts and rest else None
    try:
        address = urlsplit(text)
    except ValueError:
        raise _malformed(text) from None
    if address.netloc not in hosts:
        return None
    parts = [unquote(part) for part in address.path.strip("/").split("/")]
    named = _named(text, "/".join(parts[:2]))
    if len(parts) == 2:
        return named
    kind, revision, file = parts[2], "/".join(parts[3:4]), "/".join(parts[4:])
    if (
        kind not in ("tree", "blob", "resolve")
        or not revision
        or (kind != "tree" and not file)
        or ".." in parts
    ):
        raise _malformed(text)
    return HubName(named.repo, "" if kind == "tree" else file, revision)


def usable_name(text: str) -> str:
    """A name for an added model, made of a file's: characters that a name cannot have become ``-``."""
    whole = SPLIT.fullmatch(text)
    stem = whole["stem"] if whole else text.removesuffix(".gguf").removesuffix(".GGUF")
    name = re.sub(r"[^A-Za-z0-9._:@-]+", "-", stem).lstrip("._:@-")[:100]
    return name or "model"


def check_name(name: str, taken: frozenset[str]) -> None:
    """Raises ConfigError where an added model cannot be called so; `taken` are names of others."""
    if NAME.fullmatch(name) is None:
        raise ConfigError(
            f"{name!r} is no name for a model: letters, digits and . _ : @ - are, at most 100.",
            setting="name",
        )
    if name in taken:
        raise ConfigError(
            f"There is a model {name} already; choose another name with --name.", setting="name"
        )


def _named(text: str, name: str) -> HubName:
    found = HUB.fullmatch(name)
    if found is None or ".." in name:
        raise _malformed(text)
    return HubName(found["repo"], found["choice"] or "", found["revision"] or MAIN)


def _malformed(text: str) -> ConfigError:
    return ConfigError(
        f"{text!r} names no model on the hub; it is hf:OWNER/REPO, hf:OWNER/REPO:Q4_K_M or hf:OWNER/REPO:FILE.gguf.",
        setting="model",
    )
