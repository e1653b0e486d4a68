"""A stand-in for the hub, over real sockets: its API for a model's files, its redirects to where the bytes lie.

The bytes come from another host name, as the hub's do, so that a token that went along would be seen.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_the_token_of_the_tests"
INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/revision/(?P<revision>[^/]+))?")
RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


class Asked(NamedTuple):
    """A request that came: method, path, the start of its range or None, and whether a token was with it."""

    method: str
    path: str
    start: int | None
    has_token: bool


class HubServer:
    """`files` maps repositories to their files. What is in the other fields misbehaves."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.gated: set[str] = set()
        self.lies: dict[str, str] = {}
        """File name: the checksum that is said of it."""
        self.cut_after: list[int] = []
        """So many bytes are sent of the next bodies before the connection breaks, one entry for each."""
        self.knows_ranges = True
        self.status: int | None = None
        """What everything is answered with."""
        self.asked: list[Asked] = []
        self.url = ""
        self.port = 0

    @property
    def transfers(self) -> list[Asked]:
        """The requests for bytes."""
        return [each for each in self.asked if each.path.startswith("/bytes/") and each.method == "GET"]

    def sha256(self, repo: str, file: str) -> str:
        name = file.rpartition("/")[2]
        return self.lies.get(name) or hashlib.sha256(self.files[repo][file]).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        asked_range = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked_range[1]) if asked_range else None
        authorization = self.headers.get("Authorization")
        self.hub.asked.append(Asked(self.command, path, start, authorization is not None))
        if self.hub.status is not None:
            self._send(self.hub.status, b"out of order")
        elif path.startswith("/bytes/"):
            self._bytes(path.removeprefix("/bytes/"), start)
        elif found := INFO.fullmatch(path):
            if self._may_read(found["repo"], authorization):
                self._info(found["repo"], found["revision"])
        elif found := RESOLVE.fullmatch(path):
            if self._may_read(found["repo"], authorization):
                self._resolve(found["repo"], found["file"])
        else:
            self._send(404, b"nothing here")

    def _may_read(self, repo: str, authorization: str | None) -> bool:
        if authorization not in (None, f"Bearer {TOKEN}"):
            self._send(401, b"{}", {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif repo in self.hub.gated and authorization is None:
            self._send(401, b"{}", {"X-Error-Code": "GatedRepo"})
        elif repo not in self.hub.files or (repo in self.hub.private and authorization is None):
            # The hub tells nobody whether what he may not read is there.
            self._send(404 if authorization else 401, b"{}", {"X-Error-Code": "RepoNotFound"})
        else:
            return True
        return False

    def _info(self, repo: str, revision: str | None) -> None:
        if revision not in (None, "main", COMMIT):
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return
        siblings = [
            {
                "rfilename": name,
                "size": len(content),
                "blobId": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
                "lfs": {"sha256": self.hub.sha256(repo, name), "size": len(content), "pointerSize": 135},
            }
            for name, content in self.hub.files[repo].items()
        ]
        body = {
            "_id": "1",
            "id": repo,
            "modelId": repo,
            "sha": COMMIT,
            "private": repo in self.hub.private,
            "gated": "manual" if repo in self.hub.gated else False,
            "disabled": False,
            "tags": ["gguf", "license:apache-2.0"],
            "siblings": siblings,
        }
        self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _resolve(self, repo: str, file: str) -> None:
        content = self.hub.files[repo].get(file)
        if content is None:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            return
        said = self.hub.sha256(repo, file)
        headers = {
            "Location": f"http://localhost:{self.hub.port}/bytes/{repo}/{file}",
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{said}"',
            "X-Linked-Size": str(len(content)),
        }
        self._send(302, b"", headers)

    def _bytes(self, path: str, start: int | None) -> None:
        owner, name, file = path.split("/", 2)
        content = self.hub.files[f"{owner}/{name}"][file]
        part = content
        headers = {"ETag": '"of-the-bytes"', "Accept-Ranges": "bytes"}
        if start is not None and self.hub.knows_ranges:
            part = content[start:]
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = self.hub.cut_after.pop(0) if self.hub.cut_after and self.command == "GET" else None
        self.send_response(206 if "Content-Range" in headers else 200)
        for header, value in (headers | {"Content-Length": str(len(part))}).items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part if cut is None else part[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for header, value in ((headers or {}) | {"Content-Length": str(len(body))}).items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """The hub, until the end of the block."""
    hub = HubServer()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.port = server.server_address[1]
    hub.url = f"http://127.0.0.1:{hub.port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
