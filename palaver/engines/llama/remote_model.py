"""What a llama-server says of itself and its model, and what can be found out by asking it."""

from __future__ import annotations

import asyncio
import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

import aiohttp
import msgspec

from palaver.core.errors import EngineRefused, EngineUnavailable
from palaver.engines.llama.gguf import GAP, MARKER, Gguf
from palaver.engines.llama.remote_file import file_of

CHECK_SECONDS = 5.0
"""How long the server may take to say what it is."""
RETRY_AFTER = 5
LARGEST = 16 * 2**20
"""Bytes of an answer that are read."""
ROUTER = "router"
LIKE_TOKENS = re.compile(
    r"<[|\uff5c][^<>\s]{1,60}[|\uff5c]>|</?[A-Za-z_][A-Za-z0-9_:-]{0,40}>|\[/?[A-Z_]{2,30}\]|<<?/?SYS>?>"
)
"""Strings in a chat template that may be tokens of the model's, and no text."""
USUAL_TOKENS = (
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>", "<eos>", "<bos>", "<pad>", "<unk>"),
    *(
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<|eom_id|>",
    ),
    *(
        "<start_of_turn>",
        "<end_of_turn>",
        "<|python_tag|>",
        "<|system|>",
        "<|user|>",
        "<|assistant|>",
        "<|end|>",
    ),
    *(
        "<|start|>",
        "<|message|>",
        "<|channel|>",
        "<|return|>",
        "<|call|>",
        "<|constrain|>",
        "<think>",
        "</think>",
    ),
    *(
        "<tool_call>",
        "</tool_call>",
        "<tool_response>",
        "</tool_response>",
        "[INST]",
        "[/INST]",
        "[TOOL_CALLS]",
    ),
    *("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[SYSTEM_PROMPT]"),
    *("<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"),
    *("<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
)
"""Tokens of well-known models that end or begin something, which a template need not write."""


class _Generation(msgspec.Struct, frozen=True):
    n_ctx: int = 0


class Props(msgspec.Struct, frozen=True, kw_only=True):
    """Of ``GET /props`` what says which model it is, and how it is run."""

    model_path: str = ""
    model_alias: str = ""
    chat_template: str = ""
    bos_token: str = ""
    eos_token: str = ""
    build_info: str = ""
    total_slots: int = 0
    role: str = ""
    modalities: Any = None
    default_generation_settings: _Generation = _Generation()


class _Meta(msgspec.Struct):
    n_vocab: int = 0
    n_ctx_train: int = 0
    n_embd: int = 0


class _Listed(msgspec.Struct):
    id: str = ""
    meta: _Meta | None = None


class _List(msgspec.Struct):
    data: list[_Listed] = []


class _Tokens(msgspec.Struct):
    tokens: list[int]


class RemoteModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model as a server runs it: `model` as its file would say it, `context` of one slot in tokens. `counts` says
    whether the server can count a prompt, `build` which version it is."""

    name: str
    model: Gguf
    slots: int
    context: int
    counts: bool
    build: str


_T = TypeVar("_T")


async def is_there(session: aiohttp.ClientSession, base: str) -> bool:
    """Whether anything answers at the address."""
    try:
        async with asyncio.timeout(CHECK_SECONDS), session.get(f"{base}/health") as response:
            return response.status > 0
    except (aiohttp.ClientError, OSError):
        return False  # TimeoutError too


async def read_props(session: aiohttp.ClientSession, base: str) -> Props:
    """What the server says of itself.

    Raises EngineUnavailable where it cannot be reached, loads its model, or is no llama-server for one model;
    EngineRefused where it does not take the key; TimeoutError.
    """
    status, body = await _ask(session, "GET", f"{base}/props", None)
    if status == 503:
        raise EngineUnavailable("The llama-server is loading its model.", retry_after=RETRY_AFTER)
    if status in (401, 403):
        raise EngineRefused(
            "The llama-server does not take palaver's key (LLAMA_SERVER_API_KEY).", status=502
        )
    props = _decoded(body, Props) if status == 200 else None
    if props is not None and props.role == ROUTER:
        raise EngineUnavailable(
            "This llama-server serves several models: name it as an upstream (--upstream llama-server=URL)."
        )
    if props is None or props.total_slots < 1 or props.default_generation_settings.n_ctx < 1:
        raise EngineUnavailable(f"What answers there is no llama-server of today (/props: {status}).")
    return props


async def read_model(session: aiohttp.ClientSession, base: str, props: Props) -> RemoteModel:
    """What is to be known of the model. Raises EngineUnavailable."""
    try:
        return await _read_model(session, base, props)
    except TimeoutError:
        raise EngineUnavailable(
            f"The llama-server said nothing for {CHECK_SECONDS:g} seconds.", retry_after=RETRY_AFTER
        ) from None


async def _read_model(session: aiohttp.ClientSession, base: str, props: Props) -> RemoteModel:
    status, body = await _ask(session, "GET", f"{base}/v1/models", None)
    listed = (_decoded(body, _List) if status == 200 else None) or _List()
    entry = listed.data[0] if listed.data else _Listed()
    meta = entry.meta or _Meta()
    ask = _Tokenizer(session, base)
    control, special = await _control_tokens(ask, props)
    counting = {"messages": [{"role": "user", "content": "x"}]}
    status, _ = await _ask(session, "POST", f"{base}/v1/chat/completions/input_tokens", counting)
    told = (meta.n_vocab, meta.n_ctx_train, meta.n_embd)
    here, unkept = await file_of(props.model_path, props.modalities, told)
    name = _name(props.model_alias or entry.id or props.model_path)
    return RemoteModel(
        name=name,
        model=Gguf(
            architecture="",
            name=name,
            context_length=max(0, meta.n_ctx_train),
            has_chat_template=bool(props.chat_template),
            chat_template=props.chat_template,
            control_tokens=control,
            special_tokens=special,
            vocabulary=max(0, meta.n_vocab),
            gap_tokens=await _gap_tokens(ask),
            width=max(0, meta.n_embd),
            unkept=unkept,
            files=here.files if here is not None else (),
            cache_numbers=here.cache_numbers if here is not None else 0,
        ),
        slots=props.total_slots,
        context=props.default_generation_settings.n_ctx,
        counts=status == 200,
        build=props.build_info,
    )


class _Tokenizer:
    """The model's tokenizer, which the server runs."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._url = f"{base}/tokenize"

    async def tokens(self, text: str, *, special: bool) -> list[int] | None:
        """The tokens of a text, with or without those that are no text; None where the server does not say."""
        fields = {"content": text, "add_special": False, "parse_special": special}
        status, body = await _ask(self._session, "POST", self._url, fields)
        found = _decoded(body, _Tokens) if status == 200 else None
        return None if found is None else found.tokens


async def _control_tokens(ask: _Tokenizer, props: Props) -> tuple[frozenset[str], dict[str, int]]:
    """The strings that this model takes for structure, and the numbers of those that are never text.

    Such a string is one token, and where control tokens are taken for text it is several.
    """
    in_template = set(LIKE_TOKENS.findall(props.chat_template))
    ends = {token for token in (props.bos_token, props.eos_token) if len(token) > 1}
    gaps = {text for _, _, written in GAP for text in written.decode().split(" ")}
    candidates = sorted(in_template | ends | gaps | set(USUAL_TOKENS))
    control: set[str] = set()
    special: dict[str, int] = {}
    for text in candidates:
        acting = await ask.tokens(text, special=True)
        if acting is None:  # it does not say: then all that looks like one is taken for one
            return frozenset(candidates), {}
        if len(acting) != 1:
            continue
        if await ask.tokens(text, special=False) != acting:
            special[text] = acting[0]
            control.add(text)
        elif text in in_template or MARKER.fullmatch(text):
            control.add(text)
    return frozenset(control), special


async def _gap_tokens(ask: _Tokenizer) -> tuple[int, int, int] | None:
    """The tokens around a gap, by how they are written in well-known models."""
    found: list[int] = []
    for _, _, written in GAP:
        number = None
        for text in written.decode().split(" "):
            tokens = await ask.tokens(text, special=True)
            if tokens is not None and len(tokens) == 1:
                number = tokens[0]
                break
        if number is None:
            return None
        found.append(number)
    return found[0], found[1], found[2]


async def _ask(session: aiohttp.ClientSession, method: str, url: str, fields: Any) -> tuple[int, bytes]:
    """Status and body of an answer. Raises EngineUnavailable, TimeoutError."""
    data = None if fields is None else msgspec.json.encode(fields)
    if session.closed:
        raise EngineUnavailable("The connection to the llama-server is closed.")
    try:
        async with (
            asyncio.timeout(CHECK_SECONDS),
            session.request(method, url, data=data, allow_redirects=False) as response,
        ):
            return response.status, await _bounded(response)
    except TimeoutError:
        raise
    except (aiohttp.ClientError, OSError) as error:
        raise EngineUnavailable("The llama-server cannot be reached.", retry_after=RETRY_AFTER) from error


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body as far as it is read; one that is longer is none of a llama-server's."""
    body = bytearray()
    async for data in response.content.iter_any():
        body += data
        if len(body) > LARGEST:
            response.close()
            break
    return bytes(body)


def _decoded(body: bytes, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _name(told: str) -> str:
    """A model's name; of a file without the path and the ending."""
    file = PureWindowsPath(told) if "\\" in told else PurePosixPath(told)
    is_file = file.suffix.lower() == ".gguf"
    return (file.stem if is_file else told) or "llama-server"
