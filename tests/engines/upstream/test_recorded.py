"""Each server's real answers through the engine: replies, refusals, and what is no answer at all."""

import json
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from palaver.core.errors import (
    ContextLengthExceeded,
    EngineBroke,
    EngineRefused,
    EngineUnavailable,
    InvalidRequest,
    PalaverError,
)
from palaver.core.message import FunctionCall
from palaver.core.parameters import Parameters, Tool
from palaver.core.turn import ContentDelta, EngineEvent, ReasoningDelta, Usage
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.upstream.engine import NO_CALL, NO_LOGPROBS, UpstreamEngine
from palaver.engines.upstream.kinds import Kind
from tests.engines.contract import collect, finish_of, replies_of, text_of, window
from tests.engines.upstream.recorded import OPENAI, RECORDED, events, playing

CHAT = "POST /v1/chat/completions"


async def replied(
    kind: Kind,
    answer: Any,
    *,
    status: int = 200,
    model: str = "m",
    prompt: Window | None = None,
    parameters: Parameters | None = None,
) -> list[EngineEvent]:
    """What comes of this answer from such a server, which is recognised by its own answers."""
    recorded = RECORDED.get(kind, OPENAI)
    answers = {**recorded.answers, CHAT: (status, answer)}
    async with playing(msgspec.structs.replace(recorded, answers=answers)) as player:
        engine = UpstreamEngine(
            "house", player.url, retries=0, kind=None if kind in RECORDED else kind, api_key="sk-own"
        )
        options = Options(model=model, parameters=parameters or Parameters())
        try:
            return await collect(engine, prompt or window("Hi"), options)
        finally:
            await engine.close()


async def refused(kind: Kind, answer: Any, *, status: int = 400) -> PalaverError:
    try:
        await replied(kind, answer, status=status)
    except PalaverError as error:
        return error
    pytest.fail("nothing was raised")


def delta(reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "x", "model": "m", "choices": [{"index": 0, "delta": fields, "finish_reason": reason}]}


def tail(**usage: Any) -> dict[str, Any]:
    return {"id": "x", "model": "m", "choices": [], "usage": usage}


# Replies


async def test_together() -> None:
    """The usage on the last chunk, `text` beside the delta, no calls as an empty list."""
    first = {
        "id": "o1",
        "object": "chat.completion.chunk",
        "created": 1777411129,
        "choices": [
            {
                "index": 0,
                "text": "Hello",
                "logprobs": None,
                "finish_reason": None,
                "seed": None,
                "delta": {"token_id": 9906, "role": "assistant", "content": "Hello", "tool_calls": []},
            }
        ],
        "model": "m",
        "usage": None,
    }
    last = {
        "id": "o1",
        "choices": [
            {
                "index": 0,
                "text": "",
                "finish_reason": "stop",
                "seed": 159,
                "delta": {"token_id": 128009, "role": "assistant", "content": ""},
            }
        ],
        "model": "m",
        "usage": {"prompt_tokens": 45, "completion_tokens": 3, "total_tokens": 48, "cached_tokens": 32},
    }
    said = await replied("together", events(first, last))
    assert text_of(said) == "Hello"
    assert finish_of(said).usage == Usage(45, 3, cached_tokens=32)
    assert finish_of(said).warnings == []


@pytest.mark.parametrize(
    ("kind", "usage", "meant"),
    [
        (
            "openai",
            {
                "prompt_tokens": 9,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 1},
            },
            Usage(9, 2, 4, 1),
        ),
        ("vllm", {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(9, 2)),
        (
            "sglang",
            {
                "prompt_tokens": 9,
                "completion_tokens": 2,
                "reasoning_tokens": 0,
                "prompt_tokens_details": None,
            },
            Usage(9, 2),
        ),
        ("ollama", {"prompt_tokens": 9, "completion_tokens": 2}, Usage(9, 2)),
        ("lmstudio", {"prompt_tokens": 9, "completion_tokens": 2}, Usage(9, 2)),
    ],
)
async def test_what_a_reply_cost(kind: Kind, usage: dict[str, Any], meant: Usage) -> None:
    body = events(delta(content="Hi"), delta("stop"), tail(**usage))
    assert finish_of(await replied(kind, body)).usage == meant


