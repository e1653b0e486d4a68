"""One setting changed in the configuration file; all else in it stays as its owner wrote it."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from palaver.config.loading import SettingError


def write_setting(file: Path, setting: str, value: str) -> str | None:
    """Set a setting in this file, which need not exist yet; what was there before, or None.

    The file is replaced at once: whoever reads it meanwhile sees it as it was or as it will be. Raises SettingError
    where it cannot be read or written.
    """
    try:
        document = tomlkit.parse(file.read_text(encoding="utf-8")) if file.exists() else tomlkit.document()
        before = document.get(setting)
        document[setting] = value
        _replace(file, tomlkit.dumps(document))
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise SettingError("config", f"{file} cannot be written: {error}") from None
    return None if before is None else str(before)


def _replace(file: Path, text: str) -> None:
    target = file.resolve()  # of a link, what it leads to
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        if target.exists():
            Path(temporary).chmod(target.stat().st_mode)
        Path(temporary).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
