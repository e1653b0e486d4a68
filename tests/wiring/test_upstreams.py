"""Keys of upstreams from the environment: found by name, and never sent to a host they are not for."""

import pytest

from palaver.config import Config
from palaver.core.errors import ConfigError
from palaver.wiring.upstreams import VENDORS, key_variable, upstream_key, upstreams_of


def key(name: str, url: str, environment: dict[str, str], **configured: str) -> str | None:
    return upstream_key(Config(upstream={name: url}, upstream_key=configured), name, environment)


def test_an_upstreams_own_variable_counts() -> None:
    assert key("my-vllm", "http://box:8000/v1", {"MY_VLLM_API_KEY": "k"}) == "k"
    assert key("my-vllm", "http://box:8000/v1", {"MY_VLLM_API_KEY": ""}) is None
    assert key("my-vllm", "http://box:8000/v1", {"VLLM_API_KEY": "k"}) is None
    assert key_variable("my-vllm") == "MY_VLLM_API_KEY"


def test_what_is_configured_goes_before_it() -> None:
    environment = {"TOGETHER_API_KEY": "env"}
    assert key("together", "https://api.together.xyz/v1", environment, together="configured") == "configured"
    assert key("together", "http://elsewhere/v1", environment, together="configured") == "configured"


@pytest.mark.parametrize(
    ("name", "url", "found"),
    [
        ("together", "https://api.together.xyz/v1", True),
        ("together", "https://api.together.ai/v1", True),
        ("together", "https://API.Together.XYZ./v1", True),
        ("together", "https://api.together.xyz:8443/v1", True),
        ("together", "http://api.together.xyz/v1", False),
        ("together", "https://together.xyz.evil.example/v1", False),
        ("together", "https://nottogether.xyz/v1", False),
        ("together", "https://evil.example/together.xyz", False),
        ("together", "https://together.xyz@evil.example/v1", False),
        ("together", "http://127.0.0.1:9999/v1", False),
        ("openai", "https://api.openai.com/v1", True),
        ("openai", "https://eu.api.openai.com/v1", True),
        ("openai", "http://localhost:8000/v1", False),
        ("groq", "https://api.groq.com/openai/v1", True),
        ("groq", "https://proxy.example/groq", False),
        ("openai", "https://[bad", False),
    ],
)
def test_a_vendors_key_is_for_that_vendor_only(name: str, url: str, found: bool) -> None:
    assert (key(name, url, {key_variable(name): "secret"}) == "secret") is found


@pytest.mark.parametrize("name", ["palaver", "Palaver", "palaver-upstream", "palaver_"])
def test_palavers_own_variables_are_no_keys_of_upstreams(name: str) -> None:
    assert key(name, "https://h/v1", {key_variable(name): "secret"}) is None


def test_every_vendors_variable_is_one_that_an_upstream_can_have() -> None:
    for variable, domains in VENDORS.items():
        name = variable.removesuffix("_API_KEY").lower()
        assert key_variable(name) == variable
        assert key(name, f"https://api.{domains[0]}/v1", {variable: "k"}) == "k"
        assert key(name, "https://other.example/v1", {variable: "k"}) is None


async def test_the_settings_may_say_what_an_upstream_is() -> None:
    config = Config(upstream={"a": "http://h/v1", "b": "http://h/v1"}, upstream_kind={"a": "vllm"})
    told, _ = engines = upstreams_of(config, {})
    assert await told.kind() == "vllm"  # and nobody was asked
    for engine in engines:
        await engine.close()
    with pytest.raises(ConfigError) as refused:
        upstreams_of(Config(upstream={"a": "http://h"}, upstream_kind={"a": "vlm"}), {})
    assert refused.value.setting == "upstream_kind"
    assert "vllm" in refused.value.message


async def test_each_upstream_gets_its_key() -> None:
    config = Config(
        upstream={"a": "http://h/v1", "openai": "http://h/v1"}, upstream_timeout=7.0, upstream_retries=0
    )
    engines = upstreams_of(config, {"A_API_KEY": "ka", "OPENAI_API_KEY": "ko"})
    assert [engine.name for engine in engines] == ["a", "openai"]
    assert [engine._api_key for engine in engines] == ["ka", None]
    for engine in engines:
        await engine.close()