async def test_llama_servers_timings_and_file_name() -> None:
    """It answers with its file's name whatever was asked for, and counts what it reused in the timings only."""
    last = delta("stop") | {
        "model": "/models/Qwen3-8B-Q4_K_M.gguf",
        "timings": {"cache_n": 7, "prompt_n": 3, "predicted_n": 4, "prompt_ms": 1.5},
    }
    finish = finish_of(await replied("llama-server", events(delta(content="Hi"), last), model="any"))
    assert finish.usage == Usage(10, 4, cached_tokens=7)
    assert finish.model == "/models/Qwen3-8B-Q4_K_M.gguf"
    assert finish.warnings == []


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("together", "reasoning"),
        ("vllm", "reasoning"),
        ("vllm", "reasoning_content"),
        ("sglang", "reasoning_content"),
        ("llama-server", "reasoning_content"),
        ("ollama", "reasoning"),
        ("lmstudio", "reasoning_content"),
    ],
)
async def test_thinking(kind: Kind, field: str) -> None:
    body = events(delta(**{field: "Hm", "content": None}), delta(content="Yes"), delta("stop"))
    said = await replied(kind, body)
    assert said[1:-1] == [ReasoningDelta("Hm"), ContentDelta("Yes")]


def calling(*deltas: dict[str, Any], reason: str = "tool_calls") -> bytes:
    return events(*(delta(tool_calls=[each]) for each in deltas), delta(reason))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (
            "vllm",
            calling(
                {
                    "index": 0,
                    "id": "chatcmpl-tool-1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": ""},
                },
                {"index": 0, "function": {"arguments": '{"city": '}},
                {"index": 0, "function": {"arguments": '"Bonn"}'}},
                reason="stop",
            ),
        ),
        (
            "sglang",
            calling(
                {
                    "id": "call_1",
                    "index": 0,
                    "type": "function",
                    "function": {"name": "weather", "arguments": ""},
                },
                {
                    "id": None,
                    "index": 0,
                    "type": "function",
                    "function": {"name": None, "arguments": '{"city": "Bonn"}'},
                },
            ),
        ),
        (
            "llama-server",
            calling(
                {
                    "index": 0,
                    "id": "",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city"'},
                },
                {"index": 0},
                {"index": 0, "function": {"arguments": ': "Bonn"}'}},
            ),
        ),
        (
            "ollama",
            calling(
                {
                    "id": "call_abcdefgh",
                    "index": 0,
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Bonn"}'},
                },
                reason="stop",
            ),
        ),
        (
            "lmstudio",
            calling(
                {
                    "index": 0,
                    "id": "365174485",
                    "type": "function",
                    "function": {"name": "weather", "arguments": ""},
                },
                {
                    "index": 0,
                    "type": "function",
                    "function": {"name": "", "arguments": '{"city": "Bonn"}'},
                },
            ),
        ),
    ],
)
async def test_a_call(kind: Kind, body: bytes) -> None:
    prompt = msgspec.structs.replace(window("Rain?"), tools=(Tool(name="weather"),))
    said = await replied(kind, body, prompt=prompt)
    (call,) = replies_of(said)[0].tool_calls
    assert call.function == FunctionCall("weather", '{"city": "Bonn"}')
    assert call.id
    assert finish_of(said).reason == "tool_calls"


async def test_log_probabilities_that_do_not_come() -> None:
    said = await replied(
        "ollama", events(delta(content="Hi"), delta("stop")), parameters=Parameters(logprobs=1)
    )
    assert finish_of(said).warnings == [NO_LOGPROBS]


