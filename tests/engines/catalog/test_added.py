"""The record of added models: what is written is read again, by several at once, and damage is told."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from palaver.core.errors import ConfigError
from palaver.engines.catalog.added import AddedFile, AddedModel, AddedModels


def model(name: str, *paths: Path) -> AddedModel:
    return AddedModel(
        name=name,
        files=[AddedFile(str(path), 3, "ab" * 32) for path in paths or (Path("x.gguf"),)],
        source=f"hf:a/b:{name}.gguf",
        licence="mit",
        added_at=1.5,
    )


def test_what_is_added_is_there(tmp_path: Path) -> None:
    record = AddedModels(tmp_path / "new" / "folder")
    assert record.all() == []
    assert record.named("a") is None
    record.add(model("a"))
    record.add(model("b"))
    assert AddedModels(tmp_path / "new" / "folder").all() == [model("a"), model("b")]
    assert record.named("b") == model("b")
    record.add(model("a", Path("y.gguf")))
    assert [each.name for each in record.all()] == ["b", "a"], "the same name is the same model"
    record.remove("b")
    record.remove("never was")
    assert [each.name for each in record.all()] == ["a"]


def test_nothing_but_the_record_stays(tmp_path: Path) -> None:
    record = AddedModels(tmp_path)
    record.add(model("a"))
    assert {path.name for path in tmp_path.iterdir()} <= {"models.json", ".models.json.lock"}
    assert json.loads(record.path.read_text())["models"][0]["name"] == "a"


def test_files_that_have_gone(tmp_path: Path) -> None:
    there, gone = tmp_path / "there.gguf", tmp_path / "gone.gguf"
    there.touch()
    assert model("a", there).missing() == []
    assert model("a", there, gone).missing() == [gone]


def test_several_may_add_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: AddedModels(tmp_path).add(model(f"m{number}")), range(24)))
    assert {each.name for each in AddedModels(tmp_path).all()} == {f"m{number}" for number in range(24)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is damaged"),
        (b"{", "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b"[]", "is damaged"),
        (b'{"version": 1, "models": [{"name": "a", "files": []}]}', "is damaged"),
        (b'{"version": 1, "models": [{"name": 7, "files": []}]}', "is damaged"),
        (b'{"version": 2, "models": []}', "newer version"),
    ],
)
def test_a_record_that_cannot_be_read(tmp_path: Path, content: bytes, words: str) -> None:
    record = AddedModels(tmp_path)
    record.path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as raised:
        record.add(model("a"))
    assert str(record.path) in raised.value.message
    assert record.path.read_bytes() == content, "what cannot be read is not written over"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be written"):
        AddedModels(tmp_path).add(model("a"))


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigError, match="cannot be"):
        AddedModels(tmp_path / "data").add(model("a"))
