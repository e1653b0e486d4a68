"""The shapes in which clients send items: OpenAI's, as far as something here stands for them."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from palaver.core.errors import InvalidRequest, UnsupportedParameter
from palaver.core.message import (
    AudioData,
    AudioPart,
    AudioUrlPart,
    FileData,
    FilePart,
    ImagePart,
    ImageUrl,
    MediaUrl,
    Part,
    RefusalPart,
    TextPart,
    VideoPart,
)

InputRole = Literal["user", "assistant", "system", "developer"]
Given = Annotated[str, Meta(extra_json_schema={"minLength": 1})]
Status = Literal["in_progress", "completed", "incomplete"]
Phase = Literal["commentary", "final_answer"]
Detail = Literal["auto", "low", "high", "original"]

TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
"""The parts that are text; which it is follows from who said it."""
MEDIA = ("input_image", "input_file", "input_audio", "video_url", "audio_url")
PARTS = (*TEXTS, "refusal", *MEDIA)
UNSUPPORTED_PARTS = ("computer_screenshot",)


class _Part(msgspec.Struct, frozen=True, tag_field="type"):
    pass


class InputText(_Part, frozen=True, tag="input_text"):
    text: str


class OutputText(_Part, frozen=True, tag="output_text"):
    text: str


class PlainText(_Part, frozen=True, tag="text"):
    text: str


class SummaryText(_Part, frozen=True, tag="summary_text"):
    text: str


class ReasoningTextPart(_Part, frozen=True, tag="reasoning_text"):
    text: str


class Refusal(_Part, frozen=True, tag="refusal"):
    refusal: str


class InputImage(_Part, frozen=True, tag="input_image"):
    image_url: str | None = None
    file_id: str | None = None
    detail: Detail | None = None


class InputFile(_Part, frozen=True, tag="input_file"):
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None


class InputAudio(_Part, frozen=True, tag="input_audio"):
    input_audio: AudioData


class InputVideoUrl(_Part, frozen=True, tag="video_url"):
    video_url: MediaUrl


class InputAudioUrl(_Part, frozen=True, tag="audio_url"):
    audio_url: MediaUrl


class Screenshot(_Part, frozen=True, tag="computer_screenshot"):
    pass


InputPart = (
    InputText
    | OutputText
    | PlainText
    | SummaryText
    | ReasoningTextPart
    | Refusal
    | InputImage
    | InputFile
    | InputAudio
    | InputVideoUrl
    | InputAudioUrl
    | Screenshot
)
InputContent = str | list[InputPart]


class MessageInput(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said. `phase` and `status` are taken and say nothing here."""

    role: InputRole
    content: InputContent
    id: str | None = None
    status: Status | None = None
    phase: Phase | None = None


class Summary(msgspec.Struct, frozen=True):
    text: str
    type: Literal["summary_text"] = "summary_text"


class Thought(msgspec.Struct, frozen=True):
    text: str
    type: Literal["reasoning_text"] = "reasoning_text"


class ReasoningInput(msgspec.Struct, frozen=True, kw_only=True):
    """What the model thought: its `content`, and without that the `summary`. `encrypted_content` is not read."""

    id: str | None = None
    summary: list[Summary] | None = None
    content: list[Thought] | None = None
    status: Status | None = None


class CallInput(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a function by the model; `arguments` is JSON text."""

    call_id: str
    name: Given
    arguments: str
    id: str | None = None
    status: Status | None = None


class OutputInput(msgspec.Struct, frozen=True, kw_only=True):
    """What a function answered."""

    call_id: Given
    output: InputContent
    id: str | None = None
    status: Status | None = None


class ReferenceInput(msgspec.Struct, frozen=True, kw_only=True):
    """An item that is stored already."""

    id: Given


class CompactionInput(msgspec.Struct, frozen=True, kw_only=True):
    """What stands for a conversation up to here."""

    encrypted_content: str
    id: str | None = None


SentItem = MessageInput | ReasoningInput | CallInput | OutputInput | ReferenceInput | CompactionInput

SHAPES: dict[str, type[SentItem]] = {
    "message": MessageInput,
    "reasoning": ReasoningInput,
    "function_call": CallInput,
    "function_call_output": OutputInput,
    "item_reference": ReferenceInput,
    "compaction": CompactionInput,
}
UNSUPPORTED = frozenset(
    [
        "additional_tools",
        "apply_patch_call",
        "apply_patch_call_output",
        "code_interpreter_call",
        "compaction_trigger",
        "computer_call",
        "computer_call_output",
        "configuration_update",
        "custom_tool_call",
        "custom_tool_call_output",
        "file_search_call",
        "image_generation_call",
        "local_shell_call",
        "local_shell_call_output",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "program",
        "program_output",
        "shell_call",
        "shell_call_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    ]
)
"""Items that OpenAI has besides: of tools that run at its own place, and how to use those."""
WORDS = {
    "role": get_args(InputRole),
    "status": get_args(Status),
    "phase": get_args(Phase),
    "content[].type": PARTS,
    "output[].type": PARTS,
    "content[].detail": get_args(Detail),
    "output[].detail": get_args(Detail),
}
REASONING_WORDS = {
    "status": get_args(Status),
    "content[].type": ("reasoning_text",),
    "summary[].type": ("summary_text",),
}


def read_content(content: InputContent, at: str) -> str | list[Part] | None:
    """Content as messages have it: a single text is plain, and no part at all is none. `at` is its place in the body.

    Raises InvalidRequest and UnsupportedParameter.
    """
    if isinstance(content, str):
        return content
    return joined([_part(part, f"{at}[{place}]") for place, part in enumerate(content)])


def joined(parts: list[Part]) -> str | list[Part] | None:
    if len(parts) == 1 and isinstance(parts[0], TextPart):
        return parts[0].text
    return parts or None


def _part(part: InputPart, at: str) -> Part:
    match part:
        case Refusal(refusal=refusal):
            return RefusalPart(refusal)
        case InputImage():
            return _image(part, at)
        case InputFile():
            return _file(part, at)
        case InputAudio(input_audio=audio):
            return AudioPart(audio)
        case InputVideoUrl(video_url=video):
            return VideoPart(video)
        case InputAudioUrl(audio_url=address):
            return AudioUrlPart(address)
        case Screenshot():
            raise UnsupportedParameter(
                f"`{at}.type`: no {type(part).__struct_config__.tag} is taken here.", param=f"{at}.type"
            )
    return TextPart(part.text)


def _image(part: InputImage, at: str) -> ImagePart:
    """A picture; one that is named by its id has that for its address."""
    url = part.image_url if part.image_url is not None else part.file_id
    if not url:
        raise empty(f"{at}.image_url")
    return ImagePart(ImageUrl(url, None if part.detail == "auto" else part.detail))


def _file(part: InputFile, at: str) -> FilePart:
    if part.file_url is not None:
        raise UnsupportedParameter(
            f"`{at}.file_url`: this server fetches no files. Send the bytes as `{at}.file_data`.",
            param=f"{at}.file_url",
        )
    if not (part.file_data or part.file_id):
        raise empty(f"{at}.file_data")
    return FilePart(FileData(part.file_data, part.file_id, part.filename))


def empty(param: str) -> InvalidRequest:
    return InvalidRequest(f"Input required: `{param}` is missing or empty.", param=param)
