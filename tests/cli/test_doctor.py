"""`palaver doctor`: it tells what is, and nothing that is private, whatever is planted where."""

from __future__ import annotations

import json
import platform
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from palaver import __version__
from palaver.engines.llama.hardware import Gpu
from palaver.engines.pocket import POCKET
from palaver.wiring.doctor import machine
from palaver.wiring.doctor.discretion import Discretion, place, secrets_of
from palaver.wiring.doctor.findings import Finding, note
from tests.cli.running import palaver, said, serving

SECRETS = {
    "PALAVER_API_KEY": "pal-env-4711-wolf",
    "TOGETHER_API_KEY": "tgp_v1_raven-2718",
    "HOUSE_API_KEY": "house-key-badger-31",
    "HF_TOKEN": "hf_otter0123456789",
    "DATABASE_PASSWORD": "lynx-in-the-database",
    "PROXY_URL": "http://somebody:marten-pw@proxy.example:3128",
    "LLAMA_SERVER_API_KEY": "llama-key-stoat",
}
PRIVATE = [
    "wolf",
    "raven",
    "badger",
    "otter",
    "lynx",
    "marten",
    "stoat",
    "heron",
    "osprey",
    "vixen",
    "ermine",
    "pangolin",
]


class Answers(BaseHTTPRequestHandler):
    """A model server that repeats the key it was sent, and lists two models to whoever has one."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        key = self.headers.get("Authorization", "")
        if self.path != "/v1/models":
            self._answer(404, {"error": {"message": f"nothing here for {key}"}})
        elif "badger" in key:
            models = [{"id": "a", "max_model_len": 4096}, {"id": "b", "max_model_len": 8192}]
            self._answer(200, {"object": "list", "data": models})
        else:
            self._answer(403, {"error": {"message": f"the key {key} osprey is not good"}})

    def do_POST(self) -> None:
        self._answer(404, {})

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server() -> Iterator[str]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/v1"
    running.shutdown()
    running.server_close()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def found(folder: Path, *options: str, **more: str) -> list[dict[str, str]]:
    done = palaver(folder, "doctor", "--json", *options, **more)
    assert "Traceback" not in done.stderr
    report = json.loads(done.stdout)
    findings: list[dict[str, str]] = report["findings"]
    assert report["broken"] == sum(each["word"] == "broken" for each in findings)
    assert done.returncode == (1 if report["broken"] else 0)
    return findings


def about(findings: list[dict[str, str]], what: str) -> list[tuple[str, str]]:
    return [(each["word"], each["text"]) for each in findings if each["what"] == what]


def test_where_nothing_is_wrong(tmp_path: Path) -> None:
    said(tmp_path, "ask", "Hello", "--model", "scripted")
    done = palaver(tmp_path, "doctor", "--port", str(free_port()))
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["ok", "palaver", "palaver"]
    assert __version__ in lines[0]
    assert platform.python_version() in lines[0]
    assert lines[-1].startswith("nothing is broken")
    for word in (
        "xllamacpp ",
        "core",
        "models may take",
        "compute on CPU",
        "its file is sound",
        "is free",
        "pocket.gguf",
    ):
        assert word in done.stdout
    assert not (tmp_path / "data/models.json").exists(), "it changes nothing"


def test_nothing_private_is_told(tmp_path: Path, server: str) -> None:
    home = tmp_path / "home/ada-ermine"
    data = home / "chats"
    home.mkdir(parents=True)
    config = home / "my.toml"
    config.write_text(
        f"""
        api_key = ["file-key-heron"]
        allowed_host = ["vixen.internal"]
        cors_origin = ["https://vixen.internal"]
        [upstream]
        house = "{server}"
        pangolin-free = "http://gpu.pangolin.corp:9/v1"
        closed = "{server}"
        [upstream_key]
        closed = "closed-key-osprey"
        """
    )
    private = {"HOME": str(home), "USER": "ada-ermine", "PALAVER_DATA_DIR": str(data), **SECRETS}
    plain = {name: value for name, value in private.items() if name != "PALAVER_API_KEY"}
    said(
        tmp_path, "ask", "The secret is a pangolin", "--model", "scripted", "--conversation", "vixen", **plain
    )
    for options in ((), ("--json",)):
        done = palaver(tmp_path, "doctor", "--config", str(config), *options, **private)
        told = done.stdout + done.stderr
        assert "Traceback" not in told
        for word in PRIVATE:
            if word == "pangolin":
                told = told.replace("pangolin-free", "")  # what the user calls it
            assert word not in told
        assert str(tmp_path / "home") not in told
        assert platform.node() not in told or len(platform.node()) < 3
        assert "~/chats/palaver.db" in told
        assert "2 models" in told
        assert "context 4,096 to 8,192 tokens" in told
        assert "api_key = set (1)" in told
        assert "PALAVER_API_KEY" in told
        assert "http://HOST:9/v1" in told
    findings = found(tmp_path, "--config", str(config), **private)
    house, pangolin, closed = about(findings, "upstream")
    assert house[0] == "ok"
    assert house[1].endswith("key set")
    assert pangolin[0] == "broken"
    assert closed[0] == "broken"
    assert "refuses to list its models (key set)" in closed[1]


def test_a_password_in_an_address(tmp_path: Path) -> None:
    done = palaver(tmp_path, "doctor", "--upstream", "house=http://ada:wolf-pw@den.badger.example/v1")
    assert done.returncode == 1
    assert "holds more than an address" in done.stdout
    for word in ("ada", "wolf", "badger"):
        assert word not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('port = "many"', "port: "),
        ('upstream_key = "wolf-key"', "upstream_key: "),
        ("prot = 7400", "no such setting"),
        ('api_key = ["wolf-key"\n', "cannot be read"),
        (
            'upstream = {house = "http://a:wolf-pw@x/v1"}\nupstream_key = {den = "wolf-key"}',
            "no upstream 'den'",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_told_and_the_rest_is_looked_at(
    tmp_path: Path, text: str, words: str
) -> None:
    config = tmp_path / "palaver.toml"
    config.write_text(text)
    findings = found(tmp_path, "--config", str(config))
    (wrong,) = (text for word, text in about(findings, "config") if word == "broken")
    assert words in wrong
    assert "wolf" not in json.dumps(findings)
    assert about(findings, "store")
    assert about(findings, "model")


def test_a_damaged_store(tmp_path: Path) -> None:
    said(tmp_path, "ask", "Hello", "--model", "scripted")
    store = tmp_path / "data/palaver.db"
    whole = store.read_bytes()
    store.write_bytes(whole[: 4096 * 2] + b"x" * 4096 * 3 + whole[4096 * 5 :])
    ((word, text),) = about(found(tmp_path), "store")
    assert word == "broken"
    assert "damaged" in text or "malformed" in text
    store.write_bytes(b"not a store at all" * 500)
    ((word, text),) = about(found(tmp_path), "store")
    assert word == "broken"


def test_no_store_is_no_fault(tmp_path: Path) -> None:
    ((word, text),) = about(found(tmp_path), "store")
    assert word == "note"
    assert "not there yet" in text
    assert not (tmp_path / "data").exists(), "it makes nothing"


def test_beside_a_running_palaver(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", "scripted") as (process, address):
        port = address.rpartition(":")[2]
        findings = found(tmp_path, "--port", port)
        assert about(findings, "owner") == [
            ("ok", f"a palaver owns the store and answers at {address} (process {process.pid})")
        ]
        assert about(findings, "port") == [("ok", f"{port} is palaver's, the owner of this store")]
        assert "palaver-local-" not in json.dumps(findings)


def test_a_port_that_another_has(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ((word, text),) = about(found(tmp_path, "--port", str(other.getsockname()[1])), "port")
    assert word == "note"
    assert "taken by another program" in text


def test_models_that_are_gone_or_too_large(tmp_path: Path) -> None:
    record = {
        "version": 1,
        "models": [
            {"name": "lost", "files": [{"path": str(tmp_path / "lost.gguf"), "size": 9, "sha256": "0"}]}
        ],
    }
    (tmp_path / "data").mkdir()
    (tmp_path / "data/models.json").write_text(json.dumps(record))
    broken = [text for word, text in about(found(tmp_path), "model") if word == "broken"]
    assert len(broken) == 1
    assert "lost cannot be used" in broken[0]
    large = {"name": "large", "files": [{"path": str(POCKET), "size": 9, "sha256": "0"}]}
    (tmp_path / "data/models.json").write_text(json.dumps({"version": 1, "models": [large]}))
    (finding,) = (each for each in found(tmp_path, "--memory", "10MB") if each["word"] == "broken")
    assert finding["text"].startswith("The model large cannot be used: it needs about")
    assert "Set `memory`" in finding["do"], "to add it again is of no use"
    ((word, text),) = about(found(tmp_path, "--model", str(tmp_path / "none.gguf")), "model")
    assert word == "broken"
    assert "does not exist" in text


def test_a_llama_server_that_is_not_there(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ((word, text),) = about(found(tmp_path, "--llama-server", url), "llama-server")
    assert word == "broken"
    assert url in text
    assert "cannot be reached" in text


@pytest.mark.parametrize(
    ("gpu", "build"),
    [
        (Gpu("NVIDIA", "NVIDIA H200", 150_000_000_000), "-DGGML_CUDA=ON"),
        (Gpu("AMD", "Radeon RX 7900"), "-DGGML_HIP=ON"),
        (Gpu("Intel", "graphics processor 0x56a0"), "-DGGML_VULKAN=ON"),
    ],
)
def test_a_graphics_processor_that_is_idle(gpu: Gpu, build: str) -> None:
    from palaver.config import Config  # noqa: PLC0415
    from palaver.engines.llama.hardware import Llama  # noqa: PLC0415

    computes = Llama(devices=["CPU (x)"])
    (_, idle) = machine._devices(Config(), computes, [gpu])
    assert idle.word == "note"
    assert "is idle" in idle.text
    assert build in idle.do
    assert "palaver serve --llama-server http://127.0.0.1:8080" in idle.do
    used = Config(llama_server="http://127.0.0.1:8080")
    assert [each.word for each in machine._devices(used, computes, [gpu])] == ["ok", "ok"]


DISCRETION = Discretion(
    secrets=["open-sesame", "open", "abc", ""],
    home="/people/ada",
    user="ada",
    hosts=["den.example", "den", "localhost"],
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/people/ada/chats and /people/adamant", "~/chats and /people/adamant"),
        ("/srv/ada/models, ada is a name", "/srv/USER/models, ada is a name"),
        ("key open-sesame, open too; abc stays", "key •••, ••• too; abc stays"),
        ("http://a:b@den.example:80/x?key=1#y", "http://HOST:80/x"),
        ("Den and dental and http://den:1", "HOST and dental and http://HOST:1"),
        ("sk-abcdefgh12345 and Bearer xyz", "••• and •••"),
        ("localhost", "localhost"),
    ],
)
def test_what_is_known_to_be_private_is_blotted_out(text: str, told: str) -> None:
    assert DISCRETION.text(text) == told
    assert DISCRETION.findings([note("x", text, text)]) == [Finding("note", "x", told, told)]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://api.together.xyz/v1", "https://api.together.xyz/v1"),
        ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434/v1"),
        ("http://localhost:1/", "http://localhost:1"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
        ("https://evil-together.xyz/v1", "https://HOST/v1"),
        ("http://10.1.2.3:8000/v1", "http://a machine of its network:8000/v1"),
        ("http://user:pw@gpu.corp:8000/v1?key=1", "http://HOST:8000/v1"),
        ("http://x:port", "an address that is none"),
    ],
)
def test_addresses_as_far_as_they_may_be_told(url: str, told: str) -> None:
    assert place(url) == told


def test_secrets_are_known_by_the_names_of_variables() -> None:
    environment = {"A_KEY": "one,two", "PATH": "/bin", "X": "redis://u:three@h/0", "MY_TOKEN": "four"}
    found = secrets_of(environment)
    assert {"one", "two", "three", "four"} <= set(found)
    assert "/bin" not in found
