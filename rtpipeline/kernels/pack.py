"""The file of machine code: where it lies, for which sources and machine it holds, and what it holds."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Key = tuple[object, ...]
"""Of the arguments of a call: see `arguments`."""

PACKAGE = Path(__file__).resolve().parents[1]
SOURCES = ("geometry", "dvh", "kernels", "dicom/decimal_text.py")
"""Every module with a kernel, and whatever a kernel takes a constant from."""

SETTINGS_ALLOWED = {"NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS"}
"""Variables of numba that change no code."""

DIGEST_HEX = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Code:
    """Machine code of one function for one kind of arguments.

    entry: name of the function that Python can call; needs: names of what it calls outside; environments: constants
    of it and of the functions it calls, each with the name of the variable that points to them; its own come first.
    """

    entry: str
    object_file: bytes
    needs: tuple[str, ...]
    environments: tuple[tuple[str, list[object]], ...]


class Pack:
    """The machine code of all kernels: each is read and linked when it is first called."""

    def __init__(self, content: Mapping[tuple[str, Key], bytes]) -> None:
        self._content = content

    def __len__(self) -> int:
        return len(self._content)

    def code_of(self, function: Callable[..., Any], key: Key) -> Callable[..., Any] | None:
        """The function for arguments of a kind; None where the pack has none, or it cannot be linked here."""
        packed = self._content.get((name_of(function), key))
        if packed is None:
            log.info("no packed code of %s for %s", name_of(function), key)
            return None
        from rtpipeline.kernels.linker import linked

        code: Code = pickle.loads(packed)
        return linked(code, function)


def name_of(function: Callable[..., Any]) -> str:
    """By which the pack knows a function."""
    return f"{function.__module__}.{function.__qualname__}"


def pack_path() -> Path:
    """In numba's cache of this installation; one file for each kind of machine and Python, since folders are shared."""
    folder = os.environ.get("NUMBA_CACHE_DIR") or str(Path(__file__).parent / "__pycache__")
    return Path(folder) / f"kernels.{sys.implementation.cache_tag}.{_digest(machine())[:12]}.pack"


def load_pack() -> Pack | None:
    """The pack of these sources and this machine; None where there is none, or one of other sources."""
    path = pack_path()
    try:
        whole = path.read_bytes()
    except OSError:
        log.info("no packed kernels: %s", path.name)
        return None
    state = state_digest().encode()
    if not whole.startswith(state):
        log.info("the packed kernels are those of other sources")
        return None
    content = memoryview(whole)[len(state) + DIGEST_HEX :]
    if whole[len(state) : len(state) + DIGEST_HEX] != _content_digest(content):  # a disk that lost a part of it
        log.info("the packed kernels are damaged")
        return None
    return Pack(pickle.loads(content))


def save_pack(content: Mapping[tuple[str, Key], bytes]) -> None:
    """Write the pack; it appears at once and whole, whoever else writes one.

    Raises
    ------
    OSError: the folder cannot be written.
    """
    path = pack_path()
    import uuid  # takes its time to load, and whoever reads a pack does without

    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{uuid.uuid4().hex[:12]}")
    try:
        packed = pickle.dumps(content, protocol=5)
        new.write_bytes(state_digest().encode() + _content_digest(packed) + packed)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def state_digest() -> str:
    """Digest of all that decides on the machine code: sources, versions, settings of numba, machine."""
    parts = [sys.version, *machine(), _numba_version()]
    parts += [f"{n}={v}" for n, v in sorted(os.environ.items()) if n.startswith("NUMBA_") and n not in SETTINGS_ALLOWED]
    for file in source_files():
        parts += [str(file.relative_to(PACKAGE)), hashlib.sha256(file.read_bytes()).hexdigest()]
    return _digest(parts)


def source_files() -> list[Path]:
    """The modules that `SOURCES` names."""
    found: list[Path] = []
    for name in SOURCES:
        path = PACKAGE / name
        found += sorted(path.glob("*.py")) if path.is_dir() else [path]
    return found


@cache
def machine() -> tuple[str, ...]:
    """What numba compiles for, in the way it finds out (`numba.core.codegen`), and the LLVM that does it."""
    import llvmlite  # type: ignore[import-untyped]
    from llvmlite import binding as llvm

    name = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = "" if name.lower() == "generic" else llvm.get_host_cpu_features().flatten()
    return llvm.get_process_triple(), name, features, llvmlite.__version__


def numba_folder() -> Path:
    """Where numba is installed; it is not imported."""
    spec = importlib.util.find_spec("numba")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("numba is not installed")
    return Path(spec.submodule_search_locations[0])


def _numba_version() -> str:
    return (numba_folder() / "_version.py").read_text(encoding="utf-8")


def _content_digest(content: bytes | memoryview) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _digest(parts: tuple[str, ...] | list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