async def test_a_call_that_was_required_and_does_not_come() -> None:
    """llama-server lets a model say anything before it calls, and so does what knows no `tool_choice`."""
    prompt = msgspec.structs.replace(window("Rain?"), tools=(Tool(name="weather"),))
    body = events(delta(content="No."), delta("stop"))
    required = Parameters(tool_choice="required")
    finish = finish_of(await replied("vllm", body, prompt=prompt, parameters=required))
    assert finish.warnings == [NO_CALL]
    assert finish_of(await replied("vllm", body, prompt=prompt)).warnings == []


@pytest.mark.parametrize(
    ("kind", "warns"), [("llama-server", "goes on with"), ("sglang", "user's words"), ("vllm", None)]
)
async def test_a_history_that_ends_with_a_reply(kind: Kind, warns: str | None) -> None:
    body = events(delta(content="Hi"), delta("stop"))
    warnings = finish_of(await replied(kind, body, prompt=window("Hi", "Hello."))).warnings
    assert [warns in each for each in warnings if warns] == ([True] if warns else [])
    assert bool(warnings) is bool(warns)
    assert finish_of(await replied(kind, body)).warnings == []


async def test_no_more_likely_tokens_than_were_asked_for() -> None:
    top = [{"token": "Hi", "logprob": -0.5}]
    logprobs = {"content": [{"token": "Hi", "logprob": -0.5, "top_logprobs": top}]}
    first = delta(content="Hi")
    first["choices"][0]["logprobs"] = logprobs
    for wanted, tops in ((0, 0), (1, 1)):
        said = await replied(
            "llama-server", events(first, delta("stop")), parameters=Parameters(logprobs=wanted)
        )
        assert isinstance(said[1], ContentDelta)
        assert len(said[1].logprobs[0].top) == tops
    said = await replied("llama-server", events(first, delta("stop")))
    assert said[1] == ContentDelta("Hi"), "not asked for, not told"


# Refusals


