"""The files of the project: what git tracks, and what it would track if it were added."""

import subprocess
from functools import cache
from pathlib import Path

from tests.conftest import require_program

ROOT = Path(__file__).parents[2]


@cache
def project_files() -> tuple[Path, ...]:
    """Every file that is, or with the next `git add --all` would be, in the repository; sorted."""
    git = require_program("git")
    # In a container the folder often belongs to another user, which git refuses unless told otherwise.
    command = [git, "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = {ROOT / name for name in listed.split("\0") if name}
    return tuple(sorted(path for path in paths if path.is_file()))
