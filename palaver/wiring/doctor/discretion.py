"""What a report may not hold: it is meant to be pasted where everybody reads it. Pure.

Who writes a finding leaves out what is private. All of it goes through `Discretion.text` besides, which blots out what
is known to be: keys, this user's name in paths, this machine's name, and what stands in addresses beside the place.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import msgspec

from palaver.wiring.doctor.findings import Finding

BLOT = "•••"
SECRET_NAME = re.compile(r".*(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)", re.IGNORECASE)
"""Names of environment variables whose values are nobody's business."""
LEAST_SECRET = 4
"""Values that are shorter are no secrets, and would blot out words."""
LEAST_NAME = 3
CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
QUERY = re.compile(r"(https?://[^\s?#]+)[?#]\S*")
KEY_LIKE = re.compile(r"\b(?:sk|hf|tgp|gsk|pal|ghp|xai)[-_][A-Za-z0-9_-]{8,}|Bearer\s+\S+")
"""How keys of well-known services look."""
PUBLIC_DOMAINS = (
    *(
        "together.xyz",
        "together.ai",
        "openai.com",
        "huggingface.co",
        "openrouter.ai",
        "groq.com",
        "mistral.ai",
    ),
    *(
        "deepseek.com",
        "fireworks.ai",
        "anthropic.com",
        "googleapis.com",
        "x.ai",
        "deepinfra.com",
        "cerebras.ai",
    ),
)
"""Of these everybody knows that they are there."""


class Discretion:
    """`secrets` are blotted out wherever they stand; `home` becomes ``~``; `user` and `hosts` are names."""

    def __init__(self, secrets: Iterable[str], home: str, user: str, hosts: Iterable[str]) -> None:
        # The longest first: one may stand within another.
        self._secrets = sorted({each for each in secrets if len(each) >= LEAST_SECRET}, key=len, reverse=True)
        self._home = home.rstrip("/\\")
        self._user = re.compile(rf"(?<=[/\\]){re.escape(user)}(?=[/\\]|$)") if user else None
        names = sorted({each for each in hosts if len(each) >= LEAST_NAME and each != "localhost"}, key=len)
        self._hosts = [
            re.compile(rf"(?<![\w.-]){re.escape(each)}(?![\w-])", re.IGNORECASE) for each in names[::-1]
        ]

    def findings(self, found: Iterable[Finding]) -> list[Finding]:
        """These, fit to be shown to anybody."""
        return [
            msgspec.structs.replace(each, text=self.text(each.text), do=self.text(each.do)) for each in found
        ]

    def text(self, text: str) -> str:
        """A text, fit to be shown to anybody."""
        for secret in self._secrets:
            text = text.replace(secret, BLOT)
        text = KEY_LIKE.sub(BLOT, CREDENTIALS.sub("", QUERY.sub(r"\1", text)))
        if self._home:
            text = re.sub(re.escape(self._home) + r"(?=[/\\\s,;:)]|$)", "~", text)
        if self._user is not None:
            text = self._user.sub("USER", text)
        for host in self._hosts:
            text = host.sub("HOST", text)
        return text


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """The values of variables that are secret by their names, and the passwords in addresses."""
    found = [value for name, value in environment.items() if SECRET_NAME.fullmatch(name)]
    for value in environment.values():
        found += re.findall(r"://[^/\s:@]*:([^/\s@]+)@", value)
    return [part.strip() for value in found for part in (value, *re.split(r"[,=]", value)) if part.strip()]


def place(url: str) -> str:
    """An address as far as it may be told: this machine's and well-known services whole, others without their name."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "an address that is none"
    told = host
    if not _may_be_told(host):
        told = "HOST" if not _is_number(host) else "a machine of its network"
    where = f"{parts.scheme}://[{told}]" if ":" in told else f"{parts.scheme}://{told}"
    return where + (f":{port}" if port else "") + parts.path.rstrip("/")


def _may_be_told(host: str) -> bool:
    if host == "localhost" or any(host == domain or host.endswith(f".{domain}") for domain in PUBLIC_DOMAINS):
        return True
    return _is_number(host) and ipaddress.ip_address(host).is_loopback


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
