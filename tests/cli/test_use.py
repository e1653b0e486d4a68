"""`palaver use`: the default in the configuration file, checked before it is written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from palaver.engines.pocket import POCKET
from tests.cli.running import palaver, said, serving
from tests.cli.test_models import here, model_file

WRITTEN = """\
# What the household uses.

port = 7401 # the old one is taken
model = "pocket" # for now

[alias]
small = "pocket"
"""


def file_of(folder: Path) -> Path:
    return folder / "palaver" / "palaver.toml"


def test_a_model_becomes_the_default_and_the_file_stays_as_it_is(tmp_path: Path) -> None:
    said(tmp_path, "models", "add", str(model_file(tmp_path)), "--name", "mine", **here(tmp_path))
    file_of(tmp_path).parent.mkdir()
    file_of(tmp_path).write_text(WRITTEN)
    file_of(tmp_path).chmod(0o600)
    told = said(tmp_path, "use", "mine", **here(tmp_path))
    assert told == f"{file_of(tmp_path)}: model = mine, which was pocket\n"
    assert file_of(tmp_path).read_text() == WRITTEN.replace('model = "pocket"', 'model = "mine"')
    assert file_of(tmp_path).stat().st_mode & 0o777 == 0o600
    listed = said(tmp_path, "models", **here(tmp_path))
    assert listed.startswith("*  mine")


@pytest.mark.parametrize("name", ["scripted", "pocket", "small"])
def test_other_models_that_may_be_the_default(tmp_path: Path, name: str) -> None:
    file_of(tmp_path).parent.mkdir()
    file_of(tmp_path).write_text('[alias]\nsmall = "pocket"\n')
    said(tmp_path, "use", name, **here(tmp_path))
    assert tomllib.loads(file_of(tmp_path).read_text()) == {"model": name, "alias": {"small": "pocket"}}


def test_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    chosen = tmp_path / "new" / "p.toml"
    palaver(tmp_path, "use", "scripted", "--config", str(chosen), **here(tmp_path))
    # One that is named must be there: it may be a typing error.
    assert not chosen.exists()
    said(tmp_path, "use", "scripted", **here(tmp_path))
    assert file_of(tmp_path).read_text() == 'model = "scripted"\n'


def test_the_file_that_is_named_is_the_one(tmp_path: Path) -> None:
    chosen = tmp_path / "p.toml"
    chosen.write_text("port = 7402\n")
    said(tmp_path, "use", "scripted", "--config", str(chosen), **here(tmp_path))
    assert chosen.read_text() == 'port = 7402\nmodel = "scripted"\n'
    assert not file_of(tmp_path).exists()


def test_a_path_is_written_whole(tmp_path: Path) -> None:
    said(tmp_path, "use", "palaver/engines/pocket/pocket.gguf", **here(tmp_path))
    assert tomllib.loads(file_of(tmp_path).read_text()) == {"model": str(POCKET)}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "there is no model 'nothing'"),
        ("qwen3:4b", "palaver models add qwen3:4b"),
        ("hf:a/b", "palaver models add hf:a/b"),
        ("missing.gguf", "does not exist"),
        ("house/llama", "there is no model 'house/llama'"),
        ("gone", "The file of gone is gone"),
    ],
)
def test_what_is_no_model_is_not_written(tmp_path: Path, name: str, words: str) -> None:
    file_of(tmp_path).parent.mkdir()
    file_of(tmp_path).write_text(WRITTEN)
    path = model_file(tmp_path)
    said(tmp_path, "models", "add", str(path), "--name", "gone", **here(tmp_path))
    path.unlink()
    done = palaver(tmp_path, "use", name, **here(tmp_path))
    assert done.returncode == 2
    assert words in done.stderr
    assert file_of(tmp_path).read_text() == WRITTEN


def test_an_upstream_is_asked_for_its_model(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with serving(tmp_path / "other", "--model", "scripted", **here(tmp_path)) as (_, address):
        upstream = {"PALAVER_UPSTREAM": f"house={address}"}
        told = said(tmp_path, "use", "house/scripted", **here(tmp_path, **upstream))
        assert "model = house/scripted" in told
        missing = palaver(tmp_path, "use", "house/nothing", **here(tmp_path, **upstream))
        assert missing.returncode == 2
        assert "Unable to access model house/nothing. There are: house/scripted" in missing.stderr
    gone = palaver(tmp_path, "use", "house/pocket", **here(tmp_path, **upstream))
    assert gone.returncode == 1
    assert "cannot be reached" in gone.stderr
    assert tomllib.loads(file_of(tmp_path).read_text()) == {"model": "house/scripted"}


def test_what_else_counts_is_told(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", "scripted", **here(tmp_path)) as (_, address):
        told = said(tmp_path, "use", "pocket", **here(tmp_path, PALAVER_MODEL="scripted"))
    assert "PALAVER_MODEL is set to scripted, and goes before the file." in told
    assert f"The palaver at {address} goes on with scripted until it is started anew." in told


def test_a_file_that_is_no_toml_is_left_alone(tmp_path: Path) -> None:
    broken = tmp_path / "p.toml"
    broken.write_text("model = \n")
    done = palaver(tmp_path, "use", "scripted", "--config", str(broken), **here(tmp_path))
    assert done.returncode == 2
    assert "p.toml" in done.stderr
    assert broken.read_text() == "model = \n"
