"""A store on disk: outputs that either exist whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rtpipeline.errors import UsageError
from rtpipeline.store.keys import key

TEMPORARY_PREFIX = ".partial-"


def temporary_sibling(folder: Path) -> Path:
    """An empty folder beside `folder`, on the same file system, that `publish` renames to it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}{folder.name}-", dir=folder.parent))


def publish(scratch: Path, folder: Path) -> None:
    """Rename `scratch` to `folder`; an older output there makes way only at that moment."""
    scratch.chmod(0o755)
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}old-", dir=folder.parent))
        folder.rename(old / folder.name)
        scratch.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        scratch.rename(folder)


@contextlib.contextmanager
def passing_folder(beside: Path) -> Iterator[Path]:
    """An empty folder on the file system of `beside` that is removed when the block ends, unless it was renamed."""
    scratch = temporary_sibling(beside)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """An empty folder that becomes `folder` when the block has ended, and is removed when an error leaves it."""
    with passing_folder(folder) as scratch:
        yield scratch
        publish(scratch, folder)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that readers see either as before or whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def sweep(cohort: Path) -> int:
    """Remove what killed processes left behind below a cohort; the number of things removed."""
    count = 0
    for pattern in ("*", "*/*", "courses/*/*", "courses/*/*/*", "runs/*/*"):
        for path in cohort.glob(pattern):
            if not path.name.startswith(TEMPORARY_PREFIX):
                continue
            count += 1
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    return count


class CohortFolder:
    """The folders of one cohort below a store."""

    def __init__(self, store: Path, cohort: str) -> None:
        self.store = store
        self.cohort = cohort
        self.root = store / key(cohort)

    @property
    def private(self) -> Path:
        """The only place where a patient, a path or an original UID appears."""
        return self.root / "private"

    @property
    def results(self) -> Path:
        """The tables that people open, one folder a run."""
        return self.root / "results"

    def run(self, run_id: str) -> Path:
        """Plan, ledger and logs of one run."""
        return self.store / key(self.cohort, "runs", run_id)

    def make(self) -> None:
        """Create the cohort's folders; `private` is for its owner only."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.private.mkdir(mode=0o700, exist_ok=True)

    @contextlib.contextmanager
    def lock(self, name: str = "lock") -> Iterator[None]:
        """Hold the cohort against a second run on this machine.

        Raises
        ------
        UsageError: another run holds it.
        """
        self.make()
        with (self.private / name).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"cohort {self.cohort} in {self.store} is in use by another run; wait for it to end, "
                    "or give another --cohort or --output."
                ) from None
            yield