def nested(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


def flat(message: str, code: int = 400) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": "BadRequest", "param": None, "code": code}


LLAMAS = {
    "error": {
        "code": 400,
        "message": "request (2622 tokens) exceeds the available context size (512 tokens), try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 2622,
        "n_ctx": 512,
    }
}


@pytest.mark.parametrize(
    ("kind", "body", "prompt", "size"),
    [
        (
            "openai",
            nested(
                "This model's maximum context length is 8192 tokens. However, your messages resulted in 8227 "
                "tokens. Please reduce the length of the messages.",
                code="context_length_exceeded",
            ),
            8227,
            8192,
        ),
        (
            "openai",
            nested(
                "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 289650 "
                "tokens. Please reduce the length of the messages."
            ),
            289650,
            272000,
        ),
        (
            "together",
            nested(
                "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 80125 "
                "`inputs` tokens and 4096 `max_new_tokens`",
                type="invalid_request_error",
                param="max_tokens",
                code=None,
            ),
            80125,
            4097,
        ),
        (
            "vllm",
            nested(
                "This model's maximum context length is 4096 tokens. However, your prompt contains at least 4097 "
                "input tokens, which exceeds this limit even without any output tokens. Please reduce the length "
                "of the input prompt. (parameter=input_tokens, value=4097)",
                type="BadRequestError",
                param="input_tokens",
                code=400,
            ),
            4097,
            4096,
        ),
        (
            "vllm",
            flat(
                "This model's maximum context length is 6048 tokens. However, you requested 6616 tokens (568 in "
                "the messages, 6048 in the completion). Please reduce the length of the messages or completion."
            ),
            568,
            6048,
        ),
        (
            "sglang",
            flat("The input (170071 tokens) is longer than the model's context length (131072 tokens)."),
            170071,
            131072,
        ),
        (
            "sglang",
            flat(
                "Input length (9000 tokens) exceeds the maximum allowed length (8186 tokens). Use a shorter input "
                "or enable --allow-auto-truncate."
            ),
            9000,
            8186,
        ),
        ("llama-server", LLAMAS, 2622, 512),
        ("ollama", {"error": json.dumps(LLAMAS)}, 2622, 512),
        (
            "lmstudio",
            {
                "error": "The number of tokens to keep from the initial prompt is greater than the context length "
                "(n_keep: 13055>= n_ctx: 4096). Try to load the model with a larger context length, or provide a "
                "shorter input."
            },
            13055,
            4096,
        ),
        (
            "lmstudio",
            {
                "error": "Trying to keep the first 111490 tokens when context the overflows. However, the model "
                "is loaded with context length of only 32768 tokens, which is not enough."
            },
            111490,
            32768,
        ),
        ("lmstudio", {"error": "Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)"}, 15028, 7424),
    ],
)
@pytest.mark.parametrize("in_stream", [False, True])
async def test_a_prompt_that_is_too_long(
    kind: Kind, body: dict[str, Any], prompt: int, size: int, in_stream: bool
) -> None:
    """Refused with a status, or in a stream that begins as if all were well."""
    if in_stream:
        error = await refused(kind, events(body), status=200)
    else:
        error = await refused(kind, body)
    assert isinstance(error, ContextLengthExceeded)
    assert (error.prompt_tokens, error.context_size) == (prompt, size)


VLLMS_LEAST = nested(
    "This model's maximum context length is 4096 tokens. However, your prompt contains at least 4097 input tokens, "
    "which exceeds this limit even without any output tokens. (parameter=input_tokens, value=4097)",
    code=400,
)


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        ((200, {"count": 9001, "max_model_len": 4096, "tokens": [1], "token_strs": None}), 9001),
        ((404, {"detail": "Not Found"}), 4097),
        ((200, b"\xff"), 4097),
        ((200, {"count": 3}), 4097),
    ],
)
async def test_vllm_is_asked_how_long_a_prompt_really_is(answer: tuple[int, Any], counted: int) -> None:
    """It stops counting at its limit."""
    recorded = RECORDED["vllm"]
    answers = {**recorded.answers, CHAT: (400, VLLMS_LEAST), "POST /tokenize": answer}
    async with playing(msgspec.structs.replace(recorded, answers=answers)) as player:
        engine = UpstreamEngine("house", player.url)
        prompt = msgspec.structs.replace(window("Rain?"), tools=(Tool(name="weather"),))
        with pytest.raises(ContextLengthExceeded) as refused:
            await collect(engine, prompt, Options(model="m", parameters=Parameters(temperature=0.0)))
        await engine.close()
    assert (refused.value.prompt_tokens, refused.value.context_size) == (counted, 4096)
    assert player.bodies[-1].keys() == {"model", "messages", "tools"}


async def test_an_old_ollama_names_no_numbers() -> None:
    for answer, status in (
        ({"error": "the input length exceeds the context length"}, 400),
        (events({"error": "the input length exceeds the context length"}), 200),
    ):
        error = await refused("ollama", answer, status=status)
        assert isinstance(error, EngineRefused)
        assert (error.status, error.message) == (400, "the input length exceeds the context length")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "vllm",
            "max_tokens=9999 cannot be greater than max_model_len=4096. Please request fewer output tokens. "
            "(parameter=max_tokens, value=9999)",
        ),
        (
            "sglang",
            "max_completion_tokens is too large: 99999.This model supports at most 32768 completion tokens.",
        ),
    ],
)
async def test_more_tokens_wanted_than_any_prompt_leaves(kind: Kind, message: str) -> None:
    error = await refused(kind, nested(message) if kind == "vllm" else flat(message))
    assert isinstance(error, InvalidRequest)
    assert error.param == "max_tokens"
    assert error.message == message


