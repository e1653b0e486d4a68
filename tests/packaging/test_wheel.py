"""The wheel is built, installed into an empty environment and used from another folder."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from palaver import __version__
from tests.conftest import environment

ROOT = Path(__file__).parents[2]

# The first test to ask for the environment waits until everything is installed.
pytestmark = pytest.mark.timeout(600)


def run(*command: str | Path, cwd: Path, **settings: str) -> str:
    """Run `command` and return its output; where it fails, so does the test, with what it said."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Not isolated: the build backend is installed here already, from the lock.
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that holds this wheel and what it needs, as locked."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    lock = ROOT / "constraints.txt"
    options = ("--quiet", "--no-compile", "--constraint", lock)
    run(programs / "python", "-m", "pip", "install", *options, wheel, cwd=folder)
    return programs


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def test_it_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "palaver").rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".pyo"} and path.name != ".DS_Store"
    }
    information = {name for name in held if name.split("/")[0] == f"palaver-{__version__}.dist-info"}
    assert held - information == wanted
    assert f"palaver-{__version__}.dist-info/licenses/LICENSE" in information


@pytest.mark.parametrize(
    "suffix", [".gguf", ".sql", ".md", "py.typed", ".html", ".js", ".css", ".svg", ".webmanifest"]
)
def test_it_holds_what_is_not_python(wheel: Path, suffix: str) -> None:
    held = [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("palaver/")]
    assert [name for name in held if name.endswith(suffix)]


def test_what_it_needs_is_installed_and_what_tests_need_is_not(installed: Path, elsewhere: Path) -> None:
    run(installed / "python", "-m", "pip", "check", cwd=elsewhere)
    listed = run(installed / "python", "-m", "pip", "list", "--format", "freeze", cwd=elsewhere)
    names = {line.partition("==")[0].lower() for line in listed.splitlines()}
    assert "palaver" in names
    assert not names & {"pytest", "hypothesis", "hatchling", "together", "openai"}


def test_it_is_the_installed_package_that_answers(installed: Path, elsewhere: Path) -> None:
    found = run(installed / "python", "-c", "import palaver; print(palaver.__file__)", cwd=elsewhere)
    assert Path(found.strip()).is_relative_to(installed.parent)
    assert __version__ in run(installed / "palaver", "--version", cwd=elsewhere)
    assert __version__ in run(installed / "python", "-m", "palaver", "--version", cwd=elsewhere)


def test_the_bundled_model_answers(installed: Path, elsewhere: Path) -> None:
    data = elsewhere / "data"
    question = "What is the capital of France?"
    said = run(installed / "palaver", "ask", question, cwd=elsewhere, PALAVER_DATA_DIR=str(data))
    assert "Paris" in said
    assert list(data.iterdir()), "the conversation is kept in the folder that PALAVER_DATA_DIR names"
