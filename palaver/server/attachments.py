"""Pictures, sound and files in messages: which an engine takes, how large they may be, where they may lie."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes, urlsplit

from palaver.core.errors import InvalidRequest, UnsupportedParameter
from palaver.core.message import (
    REFERENCE,
    AudioPart,
    AudioUrlPart,
    FilePart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    TextPart,
    VideoPart,
)
from palaver.server.settings import ServerSettings

REMOTE = "remote_media"
"""The capability of engines whose server fetches remote addresses itself."""
UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
"""What no address has; programs differ in what host they read from one that has."""


def check_contents(
    messages: Sequence[Message], capabilities: frozenset[str], model: str, settings: ServerSettings
) -> None:
    """Refuse content that the engine would have to leave out, or that may not be sent here.

    Raises UnsupportedParameter and InvalidRequest.
    """
    for i, message in enumerate(messages):
        if not isinstance(message.content, list):
            continue
        for j, part in enumerate(message.content):
            if not isinstance(part, TextPart | RefusalPart):
                _check_part(part, f"messages[{i}].content[{j}]", capabilities, model, settings)


def _check_part(
    part: Part, place: str, capabilities: frozenset[str], model: str, settings: ServerSettings
) -> None:
    kind = str(type(part).__struct_config__.tag)
    if kind not in capabilities:
        raise UnsupportedParameter(f"The model {model} takes no content of type {kind}.", param=place)
    remote = REMOTE in capabilities
    match part:
        case ImagePart(image_url=source):
            _check_address(source.url, f"{place}.image_url.url", remote, settings)
        case VideoPart(video_url=source):
            _check_address(source.url, f"{place}.video_url.url", remote, settings)
        case AudioUrlPart(audio_url=source):
            _check_address(source.url, f"{place}.audio_url.url", remote, settings)
        case AudioPart(input_audio=audio):
            _check_base64(audio.data, f"{place}.input_audio.data", settings)
        case FilePart():
            _check_file(part, f"{place}.file", remote, settings)


def _check_file(part: FilePart, place: str, remote: bool, settings: ServerSettings) -> None:
    data, id = part.file.file_data, part.file.file_id
    if data is not None:
        if data.startswith("data:"):
            _check_data_url(data, f"{place}.file_data", settings)
        else:
            _check_base64(data, f"{place}.file_data", settings)
    elif id is None:
        raise InvalidRequest(f"Input required: `{place}.file_data` is missing.", param=f"{place}.file_data")
    elif not remote:
        raise UnsupportedParameter(
            f"No file here has this id: send its bytes as `{place}.file_data`.",
            param=f"{place}.file_id",
        )


def _check_address(url: str, param: str, remote: bool, settings: ServerSettings) -> None:
    if url.startswith("data:"):
        _check_data_url(url, param, settings)
        return
    try:
        address = urlsplit(url)
        host = address.hostname
    except ValueError:
        address, host = urlsplit(""), None
    if address.scheme not in ("http", "https") or not host or UNSAFE.search(url) or "@" in address.netloc:
        raise InvalidRequest(f"`{param}` must be a data: URL, or an http(s) address.", param=param)
    if not (remote or "*" in settings.media_hosts or host.lower() in map(str.lower, settings.media_hosts)):
        raise UnsupportedParameter(
            f"`{param}` is a remote address, and this server fetches none from {host[:100]}: send the bytes as a "
            "data: URL.",
            param=param,
        )


def _check_data_url(url: str, param: str, settings: ServerSettings) -> None:
    head, comma, data = url.partition(",")
    if not comma:
        raise InvalidRequest(f"`{param}` is no data: URL: it has no comma.", param=param)
    if head.endswith(f";{REFERENCE}"):
        raise InvalidRequest(f"`{param}` has the hash of its bytes: send the bytes, as base64.", param=param)
    if head.endswith(";base64"):
        _check_base64(data, param, settings)
    else:
        _check_size(len(unquote_to_bytes(data)), param, settings)


def _check_base64(data: str, param: str, settings: ServerSettings) -> None:
    try:
        decoded = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"`{param}` is not valid base64.", param=param) from None
    _check_size(len(decoded), param, settings)


def _check_size(size: int, param: str, settings: ServerSettings) -> None:
    if size == 0:
        raise InvalidRequest(f"`{param}` is empty.", param=param)
    if size > settings.max_attachment:
        raise InvalidRequest(
            f"`{param}` has {size} bytes; this server takes attachments of at most {settings.max_attachment}.",
            param=param,
        )
