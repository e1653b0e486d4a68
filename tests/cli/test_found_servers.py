"""Model servers that run on this machine: `palaver models find` names them, and `palaver serve` offers them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.running import said, serving
from tests.cli.test_models import here

LIST = {
    "object": "list",
    "data": [{"id": "llama3.2:3b", "object": "model", "created": 1, "owned_by": "library"}],
}


class Ollama(BaseHTTPRequestHandler):
    """As much of Ollama as says what it is."""

    def do_GET(self) -> None:
        answers = {"/v1/models": LIST, "/api/version": {"version": "0.40.2"}}
        body = json.dumps(answers.get(self.path, {"error": "not found"})).encode()
        self.send_response(200 if self.path in answers else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def ollama() -> Iterator[str]:
    """Where Ollama runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ollama)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_is_found_with_what_to_add(tmp_path: Path, ollama: str) -> None:
    place = here(tmp_path, OLLAMA_HOST=ollama)
    line = f"Ollama runs at http://{ollama} with 1 model: add --upstream ollama=http://{ollama}/v1"
    assert line in said(tmp_path, "models", "find", **place).splitlines()
    found = json.loads(said(tmp_path, "models", "find", "--json", **place))["servers"]
    assert {"kind": "ollama", "url": f"http://{ollama}/v1", "models": 1, "upstream": None} in found
    known = said(tmp_path, "models", "find", "--upstream", f"mine=http://{ollama}", **place)
    assert f"Ollama runs at http://{ollama} with 1 model: it is the upstream mine" in known.splitlines()


def test_serve_offers_what_is_not_configured(tmp_path: Path, ollama: str) -> None:
    place = here(tmp_path, OLLAMA_HOST=ollama)
    with serving(tmp_path, "--model", "scripted", **place) as (process, _):
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("found    Ollama"):
                break
        assert line == f"found    Ollama at http://{ollama}: add --upstream ollama=http://{ollama}/v1\n"
    (tmp_path / "again").mkdir()
    with serving(
        tmp_path / "again", "--model", "scripted", "--upstream", f"o=http://{ollama}/v1", **place
    ) as (process, address):
        process.terminate()
        assert process.stdout is not None
        assert "Ollama" not in process.stdout.read()
        assert address


def test_this_palaver_is_not_offered(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", "scripted", **here(tmp_path)) as (_, address):
        place = here(tmp_path, OLLAMA_HOST=address.removeprefix("http://"))
        found = json.loads(said(tmp_path, "models", "find", "--json", **place))["servers"]
        assert not [each for each in found if address in each["url"]]
