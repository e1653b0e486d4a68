"""The pages of docs/recipes: each is in the index, short, and has its test; what they show of the SDKs runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import environment
from tests.house.files import ROOT
from tests.sdks.conftest import serving

FOLDER = ROOT / "docs" / "recipes"
PAGES = sorted(page.name for page in FOLDER.glob("*.md") if page.name != "README.md")
LINK = re.compile(r"]\(([^)#]+)\)")
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_short_and_a_test_names_it(page: str) -> None:
    assert len((FOLDER / page).read_text().splitlines()) <= 60
    names = [name for test in Path(__file__).parent.glob("test_*.py") for name in _named(test)]
    assert page in names


def _named(test: Path) -> list[str]:
    """The pages that the first lines of a test say it is about."""
    return re.findall(r"[\w-]+\.md", test.read_text()[:200])


def test_the_index_has_every_page_and_all_links_lead_somewhere() -> None:
    listed = LINK.findall((FOLDER / "README.md").read_text())
    assert sorted(name for name in listed if "/" not in name) == PAGES
    for page in FOLDER.glob("*.md"):
        for link in LINK.findall(page.read_text()):
            assert (FOLDER / link).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize(("page", "messages"), [("openai-sdk.md", 6), ("together-sdk.md", 2)])
def test_the_sdks_examples_run(tmp_path: Path, page: str, messages: int) -> None:
    """Each makes the conversation that it names, of the speaker that it names."""
    (example,) = PYTHON.findall((FOLDER / page).read_text())
    with serving(tmp_path) as address:
        done = subprocess.run(
            [sys.executable, "-c", example],
            env=environment(
                OPENAI_BASE_URL=address + "/v1",
                OPENAI_API_KEY="any",
                TOGETHER_BASE_URL=address,
                TOGETHER_API_KEY="any",
            ),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        with urllib.request.urlopen(f"{address}/v1/conversations?user=ann") as response:
            (made,) = json.load(response)["data"]
    assert (made["name"], made["messages"]) == ("trip to Lisbon", messages)
