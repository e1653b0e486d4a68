"""What is checked before anything is fetched from the hub; fetching itself is in tests/cli/test_models_hub.py."""

from pathlib import Path
from typing import NamedTuple

import pytest

from palaver.core.errors import HubError
from palaver.engines.catalog.hub import Hub, HubRepo
from palaver.engines.catalog.quants import HubFile


class Usage(NamedTuple):
    total: int
    used: int
    free: int


FILES = (
    HubFile("a-00001-of-00002.gguf", 3_000_000_000, "a" * 64),
    HubFile("a-00002-of-00002.gguf", 10**9, "b" * 64),
)
REPO = HubRepo(repo="a/b", commit="c" * 40, revision="main", files=list(FILES))


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    hub = Hub()
    hub._cache = tmp_path / "not" / "there" / "yet"
    return hub


@pytest.mark.parametrize(("free", "is_enough"), [(5 * 10**9, True), (4 * 10**9, False), (10**9, False)])
def test_the_disk_must_have_room_for_all_parts(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, free: int, is_enough: bool
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage(10**12, 0, free))
    if is_enough:
        hub.check_room(REPO, FILES)
        return
    with pytest.raises(HubError, match=r"a/b needs 4\.0 GB more, and the disk of .* has \d\.0 GB free"):
        hub.check_room(REPO, FILES)


def test_what_has_come_needs_no_room(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = hub._cache / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    with (blobs / f"{'a' * 64}.incomplete").open("wb") as file:
        file.truncate(2_500_000_000)
    (blobs / ("b" * 64)).touch()
    assert hub.remaining(REPO, FILES) == 500_000_000
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage(10**12, 0, 600_000_000))
    hub.check_room(REPO, FILES)


@pytest.mark.parametrize("sha256", ["", "short", "A" * 64, "../" * 21 + "x"])
def test_a_file_without_a_checksum_is_not_fetched(hub: Hub, sha256: str) -> None:
    with pytest.raises(HubError, match="no checksum"):
        hub.fetch(REPO, HubFile("a.gguf", 3, sha256), lambda *_: None)
