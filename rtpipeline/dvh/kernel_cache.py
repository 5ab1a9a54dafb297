"""Kernels from numba's cache without numba's compiler, for commands that should start at once.

Before it loads a compiled function from its cache, numba prepares what only its compiler needs: it registers every
operation that it knows, and looks for BLAS by importing scipy.linalg (0.3 CPU s together, a third of the whole
command). A cached kernel needs the runtime of numba alone; where one has to be compiled, the compiler prepares itself.
"""

from __future__ import annotations

import numba
from llvmlite.binding import ffi  # type: ignore[import-untyped]
from numba.core import caching
from numba.core.runtime import rtsys

TESTED = ("0.68.1",)
"""Versions of numba in which this was tried: a runtime that is not ready ends the process. Others go their own way."""


def load_without_compiler() -> None:
    """Let this process load kernels from their cache without preparing the compiler."""
    if numba.__version__ in TESTED:
        caching.Cache.load_overload = _load_overload  # type: ignore[method-assign]
        # numba announces every call of LLVM to listeners that nobody has registered: thousands for each kernel
        ffi.lib._lock._cblist.clear()


def _load_overload(cache: caching.Cache, signature: object, target: object) -> object:
    """As numba's own, but that it does not refresh the target's registries."""
    rtsys.initialize(target)
    with cache._guard_against_spurious_io_errors():
        return cache._load_overload(signature, target)
