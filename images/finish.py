"""Last step of a layer with Python packages: drop what never runs in a container, compile what is not compiled yet.

Usage: finish.py FOLDER, which holds packages. Files that an earlier layer finished stay
untouched, so that they do not appear in this layer again. The root file system is read-only when the image runs: what
is not compiled here would be compiled anew by every process.
"""

from __future__ import annotations

import compileall
import shutil
import sys
from importlib.util import cache_from_source
from pathlib import Path
from py_compile import PycInvalidationMode

TESTED = ("numba", "numpy", "pandas", "pyarrow", "pywt", "scipy", "sklearn", "sympy")
"""Packages whose tests no other module of theirs imports."""

NOT_RUN = (
    *("*.pyx", "*.pxd", "*.c", "*.cpp", "*.cu", "*.a", "*.lib"),  # sources of compiled modules, archives for a linker
    *("torch/include", "nvidia/*/include", "pyarrow/include"),  # headers: no compiler is here
    *(f"{package}/**/tests" for package in TESTED),
    "nvidia/nvshmem/lib/*.bc",  # to be linked into kernels that share memory between nodes
    "nvidia/*/lib/libcusolverMg.so.*",  # solvers over several GPUs; PyTorch is linked with libcusolver alone
)
"""Below the folder of packages: what no process of a container reads."""


def drop(packages: Path) -> int:
    """Remove what `NOT_RUN` names; bytes freed."""
    freed = 0
    for pattern in NOT_RUN:
        for path in sorted(packages.glob(pattern if "/" in pattern else f"**/{pattern}")):
            files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
            freed += sum(f.lstat().st_size for f in files)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    return freed


def compile_new(folder: Path) -> int:
    """Compile every module that has no compiled form; how many there were.

    The compiled form is trusted without a look at the source's time: layers keep times to the second only.
    """
    new = [path for path in folder.rglob("*.py") if not Path(cache_from_source(str(path))).exists()]
    for path in new:
        compileall.compile_file(path, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    return len(new)


def main(packages: Path) -> None:
    """Finish the folder of packages."""
    freed = drop(packages)
    count = compile_new(packages)
    sys.stdout.write(f"{packages}: {freed / 1e6:.0f} MB dropped, {count} modules compiled\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
