"""The upstream engine against a real server over a real socket."""

import asyncio
import contextlib

import msgspec
import pytest

from palaver.core.errors import (
    ConfigError,
)
from palaver.core.message import Message
from palaver.core.parameters import Parameters
from palaver.core.turn import Accepted, ContentDelta, Usage
from palaver.core.window import Window
from palaver.engines.base import Engine, Options
from palaver.engines.upstream.address import addresses
from palaver.engines.upstream.engine import UpstreamEngine
from palaver.engines.upstream.kinds import Kind
from tests.engines.contract import EngineContract, collect, finish_of, replies_of, text_of, window
from tests.engines.fake_upstream import AS_VLLM, CONTEXT, KEY, FakeUpstream

OPTIONS = Options(model="wordy")
HELLO = window("Hello there, how are you?")


class TestContract(EngineContract):
    """Against a server that says it is vLLM, the kind that does the most."""

    @pytest.fixture
    def engine(self, server: FakeUpstream, upstream: UpstreamEngine) -> Engine:
        server.models = AS_VLLM
        return upstream

    @pytest.fixture
    def options(self) -> Options:
        return OPTIONS


# What is sent


async def test_the_request(server: FakeUpstream, upstream: UpstreamEngine) -> None:
    options = Options(
        model="wordy",
        parameters=Parameters(max_tokens=5, temperature=0.0, stop=["\n"], seed=7),
        extra={"top_a": 0.5, "model": "other", "stream": False, "messages": [], "temperature": 2},
    )
    prompt = Window(
        owner="local",
        conversation="conv_1",
        turn="turn-1",
        messages=(Message("developer", "Be brief."), Message("user", "Hi", name="Ada")),
    )
    await collect(upstream, prompt, options)
    assert server.requests == [
        {
            "model": "wordy",
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": "Hi", "name": "Ada"},
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": 5,
            "temperature": 0.0,
            "stop": ["\n"],
            "seed": 7,
            "top_a": 0.5,
        }
    ]
    assert server.headers["Authorization"] == f"Bearer {KEY}"
    assert server.headers["Content-Type"] == "application/json"


async def test_a_conversation_is_named_to_a_server_that_keeps_prompts(
    server: FakeUpstream, upstream: UpstreamEngine
) -> None:
    server.models = AS_VLLM
    names = []
    for conversation in ("conv_1", "conv_1", "conv_2", None):
        prompt = msgspec.structs.replace(HELLO, conversation=conversation)
        await collect(upstream, prompt, OPTIONS)
        names.append(server.headers.get("X-Session-ID"))
    assert names[0] == names[1] != names[2]
    assert names[3] is None


@pytest.mark.parametrize("kind", ["ollama", "llama-server"])
async def test_several_replies_of_a_server_that_gives_one_at_a_time(server: FakeUpstream, kind: Kind) -> None:
    engine = UpstreamEngine("house", server.url, kind=kind)
    events = await collect(engine, HELLO, Options(model="wordy", parameters=Parameters(n=3)))
    assert len(replies_of(events)) == len(server.requests) == 3
    assert all("n" not in request for request in server.requests)
    usage = finish_of(events).usage
    assert usage is not None
    assert usage.prompt_tokens == 5, "counted once"
    await engine.close()


async def test_without_a_key_none_is_sent(server: FakeUpstream) -> None:
    engine = UpstreamEngine("house", server.url)
    await collect(engine, HELLO, OPTIONS)
    await engine.close()
    assert "Authorization" not in server.headers


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_base_urls(server: FakeUpstream, suffix: str) -> None:
    engine = UpstreamEngine("house", server.url + suffix, kind="vllm")
    assert text_of(await collect(engine, HELLO, OPTIONS))
    assert await engine.context_size("wordy") == CONTEXT
    await engine.close()
    assert server.asked == ["POST /v1/chat/completions", "GET /v1/models"]


@pytest.mark.parametrize(
    ("base_url", "root", "api"),
    [
        ("https://api.together.xyz/v1", "https://api.together.xyz", "https://api.together.xyz/v1"),
        ("http://h:8000", "http://h:8000", "http://h:8000/v1"),
        ("http://h/openai/v1/", "http://h/openai", "http://h/openai/v1"),
        ("http://h/v1beta/openai/", "http://h/v1beta/openai", "http://h/v1beta/openai"),
        ("http://h/api/paas/v4", "http://h/api/paas", "http://h/api/paas/v4"),
    ],
)
def test_addresses(base_url: str, root: str, api: str) -> None:
    assert addresses(base_url) == (root, api)


