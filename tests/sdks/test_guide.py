"""The examples of Together's guide page on long-running conversations, by base URL and key alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from openai import OpenAI

from tests.conftest import require_program
from tests.sdks.conftest import NODE, sdk_environment

GUIDE = Path(__file__).parent / "guide"
ANSWER = "Empire State Building"
PLACE = "Manhattan"


def run(command: list[str], address: str) -> str:
    done = subprocess.run(
        command, env=sdk_environment(address), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.parametrize("script", ["together_python.py", "openai_python.py"])
def test_python(script: str, address: str) -> None:
    answer = run([sys.executable, str(GUIDE / script)], address)
    assert ANSWER in answer
    assert PLACE in answer


@pytest.mark.parametrize("script", ["together_typescript.mjs", "openai_typescript.mjs"])
def test_typescript(script: str, address: str, node: str, tmp_path: Path) -> None:
    # node looks for packages beside the script.
    (tmp_path / "node_modules").symlink_to(NODE / "node_modules", target_is_directory=True)
    answer = run([node, str(shutil.copy(GUIDE / script, tmp_path))], address)
    assert ANSWER in answer
    assert PLACE in answer


def test_curl(address: str) -> None:
    require_program("curl")
    answer = json.loads(run(["sh", str(GUIDE / "curl.sh")], address))
    assert PLACE in answer["choices"][0]["message"]["content"]
    assert answer["prompt"] == []
    assert answer["model"] == "pocket"


def test_without_the_history_the_answer_is_another(address: str) -> None:
    client = OpenAI(base_url=address + "/v1", api_key="any")
    answer = client.chat.completions.create(
        model="any", messages=[{"role": "user", "content": "That sounds fun! Where is it?"}]
    )
    assert PLACE not in (answer.choices[0].message.content or "")


@pytest.mark.parametrize("sdk", ["together", "openai"])
def test_typescript_streams(sdk: str, address: str, node: str) -> None:
    got = json.loads(run([node, str(NODE / "streaming.mjs"), sdk], address))
    assert "Zaraphine" in got["turns"][-1]["text"]
    assert "Paris" in got["plain"]
    assert [turn["finish"] for turn in got["turns"]] == ["stop"] * 4
    assert all(turn["usage"]["completion_tokens"] > 0 for turn in got["turns"])
    assert got["conversation"].startswith("conv_")
    assert got["turn"].startswith("chatcmpl-")
    assert "pocket" in got["models"]
