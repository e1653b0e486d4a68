"""`palaver models`: what can be named, what is on this machine, and what becomes of a file that has gone."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from palaver.cli.models.list import rows
from palaver.engines.pocket import POCKET
from tests.cli.running import palaver, said, serving

CONTENT = POCKET.read_bytes()
DIGEST = hashlib.sha256(CONTENT).hexdigest()
EMPTY = {"OLLAMA_HOST": "127.0.0.1:9"}


def here(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a user whose home is `folder`, without anybody else's models."""
    return {
        "HOME": str(folder),
        "HF_HOME": str(folder / "hf"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OLLAMA_MODELS": str(folder / "ollama"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
    } | (EMPTY | more)


def names(folder: Path) -> list[str]:
    return [model["id"] for model in json.loads(said(folder, "models", "--json", **here(folder)))]


def model_file(folder: Path, name: str = "my model.gguf") -> Path:
    path = folder / name
    path.write_bytes(CONTENT)
    return path


def ollama(folder: Path) -> None:
    blobs, manifests = folder / "ollama/blobs", folder / "ollama/manifests/registry.ollama.ai/library/tiny"
    blobs.mkdir(parents=True)
    manifests.mkdir(parents=True)
    (blobs / f"sha256-{DIGEST}").write_bytes(CONTENT)
    layer = {
        "mediaType": "application/vnd.ollama.image.model",
        "digest": f"sha256:{DIGEST}",
        "size": len(CONTENT),
    }
    (manifests / "1b").write_text(json.dumps({"layers": [layer]}))


def ask(address: str, model: str) -> tuple[int, dict[str, Any]]:
    """The status and the body of a chat completion."""
    body = json.dumps(
        {"model": model, "messages": [{"role": "user", "content": "What is the capital of France?"}]}
    )
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", body.encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_the_list_to_begin_with_asks_nobody(tmp_path: Path) -> None:
    shown = palaver(tmp_path, "models", "add", **here(tmp_path))
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert len(lines) == 12
    assert "qwen3:4b" in shown.stdout
    assert all("GB of memory" in line or "MB of memory" in line for line in lines)
    offers = json.loads(said(tmp_path, "models", "add", "--json", "--memory", "3GB", **here(tmp_path)))
    fits = {offer["name"]: offer["fit"] for offer in offers}
    assert (fits["llama3.2:1b"], fits["qwen3:14b"]) == ("fits", "too large")
    assert fits["qwen3:0.6b"] in ("fits", "tight")


def test_a_file_is_added_where_it_is(tmp_path: Path) -> None:
    path = model_file(tmp_path)
    done = palaver(tmp_path, "models", "add", str(path), **here(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "already on this machine" in done.stderr
    assert names(tmp_path) == ["my-model", "pocket"]
    reply = said(tmp_path, "ask", "What is the capital of France?", "--model", "my-model", **here(tmp_path))
    assert "Paris" in reply
    again = palaver(tmp_path, "models", "add", str(path), **here(tmp_path))
    assert again.returncode == 0, "the same once more changes nothing"
    assert names(tmp_path) == ["my-model", "pocket"]
    gone = palaver(tmp_path, "models", "remove", "my-model", **here(tmp_path))
    assert gone.returncode == 0, gone.stderr
    assert path.exists(), "it is not palaver's to delete"
    assert names(tmp_path) == ["pocket"]


def test_who_removes_the_default_is_told(tmp_path: Path) -> None:
    said(tmp_path, "models", "add", str(model_file(tmp_path)), **here(tmp_path))
    default = here(tmp_path) | {"PALAVER_MODEL": "my-model"}
    gone = palaver(tmp_path, "models", "remove", "my-model", **default)
    assert gone.returncode == 0
    assert "It was the default" in gone.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["FILE", "--name", "pocket"], "There is a model pocket already"),
        (["FILE", "--name", "a/b"], "is no name for a model"),
        (["FILE", "FILE", "--name", "x"], "--name goes with one model"),
        (["CUT"], "is truncated"),
        (["nothing"], "There is no model 'nothing' to add"),
        (["FILE", "--memory", "1MB"], "too large for this machine"),
    ],
)
def test_what_cannot_be_added(tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "cut.gguf").write_bytes(CONTENT[:-1])
    files = {"FILE": str(model_file(tmp_path)), "CUT": str(tmp_path / "cut.gguf")}
    done = palaver(
        tmp_path, "models", "add", *(files.get(each, each) for each in arguments), **here(tmp_path)
    )
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "models.json").exists()


def test_a_name_that_another_has(tmp_path: Path) -> None:
    said(tmp_path, "models", "add", str(model_file(tmp_path, "a.gguf")), **here(tmp_path))
    other = model_file(tmp_path, "b.gguf")
    done = palaver(tmp_path, "models", "add", str(other), "--name", "a", **here(tmp_path))
    assert done.returncode == 2
    assert "choose another name with --name" in done.stderr
    assert palaver(tmp_path, "models", "remove", "b", **here(tmp_path)).returncode == 2


