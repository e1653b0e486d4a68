"""What is read from a GGUF's header, and which files are refused before a worker meets them."""

import os
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.errors import ConfigError
from palaver.engines.llama.gguf import inspect
from palaver.engines.pocket import POCKET
from tests.engines.llama.gguf_file import F32, F64, Q8_0, gguf, tensor


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        inspect(path)
    assert caught.value.setting == "model"
    assert str(path) in caught.value.message
    return caught.value.message


def test_the_bundled_model_says_what_it_is() -> None:
    found = inspect(POCKET)
    assert found.architecture == "llama"
    assert found.name == "Pocket chat"
    assert found.context_length == 2048
    assert found.has_chat_template
    assert found.control_tokens == {"<|im_start|>", "<|im_end|>", "<|endoftext|>"}


def test_a_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.gguf")


def test_a_folder(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = gguf(tmp_path / "m.gguf")
    path.chmod(0)
    assert "cannot be read" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"GG", b"not a model at all", b"version https://git-lfs"])
def test_junk(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "junk.gguf"
    path.write_bytes(content)
    assert "is not a GGUF file" in refusal(path)


def test_an_unknown_version(tmp_path: Path) -> None:
    assert "version" in refusal(gguf(tmp_path / "m.gguf", version=1))
    assert "version" in refusal(gguf(tmp_path / "m.gguf", version=3 << 24))  # big-endian


@pytest.mark.parametrize("share", [0.00001, 0.001, 0.01, 0.5, 0.99])
def test_a_truncated_file(tmp_path: Path, share: float) -> None:
    whole = POCKET.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "is truncated" in refusal(path)


def test_the_last_byte_counts(tmp_path: Path) -> None:
    weights = tensor("w", (64, 2), Q8_0, 0)
    path = gguf(tmp_path / "m.gguf", tensors=(weights,), data=b"\0" * 136)
    assert inspect(path).architecture == "llama"
    path.write_bytes(path.read_bytes()[:-1])
    assert f"should have {path.stat().st_size + 1} bytes" in refusal(path)


def test_weights_of_a_type_that_is_newer_than_we_know(tmp_path: Path) -> None:
    path = gguf(tmp_path / "m.gguf", tensors=(tensor("w", (64,), 99, 0),), data=b"\0" * 32)
    assert inspect(path).architecture == "llama"
    assert "is truncated" in refusal(gguf(path, tensors=(tensor("w", (64,), 99, 64),), data=b"\0" * 32))


def test_weights_that_crash_the_worker(tmp_path: Path) -> None:
    path = gguf(tmp_path / "m.gguf", tensors=(tensor("blk.0.w", (4,), F64, 0),), data=b"\0" * 32)
    message = refusal(path)
    assert "64-bit" in message
    assert "blk.0.w" in message


def test_a_file_without_a_language_model(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    assert "no language model" in refusal(gguf(path, {"general.type": "adapter"}))
    assert "no language model" in refusal(gguf(path, {"general.architecture": 7}))


def test_absurd_counts(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 2**60))
    assert "counts more entries" in refusal(path)
    many = tensor("w", (2**63, 2**63, 2**63, 2**63), F32, 2**63)
    assert "is truncated" in refusal(gguf(path, tensors=(many,)))


def test_a_header_with_values_of_other_types_than_expected(tmp_path: Path) -> None:
    odd = {
        "general.name": 5,
        "llama.context_length": "many",
        "split.count": "two",
        "tokenizer.chat_template": [1, 2],
        "tokenizer.ggml.tokens": [1, 2, 3],
        "tokenizer.ggml.token_type": "x",
    }
    found = inspect(gguf(tmp_path / "m.gguf", odd))
    assert (found.name, found.context_length, found.has_chat_template) == ("", 0, False)
    assert found.control_tokens == frozenset()
    assert "alignment" in refusal(gguf(tmp_path / "m.gguf", {"general.alignment": 0}))


def test_control_tokens_are_told_from_text(tmp_path: Path) -> None:
    kinds = {
        "hello": 1,
        "<|im_end|>": 1,  # llama.cpp takes it for a control token whatever the file says
        "</s>": 3,
        "<think>": 4,  # stands in the template below
        "<table>": 4,
        "\n\n": 4,
        "   ": 3,
        "<\uff5cUser\uff5c>": 4,
        "<0x0A>": 6,
    }
    values = {
        "tokenizer.ggml.tokens": list(kinds),
        "tokenizer.ggml.token_type": list(kinds.values()),
        "tokenizer.chat_template": "{{ '<think>' }}\n\n",
    }
    found = inspect(gguf(tmp_path / "m.gguf", values))
    assert found.control_tokens == {"<|im_end|>", "</s>", "<think>", "<\uff5cUser\uff5c>"}
    del values["tokenizer.ggml.token_type"]
    assert inspect(gguf(tmp_path / "m.gguf", values)).control_tokens == {"<|im_end|>", "<\uff5cUser\uff5c>"}


def test_a_model_in_parts(tmp_path: Path) -> None:
    first = gguf(tmp_path / "m-00001-of-00002.gguf", {"split.count": 2, "split.no": 0})
    second = tmp_path / "m-00002-of-00002.gguf"
    with pytest.raises(ConfigError, match=r"00002-of-00002\.gguf does not exist"):
        inspect(first)
    gguf(second, {"split.count": 2, "split.no": 1}, tensors=(tensor("w", (64,), F32, 0),))
    with pytest.raises(ConfigError, match=r"00002-of-00002\.gguf is truncated"):
        inspect(first)
    gguf(second, {"split.count": 2, "split.no": 1}, tensors=(tensor("w", (64,), F32, 0),), data=b"\0" * 256)
    assert inspect(first).architecture == "llama"
    assert "name the first" in refusal(second)


def small_model(folder: Path) -> Path:
    values = {
        "general.alignment": 32,
        "tokenizer.ggml.tokens": ["a", "<|b|>"],
        "tokenizer.ggml.token_type": [1, 3],
        "tokenizer.chat_template": "{{ messages }}",
    }
    return gguf(folder / "m.gguf", values, tensors=(tensor("w", (32, 2), Q8_0, 0),), data=b"\0" * 68)


@given(share=st.floats(0, 1, exclude_max=True), junk=st.binary(min_size=1, max_size=16))
def test_a_damaged_file_is_refused_or_read_but_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, share: float, junk: bytes
) -> None:
    path = small_model(tmp_path_factory.getbasetemp())
    whole = path.read_bytes()
    at = int(len(whole) * share)
    path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    with suppress(ConfigError):
        assert inspect(path).architecture
