"""What every test shares: an environment without the settings of whoever runs it, and a gate for programs."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

SETTINGS = ("PALAVER_", "OPENAI_", "TOGETHER_")
"""What the names of environment variables begin with that palaver or the official SDKs read."""

# The speed of a machine that is shared with others is no property of the code.
settings.register_profile("palaver", deadline=None)
settings.load_profile("palaver")


def environment(**changes: str) -> dict[str, str]:
    """This process's environment for a child: without settings, and without a path to this source tree."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS) and k != "PYTHONPATH"}
    return kept | changes


def require_program(name: str) -> str:
    """Return the path of the program `name`. Where there is none, skip the test, or fail it if CI is set."""
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, and with CI set nothing is skipped")
        pytest.skip(reason)
    return path


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the user's settings, and keep tests that take the default folders away from the user's own."""
    for name in [name for name in os.environ if name.startswith(SETTINGS)]:
        monkeypatch.delenv(name)
    for kind in ("DATA", "CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / "xdg" / kind.lower()))