def test_what_ollama_has_is_found_and_added_without_a_copy(tmp_path: Path) -> None:
    ollama(tmp_path)
    model_file(tmp_path / "ollama", "not-ollamas.gguf")
    (tmp_path / "cache/llama.cpp").mkdir(parents=True)
    (tmp_path / "cache/llama.cpp/cut.gguf").write_bytes(CONTENT[:1000])
    shown = said(tmp_path, "models", "find", **here(tmp_path))
    assert "tiny:1b" in shown
    assert "Ollama" in shown
    assert "cannot be used: is truncated" in shown
    found = json.loads(said(tmp_path, "models", "find", "--json", **here(tmp_path)))
    assert [(each["name"], each["where"], each["size"]) for each in found["files"]] == [
        ("tiny:1b", "ollama", len(CONTENT)),
        ("cut", "llama.cpp", 1000),
    ]
    (added,) = json.loads(said(tmp_path, "models", "add", "tiny:1b", "--json", **here(tmp_path)))
    assert added["path"] == str(tmp_path / "ollama/blobs" / f"sha256-{DIGEST}")
    assert added["sha256"] == [DIGEST]
    reply = said(tmp_path, "ask", "What is the capital of France?", "--model", "tiny:1b", **here(tmp_path))
    assert "Paris" in reply
    broken = palaver(tmp_path, "models", "add", "cut", **here(tmp_path))
    assert broken.returncode == 2
    assert "cut cannot be used: is truncated" in broken.stderr


def test_what_lm_studio_has_is_added_by_the_name_that_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / ".lmstudio/models/maker/repo"
    folder.mkdir(parents=True)
    path = model_file(folder, "small-Q4_K_M.gguf")
    (found,) = json.loads(said(tmp_path, "models", "find", "--json", **here(tmp_path)))["files"]
    assert found["name"] == "maker/repo/small-Q4_K_M.gguf"
    (added,) = json.loads(said(tmp_path, "models", "add", found["name"], "--json", **here(tmp_path)))
    assert (added["name"], added["path"]) == ("small-Q4_K_M", str(path))


def test_all_added_models_can_be_named_at_once_and_no_path_can(tmp_path: Path) -> None:
    path = model_file(tmp_path)
    said(tmp_path, "models", "add", str(path), "--name", "one", **here(tmp_path))
    said(tmp_path, "models", "add", str(path), "--name", "two", **here(tmp_path))
    with serving(tmp_path, "--alias", "other=two", **here(tmp_path)) as (_, address):
        for name in ("one", "two", "other", "pocket"):
            status, body = ask(address, name)
            assert (status, "Paris" in body["choices"][0]["message"]["content"]) == (200, True)
        for name in (str(path), "hf:someone/small-GGUF", "https://huggingface.co/a/b", "qwen3:4b"):
            status, body = ask(address, name)
            assert status == 404
            assert body["error"]["param"] == "model"
            assert body["error"]["code"] == "model_not_available"
            assert body["error"]["message"].startswith(f"Unable to access model {name}.")
            assert "one, two, other, pocket" in body["error"]["message"]


def test_a_file_that_has_gone_is_told_at_the_start_and_at_use(tmp_path: Path) -> None:
    path = model_file(tmp_path)
    said(tmp_path, "models", "add", str(path), "--name", "one", **here(tmp_path))
    path.unlink()
    with serving(tmp_path, "--model", "scripted", **here(tmp_path)) as (_, address):
        status, body = ask(address, "one")
        assert status == 503
        assert body["error"]["message"] == "The model one cannot be used: its file is not there any more."
        assert ask(address, "scripted")[0] == 200, "nothing else is affected"
        log = (tmp_path / "serve.log").read_text()
        assert "an added model cannot be used" in log
        assert str(path) in log
    default = palaver(tmp_path, "ask", "hi", "--model", "one", **here(tmp_path))
    assert default.returncode == 1
    assert "its file is not there any more" in default.stderr
    removed = palaver(tmp_path, "models", "remove", "one", **here(tmp_path))
    assert removed.returncode == 0, removed.stderr


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/models.json").write_text("{")
    done = palaver(tmp_path, "models", **here(tmp_path))
    assert done.returncode == 2
    assert "models.json is damaged" in done.stderr


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("hf:someone/small-GGUF", "`palaver models add hf:someone/small-GGUF` fetches it"),
        ("qwen3:4b", "`palaver models add qwen3:4b` fetches it"),
        ("hf:nonsense", "names no model on the hub"),
    ],
)
def test_a_model_that_is_not_here_yet(tmp_path: Path, model: str, words: str) -> None:
    done = palaver(tmp_path, "ask", "hi", "--model", model, **here(tmp_path))
    assert done.returncode == 2
    assert words in done.stderr


def test_fallbacks_are_checked_at_the_start(tmp_path: Path) -> None:
    done = palaver(
        tmp_path, "serve", "--model", "scripted", "--fallback", "scripted=nothing", **here(tmp_path)
    )
    assert done.returncode == 2
    assert "fallbacks of scripted" in done.stderr
    done = palaver(tmp_path, "serve", "--fallback", "pocket=pocket", **here(tmp_path))
    assert "falls back on itself" in done.stderr


def test_the_row_of_a_model_whose_kv_cache_is_not_kept() -> None:
    model = {"id": "m", "type": "chat", "description": "GGUF file m.gguf", "aliases": ["a", "b"]}
    unkept = {"kv_cache": {"kept": False, "reason": "it has recurrent layers"}}
    told = [
        rows([each], "m")[0][-1]
        for each in (model, model | {"kv_cache": {"kept": True}}, model | unkept, {"id": "m"} | unkept)
    ]
    assert told == [
        "GGUF file m.gguf (also a, b)",
        "GGUF file m.gguf (also a, b)",
        "GGUF file m.gguf (also a, b)  KV cache not kept: it has recurrent layers",
        "KV cache not kept: it has recurrent layers",
    ]
