"""From numba's cache, a file for each kernel and kind of arguments, to the pack."""

from __future__ import annotations

import logging
import pickle
import struct
from collections.abc import Iterator
from typing import Any

import numba
from numba.core.registry import cpu_target

from rtpipeline.kernels.arguments import key_of_type
from rtpipeline.kernels.decorator import dispatchers
from rtpipeline.kernels.pack import Code, Key, load_pack, name_of, save_pack

TESTED = ("0.68.1",)
"""Versions of numba in which this was tried: the pack rests on what its cache holds. Others go their own way."""

ELF64 = b"\x7fELF\x02\x01"
X86_64 = 62

log = logging.getLogger(__name__)


def pack_kernels() -> int:
    """Gather what numba's cache holds of the kernels imported here, unless that has been done; how many are packed."""
    if numba.__version__ not in TESTED:
        log.info("kernels are not packed with numba %s", numba.__version__)
        return 0
    if (present := load_pack()) is not None:
        return len(present)
    content = {
        (name_of(dispatcher.py_func), key): pickle.dumps(code, protocol=5)
        for dispatcher in dispatchers
        for key, code in _cached(dispatcher)
    }
    if not content:
        return 0
    try:
        save_pack(content)
    except OSError as error:
        log.info("kernels are not packed: %s", type(error).__name__)
        return 0
    return len(content)


def _cached(dispatcher: Any) -> Iterator[tuple[Key, Code]]:
    """What numba's cache holds of a kernel for this machine, but what Python cannot call or needs more than linking."""
    cache, magic = dispatcher._cache, cpu_target.target_context.codegen().magic_tuple()
    file = getattr(cache, "_cache_file", None)  # none where numba cannot write a cache
    if file is None:
        return
    for index_key, name in sorted(file._load_index().items(), key=lambda item: str(item[1])):
        arguments, made_for, _ = index_key
        key = tuple(key_of_type(argument) for argument in arguments)
        if made_for != magic or cache._index_key(arguments, cpu_target.target_context.codegen()) != index_key:
            continue
        if None in key:
            continue
        library, description, environment, _, in_object_mode, lifted, _, reload, environments = file._load_data(name)
        _, kind, (object_file, *_) = library
        if kind != "object" or in_object_mode or lifted or reload or (needs := _needs(object_file)) is None:
            continue
        # the function's own first
        parts = [environment, *(e for e in environments if e.env_name != environment.env_name)]
        yield (
            key,
            Code(
                description.llvm_cpython_wrapper_name,
                object_file,
                needs,
                tuple((e.env_name, list(e.consts)) for e in parts),
            ),
        )


def _needs(object_file: bytes) -> tuple[str, ...] | None:
    """Names that an object file does not define itself (ELF-64, symbol tables); None for another format."""
    if not object_file.startswith(ELF64) or struct.unpack_from("<H", object_file, 18) != (X86_64,):
        return None
    (sections,) = struct.unpack_from("<Q", object_file, 40)
    size, count, _ = struct.unpack_from("<HHH", object_file, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", object_file, sections + i * size) for i in range(count)]
    found = set()
    for _, kind, _, _, offset, length, link, _, _, _ in headers:
        if kind != 2:  # SHT_SYMTAB
            continue
        texts = headers[link][4]
        for at in range(offset, offset + length, 24):
            name, _, _, section = struct.unpack_from("<IBBH", object_file, at)
            if section == 0 and name:
                end = object_file.index(b"\0", texts + name)
                found.add(object_file[texts + name : end].decode())
    return tuple(sorted(found))
