"""Nothing in the repository tells of the machine it was written on, or names a registry to install from."""

import json
import re

import pytest

from tests.house.files import ROOT, project_files

# Written so that this file does not match them.
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(?:home|opt|root|tmp|work|Users)/[\w.]")
REGISTRY = re.compile(
    r"pypi[.]org/simple|files[.]pythonhosted[.]org|registry[.]npmjs[.]org|registry[.]yarnpkg[.]com"
    r"|--(?:extra-)?index[-]url|--find[-]links",
)


def traces(text: str) -> list[str]:
    """The machine paths and registry addresses in `text`, each with the number of its line."""
    return [
        f"{number}: {line.strip()[:100]}"
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line) or REGISTRY.search(line)
    ]


@pytest.mark.parametrize(
    "line",
    [
        "see " + "/".join(["", "work", "main", "x"]),
        "'" + "/".join(["", "home", "ada", "x"]) + "'",
        "file://" + "/".join(["", "opt", "wheels"]),
        "https://pypi." + "org/simple/rich",
        "pip install --index" + "-url x",
    ],
)
def test_a_trace_is_found(line: str) -> None:
    assert traces(f"first\n{line}\n") == [f"2: {line}"]


@pytest.mark.parametrize(
    "line", ["./tmp/x", "https://example.org/home/x", "a/work/b", "$HOME/opt/x", "root/tmp"]
)
def test_an_innocent_line_is_none(line: str) -> None:
    assert traces(line) == []


def test_no_file_holds_a_machine_path_or_a_registry_address() -> None:
    found = []
    for path in project_files():
        data = path.read_bytes()
        if b"\0" not in data:
            found += [f"{path.relative_to(ROOT)}:{trace}" for trace in traces(data.decode("utf-8"))]
    assert not found, "\n".join(found)


def test_locks_of_node_packages_say_what_and_not_where_from() -> None:
    locks = [path for path in project_files() if path.name == "package-lock.json"]
    assert locks
    for path in locks:
        packages = json.loads(path.read_text())["packages"]
        named = {name: entry for name, entry in packages.items() if name}
        assert named
        assert all(entry["integrity"] for entry in named.values())
        assert not [name for name, entry in named.items() if "resolved" in entry]
