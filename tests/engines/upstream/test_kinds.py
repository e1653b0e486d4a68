"""Which kind of server is at an address, by its own answers over a socket."""

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.errors import EngineError
from palaver.engines.base import Options
from palaver.engines.upstream import kinds
from palaver.engines.upstream.asking import Answer
from palaver.engines.upstream.engine import UpstreamEngine
from palaver.engines.upstream.http import UpstreamServer
from palaver.engines.upstream.kinds import (
    QUESTIONS,
    Detected,
    Kind,
    KindFinder,
    kind_of_answer,
    kind_of_host,
    kind_of_list,
    version_of,
)
from tests.engines.contract import collect, window
from tests.engines.fake_upstream import AS_VLLM, FakeUpstream
from tests.engines.upstream.recorded import (
    LLAMA_ROUTER,
    LM_STUDIO,
    OLD_LM_STUDIO,
    OLLAMA,
    OPENAI,
    RECORDED,
    SGLANG,
    VLLM,
    Playing,
    Recorded,
    playing,
)


async def found_at(player: Playing) -> Detected:
    server = UpstreamServer("house", player.url, None, 1.0)
    found = await KindFinder(server, None).find()
    await server.close()
    return found


def changed(recorded: Recorded, **answers: tuple[int, object]) -> Recorded:
    return msgspec.structs.replace(recorded, answers=recorded.answers | answers)


def without(recorded: Recorded, *paths: str) -> Recorded:
    left = {asked: answer for asked, answer in recorded.answers.items() if asked not in paths}
    return msgspec.structs.replace(recorded, answers=left)


@pytest.mark.parametrize("kind", RECORDED)
async def test_each_kind_is_recognised(kind: Kind) -> None:
    async with playing(RECORDED[kind]) as player:
        assert (await found_at(player)).kind == kind
        assert len(player.asked) <= 2, "the list of models tells it"


UNAUTHORIZED = (401, {"error": "Unauthorized"})


@pytest.mark.parametrize(
    ("recorded", "kind"),
    [
        (changed(VLLM, **{"GET /v1/models": UNAUTHORIZED}), "vllm"),
        (changed(SGLANG, **{"GET /v1/models": UNAUTHORIZED}), "sglang"),
        (LLAMA_ROUTER, "llama-server"),
        (
            changed(LLAMA_ROUTER, **{"GET /v1/models": (503, {"error": {"message": "Loading model"}})}),
            "llama-server",
        ),
        (
            msgspec.structs.replace(
                changed(RECORDED["llama-server"], **{"GET /v1/models": (200, {"data": []})}), server=""
            ),
            "llama-server",
        ),
        (changed(OLLAMA, **{"GET /v1/models": (200, {"object": "list", "data": None})}), "ollama"),
        (
            changed(
                OLLAMA, **{"GET /v1/models": (200, {"data": [{"id": "mine:latest", "owned_by": "ada"}]})}
            ),
            "ollama",
        ),
        (changed(LM_STUDIO, **{"GET /v1/models": (200, {"data": []})}), "lmstudio"),
        (changed(OLD_LM_STUDIO, **{"GET /v1/models": (200, {"data": []})}), "lmstudio"),
        (OPENAI, "other"),
        (Recorded({}, unknown=(404, "404 page not found")), "other"),
        (Recorded({}, unknown=(200, "<html>Welcome</html>")), "other"),
        (Recorded({}, unknown=(200, {"error": "Unexpected endpoint or method. (GET /x)"})), "other"),
        (Recorded({}, unknown=(500, b"\xff\xfe")), "other"),
        (
            Recorded(
                {
                    "GET /v1/models": (200, {"data": [{"id": "koboldcpp/m", "owned_by": "koboldcpp"}]}),
                    "GET /api/version": (200, {"version": "0.7.0"}),
                    "GET /version": (200, {"version": "1"}),
                },
                unknown=(404, ""),
            ),
            "other",
        ),
    ],
    ids=[
        "vLLM without its key",
        "SGLang without its key",
        "a router of llama-servers",
        "llama-server that loads",
        "llama-server behind a proxy",
        "Ollama without models",
        "Ollama with one's own models",
        "LM Studio without models",
        "LM Studio before 0.4",
        "gateways",
        "nothing",
        "web pages",
        "errors with 200",
        "junk",
        "one that has Ollama's routes",
    ],
)
async def test_servers_that_say_less(recorded: Recorded, kind: Kind) -> None:
    async with playing(recorded) as player:
        assert (await found_at(player)).kind == kind


