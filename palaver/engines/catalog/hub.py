"""Models from the hub: what a repository holds, and its files, fetched into the hub's own cache.

huggingface_hub knows the hub: its API, tokens, cache and errors. Its download (2.4) throws away what it has when it is
interrupted, and compares lengths only; so the transfer is ours: a part that is there is gone on with, in this process
or in a later one, and a file is taken only with the SHA-256 that the hub says.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import msgspec
from filelock import FileLock
from huggingface_hub import (
    HfApi,
    constants,
    get_session,
    get_token,
    hf_hub_url,
    hf_raise_for_status,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from palaver import __version__
from palaver.core.errors import HubError
from palaver.engines.catalog.checksum import sha256_of
from palaver.engines.catalog.quants import HubFile
from palaver.engines.catalog.references import HubName

COMMIT, SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")
SPARE = 64 << 20
"""Bytes that stay free on a disk whatever is fetched."""
TIMEOUT = httpx2.Timeout(30.0, connect=10.0)
"""Seconds: how long the hub may say nothing."""
TRIES = 5
"""How often a transfer is tried in a row without a byte coming."""
WAIT = 1.0
"""Seconds before it is tried again, then twice as long each time."""
ANSWERS = {
    401: "cannot be read: the hub does not accept the token (HF_TOKEN, or the hub's token file)",
    403: "may not be read: {ask}",
    404: "does not have that file any more",
    429: "cannot be had now: the hub asks for fewer requests; try again in some minutes",
}
PASSING = (408, 429, 500, 502, 503, 504)

Progress = Callable[[str, int, int], None]
"""Told what is done (``fetching`` or ``checking``), how many bytes of it are, and of how many."""


class HubRepo(msgspec.Struct, frozen=True, kw_only=True):
    """A repository at one commit. `licence` is as the hub calls it, empty where it says none."""

    repo: str
    commit: str
    revision: str
    files: list[HubFile]
    licence: str = ""


class _WrongFile(Exception):
    """What came is not the file."""


class Hub:
    """The hub that ``HF_ENDPOINT`` names, with the token of ``HF_TOKEN`` or the hub's own token file."""

    def __init__(self) -> None:
        self.address = constants.ENDPOINT
        self._cache = Path(constants.HF_HUB_CACHE)

    def look(self, name: HubName) -> HubRepo:
        """What a repository holds. Raises HubError."""
        try:
            info = HfApi(library_name="palaver", library_version=__version__).model_info(
                name.repo, revision=name.revision, files_metadata=True, timeout=TIMEOUT.read
            )
            files = [
                HubFile(
                    each.rfilename,
                    (each.lfs.size if each.lfs else each.size) or 0,
                    each.lfs.sha256 if each.lfs else "",
                )
                for each in info.siblings or []
                if _is_harmless(each.rfilename)
            ]
        except (HfHubHTTPError, OfflineModeIsEnabled, httpx2.HTTPError, HFValidationError) as error:
            raise self._mapped(error, name.repo) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise HubError(f"What answers at {self.address} is no hub of models.") from error
        tags = [tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")]
        if info.sha is None or not COMMIT.fullmatch(info.sha):
            raise HubError(f"What answers at {self.address} is no hub of models.")
        return HubRepo(
            repo=name.repo,
            commit=info.sha,
            revision=name.revision,
            files=files,
            licence=tags[0] if tags else "",
        )

    def remaining(self, repo: HubRepo, files: tuple[HubFile, ...]) -> int:
        """How many bytes of these files are not here yet."""
        return sum(
            max(0, file.size - _size(self._partial(repo, file)))
            for file in files
            if not self._have(repo, file)
        )

    def check_room(self, repo: HubRepo, files: tuple[HubFile, ...]) -> None:
        """Raises HubError where the disk has no room for what of these files is not here yet."""
        needed, folder = self.remaining(repo, files), self._cache
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if needed and free < needed + SPARE:
            raise HubError(
                f"{repo.repo} needs {needed / 1e9:.1f} GB more, and the disk of {folder} has {free / 1e9:.1f} GB free."
            )

    def fetch(self, repo: HubRepo, file: HubFile, progress: Progress) -> Path:
        """The file in the hub's cache, from there or fetched into it.

        Interrupted, what has come stays, and the next call goes on from there. Raises HubError, also for a file that
        is not what the hub says it is, which is removed.
        """
        if not SHA256.fullmatch(file.sha256):
            raise HubError(f"The hub says no checksum of {file.path}, so it cannot be checked.")
        folder = self._folder(repo)
        pointer = folder / "snapshots" / repo.commit / file.path
        try:
            blob = folder / "blobs" / file.sha256
            for path in (blob.parent, pointer.parent, self._cache / ".locks" / folder.name):
                path.mkdir(parents=True, exist_ok=True)
            with FileLock(self._cache / ".locks" / folder.name / f"{file.sha256}.lock", thread_local=False):
                have = self._have(repo, file)
                if have is not None:
                    if _hash(have, progress) == file.sha256:
                        return self._linked(have, pointer, repo)
                    have.resolve().unlink()  # damaged since it came
                self._transfer(repo, file, progress)
                self._partial(repo, file).replace(blob)
                return self._linked(blob, pointer, repo)
        except httpx2.HTTPError as error:
            raise self._mapped(error, repo.repo) from error
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise HubError(f"The disk of {folder} is full; what has come is kept.") from error
            raise HubError(f"{folder} cannot be written ({error.strerror or error}).") from error

    def _folder(self, repo: HubRepo) -> Path:
        return self._cache / f"models--{repo.repo.replace('/', '--')}"

    def _partial(self, repo: HubRepo, file: HubFile) -> Path:
        return self._folder(repo) / "blobs" / f"{file.sha256}.incomplete"

    def _have(self, repo: HubRepo, file: HubFile) -> Path | None:
        """The file where the cache has it whole, under this commit or another."""
        cached = try_to_load_from_cache(repo.repo, file.path, revision=repo.commit)
        blob = self._folder(repo) / "blobs" / file.sha256
        found = [path for path in (Path(cached) if isinstance(cached, str) else blob, blob) if path.is_file()]
        return found[0] if found else None

    def _linked(self, path: Path, pointer: Path, repo: HubRepo) -> Path:
        """The file where the cache's readers look for it."""
        if not pointer.exists():
            try:
                pointer.unlink(missing_ok=True)  # a link to what is gone
                pointer.symlink_to(os.path.relpath(path, pointer.parent))
            except OSError:  # Windows, where only some users may make links
                path.replace(pointer)
        if repo.revision != repo.commit:
            reference = self._folder(repo) / "refs" / repo.revision
            reference.parent.mkdir(parents=True, exist_ok=True)
            reference.write_text(repo.commit)
        return pointer

    def _transfer(self, repo: HubRepo, file: HubFile, progress: Progress) -> None:
        partial = self._partial(repo, file)
        tries = TRIES
        while True:
            before = _size(partial)
            try:
                self._stream(repo, file, partial, progress)
                return
            except _WrongFile as error:
                partial.unlink()
                raise HubError(f"{file.path} of {repo.repo} {error}. It was removed; try again.") from None
            except (httpx2.TransportError, httpx2.StreamError, HfHubHTTPError) as error:
                if isinstance(error, HfHubHTTPError) and error.response.status_code not in PASSING:
                    raise self._mapped(error, repo.repo) from error
                tries = TRIES - 1 if _size(partial) > before else tries - 1
                if not tries:
                    raise self._mapped(error, repo.repo) from error
                time.sleep(WAIT * 2 ** (TRIES - 1 - tries))

    def _stream(self, repo: HubRepo, file: HubFile, partial: Path, progress: Progress) -> None:
        """Go on with a transfer to its end. Raises _WrongFile where what came is not the file."""
        headers = {"user-agent": f"palaver/{__version__}", "accept-encoding": "identity"}
        if token := get_token():
            headers["authorization"] = f"Bearer {token}"  # which a redirect to another host takes off
        start = _size(partial)
        if start > file.size:
            partial.unlink()
            start = 0
        if start:
            headers["range"] = f"bytes={start}-"
        if start < file.size or not partial.exists():
            url = hf_hub_url(repo.repo, file.path, revision=repo.commit)
            with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT) as response:
                if response.is_error:
                    response.read()
                hf_raise_for_status(response)
                if response.status_code == 206 and not _goes_on(response, start):
                    raise _WrongFile("came from another place than asked for")
                whole = response.status_code != 206  # the server knows no ranges
                with partial.open("wb" if whole else "ab") as out:
                    done = 0 if whole else start
                    progress("fetching", done, file.size)
                    for piece in response.iter_raw():
                        out.write(piece)
                        done += len(piece)
                        progress("fetching", done, file.size)
                        if done > file.size:
                            raise _WrongFile("is longer than the hub says")
            if _size(partial) < file.size:
                raise httpx2.RemoteProtocolError("The body ended before its end.")
        if _hash(partial, progress) != file.sha256:
            raise _WrongFile("does not have the checksum that the hub says")

    def _mapped(self, error: Exception, repo: str) -> HubError:
        """What went wrong, in words. Nothing of a token is repeated."""
        return HubError(f"{repo} {_why(error, repo, self.address)}.")


