"""Settings that have a form of their own: sizes, upstreams that need no address, fallbacks."""

from pathlib import Path
from typing import Any

import pytest

from palaver.config import WELL_KNOWN, Config, SettingError, load


def loaded(environment: dict[str, str] | None = None, **flags: Any) -> Config:
    return load(flags, environment=environment or {})


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_config_dir", lambda *_: str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1234", 1234),
        ("8GB", 8_000_000_000),
        ("8 gb", 8_000_000_000),
        ("8GiB", 8 * 2**30),
        ("1.5G", 1_500_000_000),
        ("512MiB", 512 * 2**20),
        ("64k", 64_000),
        ("1TB", 10**12),
    ],
)
def test_sizes_may_have_a_unit(text: str, size: int) -> None:
    assert loaded(memory=text).memory == size
    assert loaded({"PALAVER_MEMORY": text}).memory == size


@pytest.mark.parametrize("text", ["much", "-1", "8 apples", "GB", "1e9", "8GBB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(SettingError) as refused:
        loaded(memory=text)
    assert refused.value.setting == "memory"
    assert text in str(refused.value)


def test_sizes_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "palaver.toml"
    file.write_text("memory = 4000\nmax_attachment = '2MiB'\nmax_body = '1MB'\n")
    config = load({}, file=file, environment={})
    assert (config.memory, config.max_attachment, config.max_body) == (4000, 2 * 2**20, 1_000_000)


def test_defaults_that_others_go_by() -> None:
    config = loaded()
    assert (config.memory, config.max_attachment, config.media_host) == (0, 20 * 2**20, [])
    assert (config.upstream_timeout, config.upstream_retries) == (600.0, 2)
    assert (config.fallback, config.llama_server, config.context) == ({}, "", 0)
    assert (config.window, config.truncation, config.context_length_exceeded_behavior) == (
        "strict",
        "auto",
        "error",
    )
    assert (config.window_size, config.window_keep, config.window_reserve, config.window_of) == (
        0,
        0.5,
        0,
        {},
    )


@pytest.mark.parametrize("name", WELL_KNOWN)
def test_upstreams_that_need_no_address(name: str, tmp_path: Path) -> None:
    assert loaded(upstream=[name, "mine=http://h/v1"]).upstream == {
        name: WELL_KNOWN[name],
        "mine": "http://h/v1",
    }
    assert loaded({"PALAVER_UPSTREAM": f"{name},mine=http://h/v1"}).upstream[name] == WELL_KNOWN[name]
    file = tmp_path / "palaver.toml"
    file.write_text(f'upstream = ["{name}"]\n')
    assert load({}, file=file, environment={}).upstream == {name: WELL_KNOWN[name]}


def test_a_well_known_name_may_have_another_address() -> None:
    assert loaded(upstream=["ollama=http://box:11434"]).upstream == {"ollama": "http://box:11434"}


@pytest.mark.parametrize("given", ["mine", "mine=", "=http://h", "ollama="])
def test_upstreams_that_say_too_little(given: str) -> None:
    with pytest.raises(SettingError) as refused:
        loaded(upstream=[given])
    assert refused.value.setting == "upstream"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("upstream_timeout", "0"),
        ("upstream_timeout", "-1"),
        ("upstream_retries", "-1"),
        ("upstream_retries", "11"),
        ("max_attachment", "0"),
        ("context", "-1"),
        ("llama_server", "127.0.0.1:8080"),
        ("fallback", ["a"]),
        ("upstream_timeout", "inf"),
        ("max_wait", "inf"),
        ("grace", "nan"),
        ("window", "wide"),
        ("truncation", "none"),
        ("window_size", "-1"),
        ("window_keep", "0.04"),
        ("window_keep", "1"),
        ("window_keep", "nan"),
        ("window_reserve", "-1"),
        ("context_length_exceeded_behavior", "cut"),
        ("window_of", ["pocket"]),
    ],
)
def test_values_out_of_range(setting: str, value: Any) -> None:
    with pytest.raises(SettingError) as refused:
        loaded(**{setting: value})
    assert refused.value.setting == setting


def test_fallbacks_are_pairs() -> None:
    assert loaded(fallback=["a=b+c", "d=e"]).fallback == {"a": "b+c", "d": "e"}
    assert loaded({"PALAVER_FALLBACK": "a=b+c, d=e"}).fallback == {"a": "b+c", "d": "e"}
    assert loaded({"PALAVER_MEDIA_HOST": "a.example, b.example"}).media_host == ["a.example", "b.example"]


def test_windows_are_said_for_all_models_and_for_some(tmp_path: Path) -> None:
    config = loaded(window="auto", window_keep="0.25", window_of=["a=mode:strict+size:512", "b=keep:0.1"])
    assert (config.window, config.window_keep) == ("auto", 0.25)
    assert config.window_of == {"a": "mode:strict+size:512", "b": "keep:0.1"}
    of_environment = loaded({"PALAVER_WINDOW_SIZE": "4096", "PALAVER_WINDOW_OF": "a=keep:0.1, b=size:9"})
    assert (of_environment.window_size, of_environment.window_of) == (4096, {"a": "keep:0.1", "b": "size:9"})
    file = tmp_path / "palaver.toml"
    file.write_text(
        "truncation = 'disabled'\nwindow_reserve = 64\n[window_of]\n'house/llama' = 'mode:auto'\n"
    )
    of_file = load({}, file=file, environment={})
    assert (of_file.truncation, of_file.window_reserve) == ("disabled", 64)
    assert of_file.window_of == {"house/llama": "mode:auto"}


@pytest.mark.parametrize(
    "setting", ["alias", "fallback", "upstream", "upstream_key", "upstream_kind", "window_of"]
)
@pytest.mark.parametrize("value", ["[1, 2]", "[[]]", "{a = 1}", "7", "true"])
def test_tables_that_are_none(setting: str, value: str, tmp_path: Path) -> None:
    file = tmp_path / "palaver.toml"
    file.write_text(f"{setting} = {value}")
    with pytest.raises(SettingError) as refused:
        load({}, file=file, environment={})
    assert refused.value.setting == setting


@pytest.mark.parametrize("setting", ["upstream_key", "upstream_kind"])
def test_what_is_said_of_an_upstream_that_there_is_not(setting: str) -> None:
    with pytest.raises(SettingError) as refused:
        load({setting: {"nobody": "vllm"}}, environment={})
    assert refused.value.setting == setting
