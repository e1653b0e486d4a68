"""Names of conversations and models, and which conversation --continue means."""

from datetime import datetime
from itertools import islice

import pytest

from palaver.cli.names import model_name, new_names, to_continue


def test_a_new_conversation_is_named_for_its_beginning() -> None:
    names = list(islice(new_names(datetime(2026, 11, 23, 14, 2)), 3))
    assert names == ["chat-2026-11-23-1402", "chat-2026-11-23-1402-2", "chat-2026-11-23-1402-3"]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("pocket", "pocket"),
        ("models/qwen3-4b.Q4_K_M.gguf", "qwen3-4b.Q4_K_M"),
        ("scripted:some/file.jsonl", "scripted"),
        ("scripted", "scripted"),
        ("ollama/llama3.2", "ollama/llama3.2"),
    ],
)
def test_the_name_a_running_palaver_has_for_a_model(asked: str, name: str) -> None:
    assert model_name(asked) == name


def conversation(id: str, name: str | None, source: str | None) -> dict[str, str | None]:
    return {"id": id, "name": name, "source": source}


def test_continue_means_the_last_that_was_named_or_begun_here() -> None:
    app = conversation("conv_app", None, "OpenAI/Python 3.54.0")
    named = conversation("conv_named", "trip", "OpenAI/Python 3.54.0")
    ours = conversation("conv_ours", None, "palaver/0.1.0")
    assert to_continue([app, ours, named]) == "conv_ours"
    assert to_continue([app, named, ours]) == "conv_named"
    assert to_continue([app, conversation("conv_x", None, None)]) is None
    assert to_continue([]) is None