@pytest.mark.parametrize(
    ("base_url", "may_fetch"),
    [
        ("https://api.together.xyz/v1", True),
        ("http://8.8.8.8:8000", True),
        ("http://[2606:4700::1111]", True),
        ("http://localhost:11434", False),
        ("http://127.0.0.1:11434", False),
        ("http://[::1]:11434", False),
        ("http://192.168.1.7:8000", False),
        ("http://10.0.0.1", False),
        ("http://169.254.169.254", False),
        ("http://ollama:11434", False),
        ("http://gpu.lan:8000", False),
        ("http://gpu.local.:8000", False),
    ],
)
def test_only_a_public_server_may_fetch_remote_addresses(base_url: str, may_fetch: bool) -> None:
    assert ("remote_media" in UpstreamEngine("house", base_url).capabilities) is may_fetch


@pytest.mark.parametrize(
    ("base_url", "costs"),
    [
        ("http://localhost:11434", False),
        ("http://127.0.0.1:8000/v1", False),
        ("http://127.9.9.9", False),
        ("http://[::1]:11434", False),
        ("http://ollama.localhost", False),
        ("https://api.openai.com/v1", True),
        ("http://192.168.1.7:8000", True),
        ("http://gpu.lan:8000", True),
        ("http://localhost.example.com", True),
    ],
)
def test_what_is_not_on_this_machine_may_cost_something(base_url: str, costs: bool) -> None:
    assert ("paid" in UpstreamEngine("house", base_url).capabilities) is costs


def test_a_kind_that_is_none() -> None:
    with pytest.raises(ConfigError, match="there are: together, openai, vllm"):
        UpstreamEngine("house", "http://h", kind="vllama")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "localhost:8000",
        "ftp://h/",
        "file:///v1",
        "http://",
        "http://h:99999",
        "http://u:geheim@h",
        "http://h?key=geheim",
    ],
)
def test_base_urls_that_are_none(base_url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        UpstreamEngine("house", base_url)
    assert refused.value.setting == "upstream"
    assert "geheim" not in refused.value.message


@pytest.mark.parametrize(
    ("name", "key"), [("", None), ("a/b", None), ("a\n", None), ("a", "k\r\nX: y"), ("a", "ключ")]
)
def test_names_and_keys_that_are_none(name: str, key: str | None) -> None:
    with pytest.raises(ConfigError):
        UpstreamEngine(name, "http://h", key)


# What comes back


async def test_the_reply(upstream: UpstreamEngine) -> None:
    events = await collect(upstream, window("one two"), OPTIONS)
    assert text_of(events).startswith("Message 1 of ")
    assert text_of(events).endswith(" was: one two")
    assert finish_of(events).usage == Usage(prompt_tokens=2, completion_tokens=7)
    assert finish_of(events).model == "wordy"


async def test_a_server_that_tells_no_usage(server: FakeUpstream, upstream: UpstreamEngine) -> None:
    server.behaviour = "no usage"
    events = await collect(upstream, HELLO, OPTIONS)
    assert text_of(events)
    assert finish_of(events).usage is None


async def test_one_connection_serves_turn_after_turn(server: FakeUpstream, upstream: UpstreamEngine) -> None:
    for _ in range(5):
        await collect(upstream, HELLO, OPTIONS)
        await asyncio.gather(*upstream._server._resting)  # until the last bytes of the body are read
    assert len(server.connections) == 1


async def test_many_replies_run_at_once(server: FakeUpstream, upstream: UpstreamEngine) -> None:
    server.behaviour = "stall"
    replies = [upstream.generate(HELLO, OPTIONS) for _ in range(150)]
    assert await asyncio.gather(*(anext(reply) for reply in replies)) == [Accepted()] * 150
    await server.runs(150)
    await asyncio.gather(*(reply.aclose() for reply in replies))
    await server.runs(0)


async def test_closing_a_reply_stops_the_server(
    server: FakeUpstream, upstream: UpstreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palaver.engines.upstream.http.REST_SECONDS", 3600)  # at once, not in a while
    server.behaviour = "stall"
    async with contextlib.aclosing(upstream.generate(HELLO, OPTIONS)) as events:
        async for event in events:
            if isinstance(event, ContentDelta):
                break
        assert server.running == 1
    await server.runs(0)


@pytest.mark.parametrize(
    ("behaviour", "left_out"),
    [("no stream_options", "stream_options"), ("no max_tokens", "max_tokens")],
)
async def test_what_a_server_does_not_take_is_left_out_from_then_on(
    server: FakeUpstream, upstream: UpstreamEngine, behaviour: str, left_out: str
) -> None:
    server.behaviour = behaviour
    options = Options(model="wordy", parameters=Parameters(max_tokens=3))
    for _ in range(2):
        assert finish_of(await collect(upstream, HELLO, options)).reason == "length"
    assert [left_out in request for request in server.requests] == [True, False, False]
