"""Compile the numba kernels into NUMBA_CACHE_DIR, or take them from an earlier build of the same sources.

Usage: kernels.py FOLDER, which keeps compiled kernels from build to build, one subfolder for each state of the sources.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path


def sources_digest() -> str:
    """Digest of every module of rtpipeline that the kernels are made of or import, and of the compiler."""
    import rtpipeline.dvh.warm

    parts = [f"{name} {version(name)}" for name in ("numba", "llvmlite", "numpy")]
    parts += [sys.version, os.environ.get("NUMBA_CPU_NAME", ""), os.environ.get("NUMBA_CPU_FEATURES", "of the host")]
    parts += [rtpipeline.dvh.warm.__file__]
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] == "rtpipeline" and module.__file__:
            parts.append(f"{name} {hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def main(kept: Path) -> None:
    """Fill NUMBA_CACHE_DIR, for everybody to read."""
    target = Path(os.environ["NUMBA_CACHE_DIR"])
    earlier = kept / sources_digest()
    if earlier.is_dir():
        shutil.copytree(earlier, target, dirs_exist_ok=True)
    else:
        from rtpipeline.dvh.warm import warm

        target.mkdir(parents=True, exist_ok=True)
        warm()
        new = earlier.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(target, new)
        new.rename(earlier)
    from rtpipeline.kernels.packing import pack_kernels

    pack_kernels()  # also when the kernels are those of an earlier build: a pack holds for every source as it is
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
