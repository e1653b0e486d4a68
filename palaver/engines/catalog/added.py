"""The models that were added: which name stands for which file. Kept in one small file of the data directory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from filelock import FileLock

from palaver.core.errors import ConfigError

FILE = "models.json"
VERSION = 1


class AddedFile(msgspec.Struct, frozen=True):
    """A file of a model. `sha256` is that of its content when it was added, `size` is in bytes."""

    path: str
    size: int
    sha256: str


class AddedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was added. Of a split one `files` holds all parts, the first first.

    `source` says where it comes from: ``hf:OWNER/REPO:FILE``, or the path it was found at. `ours` says that its file
    was fetched by palaver, or lies in the hub's cache, and may be deleted with it. `added_at` is in seconds since
    1970.
    """

    name: str
    files: list[AddedFile]
    source: str = ""
    licence: str = ""
    about: str = ""
    added_at: float = 0.0
    ours: bool = False

    @property
    def path(self) -> Path:
        """What a worker is started with."""
        return Path(self.files[0].path)

    @property
    def size(self) -> int:
        """All its files together, in bytes."""
        return sum(file.size for file in self.files)

    def missing(self) -> list[Path]:
        """Its files that are not there any more."""
        return [Path(file.path) for file in self.files if not Path(file.path).is_file()]


class _Record(msgspec.Struct, kw_only=True):
    version: int = VERSION
    models: list[AddedModel] = []


class AddedModels:
    """The record of added models in a data directory. It need not exist yet. Any number of processes may use it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def all(self) -> list[AddedModel]:
        """In the order in which they were added. Raises ConfigError for a record that cannot be read."""
        try:
            record = msgspec.json.decode(self.path.read_bytes(), type=_Record)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigError(
                f"{self.path} cannot be read ({error.strerror}).", setting="data_dir"
            ) from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{self.path} is damaged ({error}); move it away and add the models again.",
                setting="data_dir",
            ) from error
        if record.version > VERSION:
            raise ConfigError(f"{self.path} was written by a newer version of palaver.", setting="data_dir")
        if any(not model.files for model in record.models):
            raise ConfigError(f"{self.path} is damaged: it holds a model without a file.", setting="data_dir")
        return record.models

    def named(self, name: str) -> AddedModel | None:
        """The model of this name."""
        return next((model for model in self.all() if model.name == name), None)

    def add(self, model: AddedModel) -> None:
        """Add a model, or put it in the place of the one of its name. Raises ConfigError."""
        with self._changing() as models:
            models[:] = [each for each in models if each.name != model.name] + [model]

    def remove(self, name: str) -> None:
        """Forget a model, if there is one of that name. Its file stays. Raises ConfigError."""
        with self._changing() as models:
            models[:] = [model for model in models if model.name != name]

    @contextmanager
    def _changing(self) -> Iterator[list[AddedModel]]:
        """The models, to be changed in place. Whoever reads meanwhile sees them as they were or as they will be."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f".{FILE}.lock"), timeout=10, thread_local=False):
                models = self.all()
                yield models
                _write(self.path, msgspec.json.format(msgspec.json.encode(_Record(models=models)), indent=2))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigError(f"{self.path} cannot be written ({reason}).", setting="data_dir") from error


def _write(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content + b"\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