def _why(error: Exception, repo: str, address: str) -> str:
    token = get_token() is not None
    ask = "your token may not read it" if token else "set HF_TOKEN to a token that may read it"
    match error:
        case GatedRepoError():
            also = "" if token else ", set HF_TOKEN to a token of your account"
            return f"is gated: ask for access at {address}/{repo}{also}, then try again"
        case RevisionNotFoundError():
            return "has no such revision"
        case RepositoryNotFoundError():
            return f"is not on the hub, or it is private: {ask}"
        case HFValidationError():
            return "cannot be the name of a repository"
        case OfflineModeIsEnabled():
            return "cannot be asked for: HF_HUB_OFFLINE is set"
        case HfHubHTTPError():
            status = error.response.status_code
            return ANSWERS.get(
                status, f"cannot be had: the hub at {address} answers with status {status}"
            ).format(ask=ask)
    return f"cannot be had: the hub at {address} cannot be reached ({_reason(error)}); look whether you are online"


def _reason(error: Exception) -> str:
    return str(error).strip(". ") or type(error).__name__


def _goes_on(response: httpx2.Response, start: int) -> bool:
    return response.headers.get("content-range", "").startswith(f"bytes {start}-")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _hash(path: Path, progress: Progress) -> str:
    return sha256_of(path, lambda done, total: progress("checking", done, total))


def _is_harmless(path: str) -> bool:
    """Whether a path that the hub says stays within its repository."""
    return "\\" not in path and not path.startswith("/") and ".." not in path.split("/")
