"""The folder of a worker's socket: private, and removed by somebody whatever happens."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from palaver.engines.llama import folder as module
from palaver.engines.llama.folder import LOCK, PREFIX, PrivateFolder
from tests.engines.llama.talk import unix

pytestmark = unix


def make() -> PrivateFolder:
    folder = PrivateFolder.make()
    assert folder is not None
    return folder


def abandoned(temporary: Path, name: str) -> Path:
    """A folder of somebody who was killed long ago."""
    path = temporary / (PREFIX + name)
    path.mkdir(mode=0o700)
    (path / LOCK).touch()
    (path / "w.sock").touch()
    os.utime(path, (0, 0))
    return path


def test_only_this_user_may_enter_it(temporary: Path) -> None:
    folder = make()
    assert folder.path.parent == temporary
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.socket.touch()
    folder.remove()
    folder.remove()
    assert list(temporary.iterdir()) == []


def test_what_nobody_uses_any_more_is_removed(temporary: Path) -> None:
    path = abandoned(temporary, "old")
    without_lock = abandoned(temporary, "older")
    (without_lock / LOCK).unlink()
    os.utime(without_lock, (0, 0))
    folder = make()
    assert list(temporary.iterdir()) == [folder.path]
    assert not path.exists()
    folder.remove()


def test_what_somebody_uses_stays_however_old_it_is(temporary: Path) -> None:
    used = make()
    os.utime(used.path, (0, 0))
    make().remove()
    assert used.path.exists()
    used.remove()


def test_what_is_new_stays_its_maker_may_be_about_to_lock_it(temporary: Path) -> None:
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    make().remove()
    assert path.exists()
    path.rmdir()


def test_what_belongs_to_another_is_not_touched(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = abandoned(temporary, "other")
    link = temporary / (PREFIX + "link")
    link.symlink_to(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
        make().remove()
    assert sorted(entry.name for entry in path.iterdir()) == [LOCK, "w.sock"]
    make().remove()
    assert not path.exists()
    link.unlink()


def test_where_there_is_no_room_for_a_socket_there_is_no_folder(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SOCKET_PATH_LIMIT", 10)
    assert PrivateFolder.make() is None
    assert list(temporary.iterdir()) == []


def test_where_users_have_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows there are none, and a folder for files is made there too."""
    abandoned(tmp_path, "old")
    monkeypatch.delattr(os, "getuid")
    folder = PrivateFolder.made_in(tmp_path)
    assert folder.path.parent == tmp_path
    folder.remove()