@pytest.mark.parametrize(
    ("kind", "status", "body", "seen", "words"),
    [
        (
            "openai",
            404,
            nested("The model `x` does not exist or you do not have access to it.", code="model_not_found"),
            404,
            "The model `x` does not exist",
        ),
        (
            "together",
            404,
            nested("Unable to access model x.", code="model_not_available"),
            404,
            "Unable to access model x.",
        ),
        (
            "vllm",
            404,
            nested("The model `x` does not exist.", type="NotFoundError", param="model", code=404),
            404,
            "The model `x` does not exist.",
        ),
        (
            "ollama",
            404,
            nested("model 'x' not found", type="not_found_error", param=None, code=None),
            404,
            "model 'x' not found",
        ),
        (
            "lmstudio",
            400,
            nested(
                'Invalid model identifier "x". Please specify a valid downloaded model.',
                code="model_not_found",
                param="model",
            ),
            400,
            "Invalid model identifier",
        ),
        (
            "vllm",
            400,
            nested(
                '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
                code=400,
            ),
            400,
            "--enable-auto-tool-choice",
        ),
        (
            "lmstudio",
            400,
            {"error": "'response_format.type' must be 'json_schema' or 'text'"},
            400,
            "'response_format.type' must be",
        ),
        ("vllm", 401, {"error": "Unauthorized"}, 502, "refused palaver's key"),
        ("sglang", 403, {"error": "Forbidden"}, 502, "refused palaver's key"),
        (
            "openai",
            401,
            nested("Incorrect API key provided: sk-own.", code="invalid_api_key"),
            502,
            "refused palaver's key",
        ),
    ],
)
async def test_refusals(kind: Kind, status: int, body: dict[str, Any], seen: int, words: str) -> None:
    error = await refused(kind, body, status=status)
    assert isinstance(error, EngineRefused)
    assert error.status == seen
    assert words in error.message
    assert "sk-own" not in error.message


@pytest.mark.parametrize(
    ("kind", "status", "body", "words"),
    [
        (
            "llama-server",
            503,
            nested("Loading model", type="unavailable_error", code=503),
            "503: Loading model",
        ),
        (
            "vllm",
            503,
            nested("The engine is currently busy and cannot accept new requests.", code=503),
            "currently busy",
        ),
        ("sglang", 503, flat("The request queue is full.", 503), "queue is full"),
        (
            "sglang",
            200,
            events(
                nested("The request queue is full.", object="error", type="SERVICE_UNAVAILABLE", code=503),
                tail(),
            ),
            "503: The request queue is full.",
        ),
        (
            "vllm",
            200,
            events(nested("EngineCore died", type="InternalServerError", param=None, code=500)),
            "500: EngineCore died",
        ),
        (
            "llama-server",
            200,
            events(nested("Compute error.", type="server_error", code=500), end=b""),
            "500: Compute error.",
        ),
        (
            "lmstudio",
            200,
            b'event: error\ndata: {"error":{"message":"Compute error."},"message":"Compute error."}\n\n',
            "Compute error.",
        ),
        ("lmstudio", 200, events({"error": "Model is unloaded."}, end=b""), "Model is unloaded."),
        ("ollama", 200, events(delta() | {"model": ""}, end=b""), "before the reply was complete"),
        (
            "ollama",
            503,
            nested("server busy, please try again.  maximum pending requests exceeded", type="api_error"),
            "server busy",
        ),
        ("vllm", 200, b"", "before the reply was complete"),
        ("vllm", 200, b"Internal Server Error", "not a chat completion stream"),
    ],
)
async def test_failures_before_the_first_token(kind: Kind, status: int, body: Any, words: str) -> None:
    error = await refused(kind, body, status=status)
    assert isinstance(error, EngineUnavailable)
    assert words in error.message


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        ("vllm", events(nested("EngineCore died", code=500))),
        ("llama-server", events(nested("Compute error.", code=500), end=b"")),
        ("sglang", events(delta("abort"))),
        ("ollama", events(delta() | {"model": ""}, end=b"")),
        ("lmstudio", b'event: error\ndata: {"error":"The model has crashed"}\n\n'),
        ("other", b""),
        ("other", b'data: {"choices": [{"delta": {"cont'),
    ],
)
async def test_half_a_reply(kind: Kind, rest: bytes) -> None:
    with pytest.raises(EngineBroke):
        await replied(kind, events(delta(content="Half a"), end=b"") + rest)


