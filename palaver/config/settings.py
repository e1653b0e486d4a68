"""Every setting there is, with its type, its limits, its default and what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import platformdirs
from msgspec import Meta

from palaver.config.kinds import LOOPBACK, Bytes, Count, Days, Hours, Seconds


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of one palaver."""

    host: Annotated[str, Meta(description="The address that `serve` listens on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="The port; 0 takes a free one.")] = 7400
    store: Annotated[
        str, Meta(description="Where conversations are kept, as `sqlite:///PATH`; by default in `data_dir`.")
    ] = ""
    data_dir: Annotated[str, Meta(description="The folder for all that palaver keeps.")] = ""
    model: Annotated[
        str,
        Meta(
            description="What answers where no model is named: `pocket`, a model added with `palaver models add`, an "
            "alias, a path to a GGUF file, `hf:OWNER/REPO[:QUANT]`, `UPSTREAM/model` or `scripted[:FILE]`."
        ),
    ] = "pocket"
    alias: Annotated[
        dict[str, str],
        Meta(description="Other names for models, as NAME=MODEL; `*=MODEL` catches all names."),
    ] = {}
    fallback: Annotated[
        dict[str, str],
        Meta(
            description="Models that answer where one fails before it has said anything, as MODEL=OTHER; several "
            "are tried in their order: MODEL=OTHER+THIRD."
        ),
    ] = {}
    upstream: Annotated[
        dict[str, str],
        Meta(
            description="OpenAI-compatible servers, as NAME=URL; their models are `NAME/model`. The names together, "
            "openai, ollama, lmstudio, vllm, sglang and llama-server need no URL."
        ),
    ] = {}
    upstream_key: Annotated[
        dict[str, str],
        Meta(
            description="API keys of upstreams, as NAME=KEY; where there is none, the environment variable "
            "NAME_API_KEY."
        ),
    ] = {}
    upstream_kind: Annotated[
        dict[str, str],
        Meta(
            description="What an upstream is, as NAME=KIND, where it cannot be told or is told wrongly: together, "
            "openai, vllm, sglang, llama-server, ollama, lmstudio or other."
        ),
    ] = {}
    upstream_timeout: Annotated[
        float,
        Meta(
            gt=0,
            le=31_536_000,
            description="How long an upstream may take to the first byte of a reply, in seconds.",
        ),
    ] = 600.0
    upstream_retries: Annotated[
        int,
        Meta(
            ge=0,
            le=10,
            description="How often a request is sent again to an upstream that fails before the first token.",
        ),
    ] = 2
    llama_server: Annotated[
        str, Meta(description="The address of a llama-server of your own, whose model answers by default.")
    ] = ""
    llama_server_kv: Annotated[
        str,
        Meta(
            description="The folder that your llama-server was started with as `--slot-save-path`, where palaver can "
            "reach it too: then conversations' KV caches are kept with it as with models of palaver's own."
        ),
    ] = ""
    api_key: Annotated[
        list[str],
        Meta(
            description="API keys that clients may send, besides those made with `palaver keys`. On other than "
            "loopback one of the two is needed."
        ),
    ] = []
    no_auth: Annotated[bool, Meta(description="Listen on other than loopback while there is no API key.")] = (
        False
    )
    allowed_host: Annotated[
        list[str], Meta(description="Names besides loopback's that a Host header may have.")
    ] = []
    cors_origin: Annotated[
        list[str],
        Meta(description="Origins of web pages that may call this server, such as https://app.example."),
    ] = []
    record: Annotated[
        Literal["all", "asked", "none"],
        Meta(
            description="Which turns are stored: all, those that ask for it (`store`, `conversation`), none."
        ),
    ] = "all"
    context: Annotated[
        int,
        Meta(
            ge=0,
            description="The context of a GGUF model per slot, in tokens; 0 takes as much of the model's own as "
            "fits the memory.",
        ),
    ] = 0
    slots: Annotated[Count, Meta(description="How many replies a GGUF model works on at a time.")] = 2
    threads: Annotated[int, Meta(ge=0, description="Threads that a GGUF model uses; 0 takes all cores.")] = 0
    memory: Annotated[
        Bytes,
        Meta(
            description="How much memory loaded GGUF models may take together, in bytes or as 8GB; 0 goes by the "
            "machine's."
        ),
    ] = 0
    kv_memory: Annotated[
        Bytes,
        Meta(
            description="How much memory snapshots of conversations' KV caches may take, in bytes or as 512MB; 0 keeps "
            "none there."
        ),
    ] = 512_000_000
    kv_disk: Annotated[
        Bytes,
        Meta(
            description="How much of the disk such snapshots may take, beside the store; 0 keeps none, and after a "
            "restart prompts are prefilled anew."
        ),
    ] = 4_000_000_000
    grace: Annotated[
        Seconds,
        Meta(
            description="How long a turn whose reader left keeps its place against waiting turns, in seconds."
        ),
    ] = 60.0
    readerless_turns: Annotated[
        Count, Meta(description="How many turns of one owner may go on without a reader.")
    ] = 16
    readerless_max_tokens: Annotated[
        Count, Meta(description="Where a turn without a reader ends if it set no `max_tokens` itself.")
    ] = 4096
    concurrency: Annotated[
        Literal["queue", "branch", "reject"],
        Meta(
            description="What a turn for the head of a conversation does while another answers there: wait for "
            "it, hang beside it, or be refused."
        ),
    ] = "queue"
    max_waiting: Annotated[Count, Meta(description="How many turns may wait for one conversation.")] = 8
    max_wait: Annotated[
        Seconds, Meta(description="How long a turn may wait for others in its conversation, in seconds.")
    ] = 300.0
    retain: Annotated[
        Days,
        Meta(
            description="After how many days without a turn a conversation is deleted; 0 keeps it for ever."
        ),
    ] = 0.0
    temporary_hours: Annotated[
        Hours, Meta(description="How long a temporary conversation is kept after its last turn, in hours.")
    ] = 24.0
    max_open_turns: Annotated[Count, Meta(description="How many turns may run and wait at a time.")] = 1000
    max_body: Annotated[Count, Meta(description="The largest request body, in bytes.")] = 32 * 1024 * 1024
    max_attachment: Annotated[
        Count, Meta(description="The largest image or other file in a message, in bytes or as 20MB.")
    ] = 20 * 1024 * 1024
    media_host: Annotated[
        list[str],
        Meta(description="Hosts that images in messages may be fetched from; without any, none are fetched."),
    ] = []
    max_messages: Annotated[Count, Meta(description="The most messages in one request.")] = 10_000
    window: Annotated[
        Literal["strict", "auto"],
        Meta(
            description="What a request that resends its history is shown: `strict` what it sent, and too much is a "
            "400; `auto` as much of its conversation as fits."
        ),
    ] = "strict"
    truncation: Annotated[
        Literal["auto", "disabled"],
        Meta(
            description="What a turn below a stored message is shown: `auto` as much of its path as fits, `disabled` "
            "all of it, and too much is a 400."
        ),
    ] = "auto"
    window_size: Annotated[
        int,
        Meta(
            ge=0,
            description="The most tokens that prompt and reply may have together; 0 is as many as the model takes.",
        ),
    ] = 0
    window_keep: Annotated[
        float,
        Meta(
            ge=0.05,
            le=0.95,
            description="The share of the window's room that a new window keeps when there is no more.",
        ),
    ] = 0.5
    window_reserve: Annotated[
        int,
        Meta(
            ge=0,
            description="Tokens kept free for a reply where no `max_tokens` says how long it may be; 0 keeps 1,024, "
            "or a quarter of the context where that is less.",
        ),
    ] = 0
    titles: Annotated[
        Literal["model", "words"],
        Meta(
            description="What conversations are called in lists: `model` what a model makes of the first question, in "
            "idle time and where a model is to be had that costs nothing, and the first words until then; `words` the "
            "first words."
        ),
    ] = "model"
    title_model: Annotated[
        str,
        Meta(
            description="The model that makes titles, also an upstream's that costs something; by default that of the "
            "conversation's last turn, if it runs on this machine."
        ),
    ] = ""
    summaries: Annotated[bool, Meta(description="Have a model sum up what windows leave out.")] = False
    summary_model: Annotated[
        str, Meta(description="The model that makes summaries, as `title_model` names one.")
    ] = ""
    embedding_model: Annotated[
        str,
        Meta(
            description="The model that makes vectors of messages, so that search finds by meaning, too: one of "
            "`palaver models`, a path to a GGUF file, or `UPSTREAM/model`, also one that costs something."
        ),
    ] = ""
    recall: Annotated[
        Literal["off", "tool", "always"],
        Meta(
            description="Where a window leaves messages out: `tool` offers models that call tools one with which they "
            "have earlier messages quoted, `always` quotes those that fit the question, `off` does neither."
        ),
    ] = "tool"
    context_length_exceeded_behavior: Annotated[
        Literal["error", "truncate"],
        Meta(
            description="Where prompt and `max_tokens` do not fit the context: refuse, or lower `max_tokens`."
        ),
    ] = "error"
    window_of: Annotated[
        dict[str, str],
        Meta(
            description="How windows are chosen for a model, as MODEL=SETTINGS, such as "
            "`pocket=mode:auto+keep:0.25`; the settings are mode, truncation, size, keep, reserve, room, "
            "summaries, recall and context_length_exceeded_behavior."
        ),
    ] = {}
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"], Meta(description="The form of log lines, which go to standard error.")
    ] = "text"

    @property
    def folder(self) -> Path:
        """The data directory; by default the platform's own for this user."""
        return (
            Path(self.data_dir).expanduser()
            if self.data_dir
            else Path(platformdirs.user_data_dir("palaver", False))
        )

    @property
    def store_path(self) -> Path:
        """The file of a SQLite store."""
        if not self.store:
            return self.folder / "palaver.db"
        return Path(self.store.removeprefix("sqlite://")[1:]).expanduser()

    @property
    def kv_folder(self) -> Path:
        """Where snapshots of KV caches are, beside the store: they belong to its conversations."""
        return self.store_path.with_name(self.store_path.name + "-kv")

    @property
    def on_loopback(self) -> bool:
        return self.host in LOOPBACK
