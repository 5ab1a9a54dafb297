"""What a layer drops and compiles."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

FINISH = Path(__file__).resolve().parents[2] / "images" / "finish.py"
UNCHECKED_HASH = 0b01
"""Second word of a compiled module (PEP 552): made of the source's hash, which is never looked at again."""


def finish(packages: Path) -> str:
    done = subprocess.run([sys.executable, FINISH, packages], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    files = {
        "numpy/__init__.py": "x = 1\n",
        "numpy/core/tests/test_core.py": "raise SystemExit\n",
        "numpy/core/kernel.pyx": "cdef int x\n",
        "nibabel/tests/data.py": "needed = True\n",
        "torch/include/ATen.h": "#pragma once\n",
        "torch/lib/libtorch.so": "library",
        "nvidia/cu13/lib/libcusolverMg.so.12": "m" * 1000,
        "nvidia/cu13/lib/libcusolver.so.12": "library",
        "nvidia/nvshmem/lib/libnvshmem_host.so.3": "library",
        "nvidia/nvshmem/lib/libnvshmem_device_sm_90.bc": "bitcode",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_only_compilers_linkers_and_test_runners_read_is_dropped(packages: Path) -> None:
    finish(packages)
    left = {path.relative_to(packages).as_posix() for path in packages.rglob("*") if path.suffix != ".pyc"}
    assert {name for name in left if (packages / name).is_file()} == {
        "numpy/__init__.py",
        "nibabel/tests/data.py",
        "torch/lib/libtorch.so",
        "nvidia/cu13/lib/libcusolver.so.12",
        "nvidia/nvshmem/lib/libnvshmem_host.so.3",
    }


def test_modules_are_compiled_so_that_a_layers_times_do_not_matter(packages: Path) -> None:
    finish(packages)
    compiled = Path(cache_from_source(str(packages / "numpy" / "__init__.py")))
    assert int.from_bytes(compiled.read_bytes()[4:8], "little") == UNCHECKED_HASH


def test_what_an_earlier_layer_compiled_stays_untouched(packages: Path) -> None:
    finish(packages)
    compiled = {path: path.stat().st_mtime_ns for path in packages.rglob("*.pyc")}
    (packages / "new.py").write_text("y = 2\n")
    assert "0 MB dropped, 1 modules compiled" in finish(packages)
    assert {path: path.stat().st_mtime_ns for path in compiled} == compiled


def test_a_module_that_is_no_python_of_today_does_not_stop_the_build(packages: Path) -> None:
    (packages / "template.py").write_text("def {{ name }}():\n")
    finish(packages)