# What is said that cannot be


async def test_another_models_name() -> None:
    body = events(
        delta(content="Hi") | {"model": "gpt-3.5-turbo"}, delta("stop") | {"model": "gpt-3.5-turbo"}
    )
    finish = finish_of(await replied("openai", body, model="gpt-4o"))
    assert finish.warnings == ["the upstream answered as another model: gpt-3.5-turbo, not gpt-4o"]
    assert finish_of(await replied("llama-server", body, model="gpt-4o")).warnings == []


@pytest.mark.parametrize(
    ("usage", "warning"),
    [
        ({"prompt_tokens": -1, "completion_tokens": 1}, "The model server's count of tokens is none."),
        ({"prompt_tokens": 0, "completion_tokens": 1}, "the upstream counted no tokens of the prompt"),
        (
            {"prompt_tokens": 99_999_999, "completion_tokens": 1},
            "the upstream counted more tokens than the prompt can have: 99,999,999 of at most",
        ),
    ],
)
async def test_a_count_that_cannot_be(usage: dict[str, Any], warning: str) -> None:
    body = events(delta(content="Hi"), delta("stop"), tail(**usage))
    (told,) = finish_of(await replied("other", body)).warnings
    assert told.startswith(warning)


LONG = "The gateway keeps every conversation, so that it can be found again. " * 600


async def test_a_prompt_that_was_cut() -> None:
    body = events(delta(content="Hi"), delta("stop"), tail(prompt_tokens=4096, completion_tokens=1))
    with capture_logs() as logged:
        finish = finish_of(await replied("other", body, prompt=window(LONG)))
    assert finish.warnings == ["upstream cut this prompt: it counted 4,096 tokens of about 10,000"]
    assert finish.warnings[0] in [entry["event"] for entry in logged], "the log says so, too"
    body = events(delta(content="Hi"), delta("stop"), tail(prompt_tokens=8000, completion_tokens=1))
    assert finish_of(await replied("other", body, prompt=window(LONG))).warnings == []


async def test_a_conversation_whose_next_prompt_was_cut() -> None:
    recorded = RECORDED["vllm"]
    answers = dict(recorded.answers)
    async with playing(msgspec.structs.replace(recorded, answers=answers)) as player:
        engine = UpstreamEngine("house", player.url)
        told = []
        for texts, counted in ((["a"], 3000), (["a", "b", "c"], 1024)):
            body = events(
                delta(content="Hi"), delta("stop"), tail(prompt_tokens=counted, completion_tokens=1)
            )
            answers[CHAT] = (200, body)
            prompt = msgspec.structs.replace(window(*texts), conversation="conv_1")
            told.append(finish_of(await collect(engine, prompt, Options(model="m"))).warnings)
        await engine.close()
    assert told == [[], ["upstream cut this prompt: it counted 1,024 tokens of about 3,000"]]


@pytest.mark.parametrize(("loaded", "warns"), [(4096, True), (32768, False)])
async def test_ollama_counts_without_what_it_had_cached(loaded: int, warns: bool) -> None:
    """Some versions do: only where the prompt does not fit the model's context was it cut. Before it is sent, the
    log says that it will be."""
    recorded = RECORDED["ollama"]
    running = {"models": [{"name": "m:latest", "model": "m:latest", "context_length": loaded}]}
    body = events(delta(content="Hi"), delta("stop"), tail(prompt_tokens=2000, completion_tokens=1))
    answers = {**recorded.answers, "GET /api/ps": (200, running), CHAT: (200, body)}
    async with playing(msgspec.structs.replace(recorded, answers=answers)) as player:
        engine = UpstreamEngine("house", player.url)
        with capture_logs() as logged:
            finish = finish_of(await collect(engine, window(LONG), Options(model="m")))
        await engine.close()
    assert bool(finish.warnings) is warns
    assert any("this server cuts such without a word" in entry["event"] for entry in logged) is warns
