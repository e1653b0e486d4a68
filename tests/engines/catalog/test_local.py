"""Models that other programs have put on this machine, in folders laid out as those programs lay them out."""

import hashlib
import json
from pathlib import Path

import pytest

from palaver.engines.catalog.local import FoundFile, find_file, find_files
from palaver.engines.pocket import POCKET
from tests.engines.llama.gguf_file import gguf

CONTENT = POCKET.read_bytes()
DIGEST = hashlib.sha256(CONTENT).hexdigest()
COMMITS = ("a" * 40, "b" * 40)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where all four programs have models."""
    home = tmp_path_factory.mktemp("home")
    repo = home / ".cache/huggingface/hub/models--owner--some--repo"
    blob = repo / "blobs" / DIGEST
    _put(blob)
    for commit in COMMITS:
        snapshot = repo / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (snapshot / "m-Q4_K_M.gguf").symlink_to(f"../../blobs/{DIGEST}")
        (snapshot / "mmproj-m-F16.gguf").symlink_to(f"../../blobs/{DIGEST}")
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(COMMITS[0])
    _ollama(home / ".ollama/models")
    studio = home / ".lmstudio/models/maker/model-GGUF"
    gguf(_parent(studio / "big-00001-of-00002.gguf"), {"split.count": 2, "split.no": 0})
    gguf(studio / "big-00002-of-00002.gguf", {"split.count": 2, "split.no": 1})
    gguf(studio / "half-00001-of-00002.gguf", {"split.count": 2, "split.no": 0})
    _put(home / ".cache/llama.cpp/cut.gguf", CONTENT[:-1])
    (home / ".cache/llama.cpp/link.gguf").symlink_to(blob)
    (home / ".cache/llama.cpp/manifest=x.json").write_text("{}")
    return home


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _put(path: Path, content: bytes = CONTENT) -> None:
    _parent(path).write_bytes(content)


def _ollama(folder: Path) -> None:
    other = CONTENT + b"\0"
    digest = hashlib.sha256(other).hexdigest()
    _put(folder / "blobs" / f"sha256-{digest}", other)
    layers = [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "1" * 64, "size": 3},
        {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": len(other)},
    ]
    manifest = json.dumps({"schemaVersion": 2, "layers": layers}).encode()
    gone = json.dumps({"layers": [layers[1] | {"digest": "sha256:" + "2" * 64}]}).encode()
    evil = json.dumps({"layers": [layers[1] | {"digest": "sha256:../../../etc/passwd"}]}).encode()
    manifests = folder / "manifests"
    _put(manifests / "registry.ollama.ai/library/llama3.2/3b", manifest)
    _put(manifests / "registry.ollama.ai/library/gone/latest", gone)
    _put(manifests / "registry.ollama.ai/library/evil/latest", evil)
    _put(manifests / "registry.ollama.ai/library/broken/latest", b"{")
    _put(manifests / "registry.ollama.ai/library/cloud/latest", b'{"layers": []}')


def by_name(found: list[FoundFile]) -> dict[str, FoundFile]:
    assert len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


def test_what_is_found(home: Path) -> None:
    found = by_name(find_files({}, home))
    assert [(each.name, each.where, each.problem) for each in found.values()] == [
        ("hf:owner/some--repo:m-Q4_K_M.gguf", "hub", ""),
        ("gone:latest", "ollama", "does not exist."),
        ("llama3.2:3b", "ollama", ""),
        ("maker/model-GGUF/big-00001-of-00002.gguf", "lmstudio", ""),
        ("maker/model-GGUF/half-00001-of-00002.gguf", "lmstudio", "half-00002-of-00002.gguf does not exist."),
        (
            "cut",
            "llama.cpp",
            f"is truncated: it should have {len(CONTENT)} bytes and has {len(CONTENT) - 1}.",
        ),
    ]
    hub, ollama = found["hf:owner/some--repo:m-Q4_K_M.gguf"], found["llama3.2:3b"]
    assert (hub.size, hub.sha256) == (len(CONTENT), DIGEST)
    assert COMMITS[0] in str(hub.files[0]), "the commit that main is"
    assert ollama.sha256 == hashlib.sha256(CONTENT + b"\0").hexdigest()
    big = found["maker/model-GGUF/big-00001-of-00002.gguf"]
    assert [path.name for path in big.files] == ["big-00001-of-00002.gguf", "big-00002-of-00002.gguf"]
    assert big.size == sum(path.stat().st_size for path in big.files)
    assert big.sha256 == ""


def test_a_file_that_two_programs_have_is_one(home: Path) -> None:
    assert "link" not in by_name(find_files({}, home)), "it leads to the hub's cache"


def test_one_that_ollama_has_under_several_names_is_found_by_each(tmp_path: Path) -> None:
    _ollama(tmp_path)
    folder = tmp_path / "manifests/registry.ollama.ai/library/llama3.2"
    (folder / "latest").write_bytes((folder / "3b").read_bytes())
    environment = {"OLLAMA_MODELS": str(tmp_path)}
    (shown,) = (each for each in find_files(environment, tmp_path / "nobody") if not each.problem)
    assert (shown.name, shown.also) == ("llama3.2:3b", ("llama3.2:latest",))
    for name in ("llama3.2:3b", "llama3.2:latest"):
        found = find_file(name, environment, tmp_path / "nobody")
        assert found is not None
        assert (found.name, found.files) == (name, shown.files)
    assert find_file("llama3.2", environment, tmp_path / "nobody") is None


def test_the_variables_of_those_programs_count(home: Path, tmp_path: Path) -> None:
    _ollama(tmp_path / "o")
    _put(tmp_path / "l" / "mine.gguf")
    environment = {
        "OLLAMA_MODELS": str(tmp_path / "o"),
        "LLAMA_CACHE": str(tmp_path / "l"),
        "HF_HOME": str(tmp_path / "none"),
    }
    assert {each.name for each in find_files(environment, home) if each.where != "lmstudio"} == {
        "llama3.2:3b",
        "gone:latest",
        "mine",
    }


@pytest.mark.parametrize(
    "environment",
    [
        {"HF_HUB_CACHE": "{}/hub"},
        {"HUGGINGFACE_HUB_CACHE": "{}/hub"},
        {"HF_HOME": "{}"},
        {"XDG_CACHE_HOME": "{}/.."},
    ],
)
def test_where_the_hubs_cache_may_be(home: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    set_to = {name: value.format(home / ".cache/huggingface") for name, value in environment.items()}
    found = find_files(set_to, tmp_path)
    assert "hf:owner/some--repo:m-Q4_K_M.gguf" in by_name(found)


def test_where_there_is_nothing(tmp_path: Path) -> None:
    assert [each for each in find_files({}, tmp_path / "nobody") if each.where != "ollama"] == []