@pytest.mark.parametrize(
    ("kind", "version"), [("vllm", (0, 33, 0)), ("ollama", (0, 40, 2)), ("sglang", None)]
)
async def test_the_version_where_it_matters(kind: Kind, version: tuple[int, ...] | None) -> None:
    async with playing(RECORDED[kind]) as player:
        assert (await found_at(player)).version == version


@pytest.mark.parametrize("text", ["", "unknown", "v", "9" * 50])
def test_versions_that_are_none(text: str) -> None:
    assert version_of(Answer(200, msgspec.json.encode({"version": text}))) is None


@given(st.binary(max_size=60), st.sampled_from(QUESTIONS), st.sampled_from([200, 401, 404]))
def test_no_answer_is_too_strange(body: bytes, path: str, status: int) -> None:
    answer = Answer(status, body)
    assert kind_of_list(answer) in (None, "together")
    assert kind_of_answer(path, answer, answer) is None


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=8),
        lambda each: (
            st.lists(each, max_size=3)
            | st.dictionaries(
                st.sampled_from(["data", "models", "id", "owned_by", "version"]), each, max_size=3
            )
        ),
        max_leaves=8,
    ),
    st.sampled_from(QUESTIONS),
)
def test_no_json_is_too_strange(value: object, path: str) -> None:
    answer = Answer(200, msgspec.json.encode(value))
    kind_of_list(answer)
    kind_of_answer(path, answer, answer)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://api.together.xyz/v1", "together"),
        ("https://api.together.ai/v1", "together"),
        ("https://api.openai.com/v1", "openai"),
        ("https://api.openai.com.evil.example/v1", None),
        ("http://127.0.0.1:8000", None),
    ],
)
async def test_hosts_that_are_known(url: str, kind: Kind | None) -> None:
    assert kind_of_host(url) == kind
    if kind is not None:
        engine = UpstreamEngine("house", url)
        assert await engine.kind() == kind, "nobody is asked"
        await engine.close()


async def test_a_kind_that_was_set_is_not_asked_for() -> None:
    async with playing(VLLM) as player:
        engine = UpstreamEngine("house", player.url, kind="sglang")
        assert await engine.kind() == "sglang"
        assert player.asked == []
        await engine.close()


async def test_it_is_asked_for_once(server: FakeUpstream, upstream: UpstreamEngine) -> None:
    server.models = AS_VLLM
    assert await asyncio.gather(*(upstream.kind() for _ in range(5))) == ["vllm"] * 5
    assert server.asked == ["GET /v1/models"]


async def test_a_server_that_comes_back_as_another(
    server: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = UpstreamEngine("house", server.url, retries=0)
    server.models = AS_VLLM
    assert await engine.kind() == "vllm"
    server.models = {"data": [{"id": "m", "owned_by": "sglang"}]}
    assert await engine.kind() == "vllm", "it is kept"
    server.behaviour = "503"
    with pytest.raises(EngineError):
        await collect(engine, window("Hi"), Options(model="wordy"))
    assert await engine.kind() == "sglang"
    server.models = AS_VLLM
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 1e9)
    assert await engine.kind() == "vllm", "it is asked again after a while"
    await engine.close()


async def test_a_server_that_does_not_say_in_time(
    server: FakeUpstream, upstream: UpstreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "DETECT_SECONDS", 0.05)
    server.behaviour = "slow"
    assert await asyncio.gather(*(upstream.kind() for _ in range(3))) == ["other"] * 3
    server.behaviour, server.models = "normal", AS_VLLM
    assert await upstream.kind() == "other"
    assert len(server.asked) <= 3, "not asked again so soon"


async def test_a_server_that_cannot_be_reached_stays_what_it_was() -> None:
    async with playing(SGLANG) as player:
        engine = UpstreamEngine("house", player.url, retries=0)
        assert await engine.kind() == "sglang"
    with pytest.raises(EngineError):
        await collect(engine, window("Hi"), Options(model="m"))
    assert await engine.kind() == "sglang"
    await engine.close()
