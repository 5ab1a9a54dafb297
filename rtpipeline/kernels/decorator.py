"""The decorator of every compiled function."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, Literal

from rtpipeline.kernels.arguments import key_of
from rtpipeline.kernels.pack import Pack, load_pack

ErrorModel = Literal["python", "numpy"]

_pack: Pack | None = None
dispatchers: list[Any] = []
"""Every compiled function that numba dispatches in this process."""


def use_pack() -> bool:
    """Let kernels that are imported from now on come from the pack; whether they do.

    They do not where there is no pack for these sources on this machine, or numba has been imported already.
    """
    global _pack
    _pack = None if "numba" in sys.modules else load_pack()
    return _pack is not None


def kernel(*, error_model: ErrorModel = "python") -> Callable[[Callable[..., Any]], Any]:
    """Compile a function, as `numba.njit(cache=True)` does.

    error_model: 'numpy' divides by zero as numpy does, 'python' raises.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        return _compiled(function, error_model) if _pack is None else PackedKernel(function, error_model, _pack)

    return decorate


def _compiled(function: Callable[..., Any], error_model: ErrorModel) -> Any:
    from numba import njit

    dispatcher = njit(cache=True, error_model=error_model)(function)
    dispatchers.append(dispatcher)
    return dispatcher


class PackedKernel:
    """A function with the machine code of the pack for the types it has been packed with, and numba for all others."""

    def __init__(self, function: Callable[..., Any], error_model: ErrorModel, pack: Pack) -> None:
        functools.update_wrapper(self, function)
        self.function, self.error_model, self.pack = function, error_model, pack
        self._ready: dict[tuple[object, ...], Callable[..., Any]] = {}

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """What the function returns for these arguments."""
        if named:
            return self.dispatcher(*arguments, **named)
        key = tuple([key_of(argument) for argument in arguments])
        code = self._ready.get(key)
        if code is None:
            code = self._ready[key] = self.pack.code_of(self.function, key) or self.dispatcher
        return code(*arguments)

    @functools.cached_property
    def dispatcher(self) -> Any:
        """numba's way to the function, which compiles what its own cache does not hold."""
        return _compiled(self.function, self.error_model)

    @property
    def _numba_type_(self) -> Any:
        """For numba, where it compiles a function that calls this one."""
        return self.dispatcher._numba_type_
