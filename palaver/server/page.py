"""The chat page: files that a browser is given, and what it may do with them.

The files are read once, at start; only their names can be asked for. The page asks the public API for everything else.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterable, Mapping
from importlib import resources

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from palaver.core.errors import NotFound
from palaver.server.route import Handler, Operation, path_value

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types palaver"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
"""What every file of the page comes with. A browser asks each time whether it has changed: palaver may have been
upgraded, and half an old page is none."""
TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
INDEX = "index.html"
CLASSIC = re.compile(r'<script src="assets/([^"]+)"')
"""A script of the page that is no module."""


class Asset(msgspec.Struct, frozen=True):
    """A file as it is sent: its bytes, plain and packed, its media type and its tag."""

    plain: bytes
    packed: bytes
    type: str
    tag: str


class Page:
    """Serves what lies in ``palaver/web/static``."""

    def __init__(self) -> None:
        folder = resources.files("palaver.web") / "static"
        files = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
        self._index = _asset(INDEX, _with_preloads(files.pop(INDEX).decode(), files).encode())
        self._assets: Mapping[str, Asset] = {name: _asset(name, plain) for name, plain in files.items()}

    def operations(self) -> list[Operation]:
        def shown(
            path: str, handler: Handler, summary: str, description: str, kind: str | tuple[str, ...]
        ) -> Operation:
            return Operation(
                method="GET",
                path=path,
                handler=handler,
                summary=summary,
                description=description,
                media_type=kind,
                is_open=True,
            )

        return [
            shown("/", self.index, "The chat page", "", "text/html"),
            shown("/ui", self.below, "The chat page", "The same at a path of its own.", "text/html"),
            shown("/assets/{name}", self.asset, "A file of the chat page", "", tuple(TYPES.values())),
        ]

    async def index(self, request: Request) -> Response:
        return _sent(request, self._index)

    async def below(self, request: Request) -> Response:
        """The page at ``/ui/``. Who leaves out that slash is sent there: the page's addresses are relative."""
        path: str = request.scope.get("raw_path", b"").decode("latin-1").partition("?")[0]
        if path.endswith("/"):
            return _sent(request, self._index)
        return RedirectResponse("ui/", 307)

    async def asset(self, request: Request) -> Response:
        name = path_value(request, "name")
        found = self._assets.get(name)
        if found is None:
            raise NotFound(f"The page has no file {name[:100]}.")
        return _sent(request, found)


def _with_preloads(index: str, names: Iterable[str]) -> str:
    """The page, with its modules named: a browser fetches them all at once, and not one after the other."""
    classic = CLASSIC.findall(index)
    modules = sorted(name for name in names if name.endswith(".js") and name not in classic)
    links = "".join(f'<link rel="modulepreload" href="assets/{name}">\n' for name in modules)
    return index.replace("</head>", f"{links}</head>", 1)


def _asset(name: str, plain: bytes) -> Asset:
    ending = "." + name.rpartition(".")[2]
    tag = '"' + hashlib.blake2b(plain, digest_size=12).hexdigest() + '"'
    return Asset(plain, gzip.compress(plain, 9, mtime=0), TYPES.get(ending, "application/octet-stream"), tag)


def _sent(request: Request, asset: Asset) -> Response:
    headers = {**HEADERS, "etag": asset.tag, "vary": "accept-encoding, origin"}
    known = request.headers.get("if-none-match", "").split(",")
    if asset.tag in (each.strip().removeprefix("W/") for each in known):
        return Response(status_code=304, headers=headers)
    packs = "gzip" in request.headers.get("accept-encoding", "")
    if packs:
        headers["content-encoding"] = "gzip"
    return Response(asset.packed if packs else asset.plain, headers=headers, media_type=asset.type)
