"""Machine code linked into this process by LLVM alone.

The code calls numba's runtime (arrays with a count of references, `numba_...`), which is C and loads without the rest
of numba, the C library and Python. LLVM ends the process where a name means nothing to it, so every name is looked up
before.
"""

from __future__ import annotations

import builtins
import ctypes
import logging
import pickle
import sys
from collections.abc import Callable
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

from llvmlite import binding as llvm  # type: ignore[import-untyped]
from llvmlite.binding import ffi  # type: ignore[import-untyped]

from rtpipeline.kernels.pack import Code, numba_folder

log = logging.getLogger(__name__)


def linked(code: Code, function: Callable[..., Any]) -> Callable[..., Any] | None:
    """The code as a function of Python; None where it needs something that is not here."""
    linker = _linker()
    missing = [name for name in code.needs if not llvm.address_of_symbol(name)]
    if missing:
        log.info("packed code of %s needs %s", function.__qualname__, ", ".join(missing))
        return None
    return linker.link(code, function)


@cache
def _linker() -> _Linker:
    return _Linker()


class _Linker:
    def __init__(self) -> None:
        # llvmlite announces every call of LLVM to listeners that nobody has registered
        ffi.lib._lock._cblist.clear()
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        target = llvm.Target.from_triple(llvm.get_process_triple())
        machine = target.create_target_machine(reloc="static", codemodel="jitdefault", jit=True)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._functions = _runtime("_dynfunc")
        self._unpickle = _UNPICKLE(_unpickled)
        _name_runtime(self._functions, ctypes.cast(self._unpickle, ctypes.c_void_p).value or 0)

    def link(self, code: Code, function: Callable[..., Any]) -> Callable[..., Any]:
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code.object_file))
        self._engine.finalize_object()
        kept = []
        for variable, constants in code.environments:
            environment = self._functions.Environment(function.__globals__)  # looked into by code in object mode only
            environment.consts[:] = constants
            address = self._engine.get_global_value_address(variable)
            ctypes.c_void_p.from_address(address).value = id(environment)
            kept.append(environment)
        made: Callable[..., Any] = self._functions.make_function(
            sys.modules[function.__module__],
            function.__name__,
            function.__doc__ or "",
            self._engine.get_function_address(code.entry),
            kept[0],
            (self, kept),
        )
        return made


def _runtime(name: str) -> ModuleType:
    """A C module of numba under its own name, so that numba has the same one when it is imported later."""
    full = f"numba.{name}"
    if full in sys.modules:
        return sys.modules[full]
    path = numba_folder().joinpath(*name.split(".")).with_suffix(EXTENSION_SUFFIXES[0])
    spec = spec_from_file_location(full, path, loader=ExtensionFileLoader(full, str(path)))
    if spec is None or spec.loader is None:
        raise ImportError(f"{full} cannot be loaded")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    # numba imports it as a part of its package, which an entry without the package would prevent
    sys.modules.pop(full, None)
    return module


def _name_runtime(functions: ModuleType, unpickle_address: int) -> None:
    """Tell LLVM what the names in the code mean, as numba does when it starts (`numba.core.base`, `.externals`,
    `.runtime`)."""
    helpers, memory = _runtime("_helperlib"), _runtime("core.runtime._nrt_python")
    memory.memsys_use_cpython_allocator()
    names = {"_Py_NoneStruct": id(None)}
    names |= {
        f"PyExc_{n}": id(v) for n, v in vars(builtins).items() if isinstance(v, type) and issubclass(v, BaseException)
    }
    for c_helpers in (helpers.c_helpers, functions.c_helpers):
        names |= {f"numba_{n}": address for n, address in c_helpers.items()}
    names |= {n if n.startswith("_") else f"NRT_{n}": address for n, address in memory.c_helpers.items()}
    names |= {n: helpers.c_helpers[n] for n in MATHEMATICS}
    names["numba_unpickle"] = unpickle_address
    for name, address in names.items():
        llvm.add_symbol(name, address)


MATHEMATICS = (
    *("acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "cos", "cosh", "exp", "expm1", "fabs"),
    *("floor", "fmod", "log", "log10", "log1p", "pow", "round", "sin", "sinh", "sqrt", "tan", "tanh", "trunc"),
)
"""Functions that numba takes from the C library of Python (`numba.core.intrinsics.INTR_MATH`)."""

_UNPICKLE = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_unpickled_objects: dict[tuple[int, bytes], object] = {}


def _unpickled(address: int, size: int, _digest: int) -> object:
    """A constant of the code (a class, an array's type); kept, as numba's own function keeps it."""
    text = ctypes.string_at(address, size)
    key = (address, text)
    if key not in _unpickled_objects:
        _unpickled_objects[key] = pickle.loads(text)
    return _unpickled_objects[key]
