"""How windows are chosen by the settings: for all models, and for some."""

from pathlib import Path

import pytest

from palaver.config import Config, load
from palaver.core.errors import ConfigError
from palaver.core.window_settings import WindowSettings
from palaver.wiring import assembly
from palaver.wiring.models import catalog_of
from palaver.wiring.windows import window_of, windows_of


def test_what_holds_without_any_setting() -> None:
    assert window_of(Config()) == WindowSettings(
        mode="strict", truncation="auto", keep=0.5, context_length_exceeded_behavior="error", recall="tool"
    )
    assert windows_of(Config()) == {}


def test_every_setting_counts() -> None:
    config = Config(
        window="auto",
        truncation="disabled",
        window_size=4096,
        window_keep=0.25,
        window_reserve=64,
        summaries=True,
        recall="always",
        context_length_exceeded_behavior="truncate",
    )
    found = window_of(config)
    assert found == WindowSettings(
        mode="auto",
        truncation="disabled",
        size=4096,
        keep=0.25,
        reserve=64,
        summaries=True,
        recall="always",
        context_length_exceeded_behavior="truncate",
    )
    by_request_only = {"room"}
    assert None not in [
        getattr(found, name) for name in WindowSettings.__struct_fields__ if name not in by_request_only
    ]


async def test_the_server_goes_by_them(tmp_path: Path) -> None:
    config = load(
        {"data_dir": str(tmp_path), "model": "scripted", "window": "auto", "window_keep": "0.1"},
        environment={},
    )
    async with assembly.running(config, private=True) as running:
        assert running.chat.settings.window == window_of(config)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("mode:auto", WindowSettings(mode="auto")),
        ("mode:auto+keep:0.25", WindowSettings(mode="auto", keep=0.25)),
        (" size: 4096 + reserve : 64 ", WindowSettings(size=4096, reserve=64)),
        ("truncation:disabled", WindowSettings(truncation="disabled")),
        (
            "context_length_exceeded_behavior:truncate",
            WindowSettings(context_length_exceeded_behavior="truncate"),
        ),
    ],
)
def test_what_is_said_of_a_model(text: str, settings: WindowSettings) -> None:
    assert windows_of(Config(window_of={"pocket": text})) == {"pocket": settings}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("width:9", "'width'"),
        ("mode", "`mode`"),
        ("mode:wide", "'wide'"),
        ("mode:null", "`mode`"),
        ("mode:auto+mode:auto", "`mode`"),
        ("mode:auto+keep:2", "`keep`"),
        ("size:0", "`size`"),
        ("size:many", "'many'"),
        ("", "''"),
        ("mode:auto,keep:0.5", "'auto,keep:0.5'"),
    ],
)
def test_what_cannot_be_said_of_one(text: str, named: str) -> None:
    with pytest.raises(ConfigError) as refused:
        windows_of(Config(window_of={"pocket": text}))
    assert refused.value.setting == "window_of"
    assert named in refused.value.message
    assert "pocket" in refused.value.message


async def test_models_have_theirs_under_every_name(tmp_path: Path) -> None:
    config = Config(
        data_dir=str(tmp_path),
        alias={"small": "pocket", "big": "house/llama"},
        upstream={"house": "http://127.0.0.1:9"},
        fallback={"small": "big"},
        window_of={"small": "mode:auto+keep:0.25", "house/llama": "size:4096"},
    )
    catalog, _ = catalog_of(config)
    model = await catalog.find("pocket")
    assert model.window == (await catalog.find("small")).window == WindowSettings(mode="auto", keep=0.25)
    assert (await catalog.find("big")).window == WindowSettings(size=4096)
    assert [each.window for each in model.fallbacks] == [WindowSettings(size=4096)]
    await catalog.close()


@pytest.mark.parametrize("model", ["nothing", "elsewhere/llama", "*"])
def test_of_no_model(tmp_path: Path, model: str) -> None:
    with pytest.raises(ConfigError) as refused:
        catalog_of(Config(data_dir=str(tmp_path), window_of={model: "mode:auto"}))
    assert refused.value.setting == "window_of"
    assert repr(model) in refused.value.message
