"""Compiled kernels that an image brings on a read-only root file system.

numba uses a cache only where it can write, and compiles everything anew in another place when it cannot. So each file
of the cache gets a link in a temporary folder, which becomes the cache: what is there is loaded through the links, what
is not (on another kind of processor) is compiled and written beside them.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"


def use_shipped_kernels(environment: MutableMapping[str, str]) -> None:
    """Point NUMBA_CACHE_DIR at a folder of links when the one it names cannot be written; before numba is imported.

    Without a place for links nothing changes: numba then compiles as it does without a cache.
    """
    named = environment.get(VARIABLE)
    if not named or not (shipped := Path(named)).is_dir() or os.access(shipped, os.W_OK):
        return
    try:
        environment[VARIABLE] = str(link_kernels(shipped, Path(tempfile.gettempdir())))
    except OSError:
        return


def link_kernels(shipped: Path, temporary: Path) -> Path:
    """A folder below `temporary` with a link to every file of `shipped`; the same one for the same files.

    Raises PermissionError when the folder is somebody else's.
    """
    files = sorted(path for path in shipped.rglob("*") if path.is_file())
    stamp = hashlib.sha256(str(shipped).encode())
    for path in files:
        found = path.stat()
        stamp.update(f"\n{path.relative_to(shipped)} {found.st_size} {found.st_mtime_ns}".encode())
    own = temporary / f"rtpipeline-kernels-{os.getuid()}-{stamp.hexdigest()[:12]}"
    own.mkdir(mode=0o700, exist_ok=True)
    if own.stat().st_uid != os.getuid():  # in a folder for everybody, a name can be taken
        raise PermissionError(f"{own} belongs to another user")
    for path in files:
        link = own / path.relative_to(shipped)
        link.parent.mkdir(exist_ok=True)
        if not link.exists():
            _link(path, link)
    return own


def _link(path: Path, link: Path) -> None:
    try:
        link.symlink_to(path)
    except FileExistsError:  # another process of this container is a moment ahead
        return
