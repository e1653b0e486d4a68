"""`palaver models add` with the hub: what is fetched, gone on with, checked, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from palaver.engines.pocket import POCKET
from tests.cli.running import PATIENCE, PROGRAM, palaver, settings
from tests.engines.catalog.hub_server import COMMIT, TOKEN, HubServer, hub_server
from tests.engines.llama.gguf_file import F32, gguf, tensor
from tests.house.files import ROOT

REPO = "someone/small-GGUF"
CONTENT = POCKET.read_bytes()
CLOSED = "127.0.0.1:9"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with hub_server() as running:
        running.files[REPO] = {
            "README.md": b"# small",
            "small-Q4_K_M.gguf": CONTENT,
            "small-Q8_0.gguf": CONTENT + b"\0" * 1000,
            "mmproj-small-F16.gguf": CONTENT,
        }
        yield running


def place(folder: Path, hub: HubServer, **more: str) -> dict[str, str]:
    """The environment of a user whose home is `folder`."""
    return {
        "HOME": str(folder),
        "HF_HOME": str(folder / "hf"),
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": "",
        "HF_HUB_OFFLINE": "0",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OLLAMA_MODELS": str(folder / "ollama"),
        "OLLAMA_HOST": CLOSED,
    } | more


def add(folder: Path, hub: HubServer, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return palaver(folder, "models", "add", *arguments, **place(folder, hub, **more))


def record(folder: Path) -> list[dict[str, Any]]:
    file = folder / "data" / "models.json"
    models: list[dict[str, Any]] = json.loads(file.read_text())["models"] if file.exists() else []
    return models


def blobs(folder: Path) -> list[Path]:
    return sorted((folder / "hf" / "hub" / "models--someone--small-GGUF" / "blobs").glob("*"))


def test_a_model_of_the_hub_is_added_and_answers(tmp_path: Path, hub: HubServer) -> None:
    done = add(tmp_path, hub, f"hf:{REPO}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert f"hf:{REPO}:small-Q4_K_M.gguf" in done.stderr
    assert "4.3 MB" in done.stderr
    assert "apache-2.0" in done.stderr
    assert "fetching small-Q4_K_M: 100 %" in done.stderr
    (model,) = record(tmp_path)
    assert (model["name"], model["source"]) == ("small-Q4_K_M", f"hf:{REPO}:small-Q4_K_M.gguf")
    assert model["files"][0]["sha256"] == hub.sha256(REPO, "small-Q4_K_M.gguf")
    path = Path(model["files"][0]["path"])
    assert path.read_bytes() == CONTENT
    assert path.parts[-3:] == ("snapshots", COMMIT, "small-Q4_K_M.gguf"), (
        "where the hub's programs look for it"
    )
    (tmp_path / "elsewhere").mkdir()
    unadded = {"PALAVER_DATA_DIR": str(tmp_path / "elsewhere")}
    cached = palaver(
        tmp_path,
        "ask",
        "What is the capital of France?",
        "--model",
        f"hf:{REPO}",
        **place(tmp_path, hub),
        **unadded,
    )
    assert "Paris" in cached.stdout, "what is in the hub's cache is used, added or not"
    for name in ("small-Q4_K_M", f"hf:{REPO}", f"hf:{REPO}:q4_k_m"):
        answered = palaver(
            tmp_path, "ask", "What is the capital of France?", "--model", name, **place(tmp_path, hub)
        )
        assert "Paris" in answered.stdout, answered.stderr


@pytest.mark.parametrize(
    ("asked", "file"),
    [
        (f"hf:{REPO}:Q8_0", "small-Q8_0.gguf"),
        (f"hf:{REPO}:small-Q8_0.gguf", "small-Q8_0.gguf"),
        (f"https://huggingface.co/{REPO}", "small-Q4_K_M.gguf"),
        (f"https://huggingface.co/{REPO}/blob/main/small-Q8_0.gguf", "small-Q8_0.gguf"),
        (f"https://hf.co/{REPO}/resolve/{COMMIT}/small-Q8_0.gguf?download=true", "small-Q8_0.gguf"),
    ],
)
def test_what_a_model_of_the_hub_may_be_called(tmp_path: Path, hub: HubServer, asked: str, file: str) -> None:
    done = add(tmp_path, hub, asked, "--name", "mine", "--json")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    assert told["name"] == "mine"
    assert told["source"].endswith(f":{file}")
    assert [each["name"] for each in record(tmp_path)] == ["mine"]


def test_what_broke_off_is_gone_on_with(tmp_path: Path, hub: HubServer) -> None:
    hub.cut_after = [1_500_000, 1_000_000]
    done = add(tmp_path, hub, f"hf:{REPO}")
    assert done.returncode == 0, done.stderr
    assert [each.start for each in hub.transfers] == [None, 1_500_000, 2_500_000]
    assert Path(record(tmp_path)[0]["files"][0]["path"]).read_bytes() == CONTENT


def test_a_download_that_was_killed_is_gone_on_with_by_the_next(tmp_path: Path, hub: HubServer) -> None:
    process = subprocess.Popen(
        (*PROGRAM, "models", "add", f"hf:{REPO}"),
        env=settings(tmp_path, **place(tmp_path, hub)),
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    hub.cut_after = [2_000_000, *[0] * 100]  # then the server is silent about the rest
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and sum(path.stat().st_size for path in blobs(tmp_path)) < 2_000_000:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert record(tmp_path) == []
    hub.cut_after = []
    hub.asked.clear()
    done = add(tmp_path, hub, f"hf:{REPO}")
    assert done.returncode == 0, done.stderr
    assert [each.start for each in hub.transfers] == [2_000_000]
    assert "of which 2.3 MB are fetched" in done.stderr
    assert [path.name for path in blobs(tmp_path)] == [hub.sha256(REPO, "small-Q4_K_M.gguf")]


def interrupted(process: subprocess.Popen[str]) -> str:
    """What a program says that Ctrl-C ends. Python drops an interrupt that comes while an object is taken apart, so
    that whoever sees nothing happen presses it again."""
    until = time.monotonic() + PATIENCE
    while True:
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=3)[1]
        except subprocess.TimeoutExpired:
            assert time.monotonic() < until


def test_ctrl_c_keeps_what_has_come(tmp_path: Path, hub: HubServer) -> None:
    # A little comes each time, so that it never gives up by itself, however long the interrupt takes to come.
    hub.cut_after = [1_000_000, *[1_000] * 3_000]
    process = subprocess.Popen(
        (*PROGRAM, "models", "add", f"hf:{REPO}"),
        env=settings(tmp_path, **place(tmp_path, hub)),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and len(hub.transfers) < 2:
        time.sleep(0.02)
    said = interrupted(process)
    assert process.returncode == 130, said
    assert "What has come is kept" in said
    assert "Traceback" not in said
    (kept,) = blobs(tmp_path)
    assert 1_000_000 <= kept.stat().st_size < 4_000_000


def test_a_server_without_ranges_sends_all_anew(tmp_path: Path, hub: HubServer) -> None:
    hub.knows_ranges = False
    hub.cut_after = [1_500_000]
    done = add(tmp_path, hub, f"hf:{REPO}")
    assert done.returncode == 0, done.stderr
    assert [each.start for each in hub.transfers] == [None, 1_500_000]
    assert Path(record(tmp_path)[0]["files"][0]["path"]).read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused_and_the_file_removed(tmp_path: Path, hub: HubServer) -> None:
    hub.lies["small-Q4_K_M.gguf"] = "ab" * 32
    done = add(tmp_path, hub, f"hf:{REPO}")
    assert done.returncode == 1
    assert "checksum" in done.stderr
    assert "removed" in done.stderr
    assert "Traceback" not in done.stderr
    assert blobs(tmp_path) == []
    assert record(tmp_path) == []


def test_a_file_that_was_damaged_in_the_cache_is_fetched_anew(tmp_path: Path, hub: HubServer) -> None:
    add(tmp_path, hub, f"hf:{REPO}")
    (blob,) = blobs(tmp_path)
    blob.write_bytes(CONTENT[:-1] + b"x")
    hub.asked.clear()
    done = add(tmp_path, hub, f"hf:{REPO}")
    assert done.returncode == 0, done.stderr
    assert [each.start for each in hub.transfers] == [None]
    assert blob.read_bytes() == CONTENT


def test_what_the_cache_has_is_not_fetched_again(tmp_path: Path, hub: HubServer) -> None:
    add(tmp_path, hub, f"hf:{REPO}")
    (tmp_path / "data" / "models.json").unlink()
    hub.asked.clear()
    done = add(tmp_path, hub, f"hf:{REPO}")
    assert done.returncode == 0, done.stderr
    assert "already on this machine" in done.stderr
    assert hub.transfers == []
    assert [model["name"] for model in record(tmp_path)] == ["small-Q4_K_M"]


def part(folder: Path, number: int) -> bytes:
    values = {"split.count": 2, "split.no": number}
    weights = tensor(f"w{number}", (4096,), F32, 0)
    return gguf(folder / "part.gguf", values, tensors=(weights,), data=bytes(4096 * 4)).read_bytes()


def test_a_model_in_several_files_comes_whole(tmp_path: Path, hub: HubServer) -> None:
    parts = {f"q/big-Q4_K_M-0000{number + 1}-of-00002.gguf": part(tmp_path, number) for number in (0, 1)}
    hub.files[REPO] = parts
    hub.cut_after = [len(parts["q/big-Q4_K_M-00001-of-00002.gguf"]), 100]
    done = add(tmp_path, hub, f"hf:{REPO}")
    assert done.returncode == 0, done.stderr
    assert [each.start for each in hub.transfers] == [None, None, 100]
    (model,) = record(tmp_path)
    assert model["name"] == "big-Q4_K_M"
    assert [Path(file["path"]).read_bytes() for file in model["files"]] == list(parts.values())
    assert "fetching big-Q4_K_M: 100 %" in done.stderr


def test_a_model_with_a_part_missing_is_none(tmp_path: Path, hub: HubServer) -> None:
    hub.files[REPO] = {"big-Q4_K_M-00001-of-00002.gguf": CONTENT}
    done = add(tmp_path, hub, f"hf:{REPO}")
    assert done.returncode == 2
    assert "holds no GGUF model" in done.stderr


def test_a_choice_that_is_not_there_is_told_what_is(tmp_path: Path, hub: HubServer) -> None:
    done = add(tmp_path, hub, f"hf:{REPO}:Q2_K")
    assert done.returncode == 2
    assert "has no Q2_K; there are: Q4_K_M, Q8_0." in done.stderr


def test_private_and_gated_repositories_need_a_token(tmp_path: Path, hub: HubServer) -> None:
    hub.private.add(REPO)
    refused = add(tmp_path, hub, f"hf:{REPO}")
    assert refused.returncode == 1
    assert "private: set HF_TOKEN" in refused.stderr
    hub.gated.add(REPO)
    refused = add(tmp_path, hub, f"hf:{REPO}")
    assert (
        f"is gated: ask for access at {hub.url}/{REPO}, set HF_TOKEN to a token of your account, then"
        in refused.stderr
    )
    wrong = add(tmp_path, hub, f"hf:{REPO}", HF_TOKEN="hf_wrong")
    assert wrong.returncode == 1
    assert "does not accept the token" in wrong.stderr
    assert "hf_wrong" not in wrong.stderr
    done = add(tmp_path, hub, f"hf:{REPO}", HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stderr + (tmp_path / "data" / "models.json").read_text()
    assert not any(each.has_token for each in hub.transfers), (
        "a token is for the hub, not for where the bytes lie"
    )


def test_the_hubs_own_token_file_counts(tmp_path: Path, hub: HubServer) -> None:
    hub.private.add(REPO)
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(TOKEN + "\n")
    environment = place(tmp_path, hub)
    del environment["HF_TOKEN"]
    done = palaver(tmp_path, "models", "add", f"hf:{REPO}", **environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("hf:nobody/nothing", "is not on the hub"),
        (f"hf:{REPO}@no-such-revision", "has no such revision"),
        ("hf:nobody", "names no model on the hub"),
        (f"https://huggingface.co/{REPO}/wiki/x", "names no model on the hub"),
        ("no-such-model", "There is no model 'no-such-model' to add"),
        ("missing/file.gguf", "does not exist"),
    ],
)
def test_what_is_not_there(tmp_path: Path, hub: HubServer, asked: str, words: str) -> None:
    done = add(tmp_path, hub, asked)
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_hub_that_cannot_be_reached_or_is_none(tmp_path: Path, hub: HubServer) -> None:
    gone = add(tmp_path, hub, f"hf:{REPO}", HF_ENDPOINT="http://127.0.0.1:9")
    assert gone.returncode == 1
    assert "cannot be reached" in gone.stderr
    assert gone.stderr.endswith("look whether you are online.\n")
    offline = add(tmp_path, hub, f"hf:{REPO}", HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in offline.stderr
    hub.status = 503
    assert "status 503" in add(tmp_path, hub, f"hf:{REPO}").stderr
    hub.status = 200
    assert "is no hub" in add(tmp_path, hub, f"hf:{REPO}").stderr


def test_a_file_that_leads_out_of_its_repository_is_none(tmp_path: Path, hub: HubServer) -> None:
    hub.files[REPO] = {"../../../../../evil-Q4_K_M.gguf": CONTENT}
    done = add(tmp_path, hub, f"hf:{REPO}")
    assert "holds no GGUF model" in done.stderr
    assert not list(tmp_path.rglob("evil*"))


def test_without_the_package_it_says_which(tmp_path: Path, hub: HubServer) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "huggingface_hub.py").write_text("raise ImportError('not here')")
    done = add(
        tmp_path, hub, f"hf:{REPO}", PYTHONPATH=os.pathsep.join([str(tmp_path / "without"), str(ROOT)])
    )
    assert done.returncode == 1
    assert "pip install 'palaver[hub]'" in done.stderr


def test_what_was_fetched_is_removed_with_its_file(tmp_path: Path, hub: HubServer) -> None:
    add(tmp_path, hub, f"hf:{REPO}")
    environment = place(tmp_path, hub)
    asking = palaver(tmp_path, "models", "remove", "small-Q4_K_M", **environment)
    assert asking.returncode == 2
    assert "--yes" in asking.stderr
    assert len(blobs(tmp_path)) == len(record(tmp_path)) == 1
    done = palaver(tmp_path, "models", "remove", "small-Q4_K_M", "--keep-file", **environment)
    assert done.returncode == 0, done.stderr
    assert (len(blobs(tmp_path)), record(tmp_path)) == (1, [])
    add(tmp_path, hub, f"hf:{REPO}")
    done = palaver(tmp_path, "models", "remove", "small-Q4_K_M", "--yes", **environment)
    assert done.returncode == 0, done.stderr
    assert (blobs(tmp_path), record(tmp_path)) == ([], [])
    assert not list((tmp_path / "hf").rglob("*.gguf"))


def test_a_file_that_two_models_have_stays_until_the_last_is_removed(tmp_path: Path, hub: HubServer) -> None:
    environment = place(tmp_path, hub)
    for name in ("one", "two"):
        assert add(tmp_path, hub, f"hf:{REPO}", "--name", name).returncode == 0
    done = palaver(tmp_path, "models", "remove", "one", "--yes", **environment)
    assert done.returncode == 0, done.stderr
    assert "deleted" not in done.stderr
    assert [each["name"] for each in record(tmp_path)] == ["two"]
    assert Path(record(tmp_path)[0]["files"][0]["path"]).read_bytes() == CONTENT
    done = palaver(tmp_path, "models", "remove", "two", "--yes", **environment)
    assert "its file of 4.3 MB is deleted" in done.stderr
    assert (blobs(tmp_path), record(tmp_path)) == ([], [])
