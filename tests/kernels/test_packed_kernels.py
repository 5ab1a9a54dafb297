"""Kernels of a module of their own, packed and then called in a process that does not import numba for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numba
import pytest

from rtpipeline.kernels.packing import TESTED

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    numba.__version__ not in TESTED or sys.platform != "linux" or os.uname().machine != "x86_64",
    reason=f"kernels are packed with numba {' or '.join(TESTED)} on x86-64 Linux",
)

KERNELS = """
from typing import NamedTuple
import numpy as np
from rtpipeline.kernels import kernel

FACTORS = np.array([1.0, 1e-3, 7.0 / 3.0])

class Moments(NamedTuple):
    total: float
    places: np.ndarray

@kernel()
def power(x, n):
    return x**n

@kernel(error_model="numpy")
def moments(values):
    places = np.sort(np.exp(values) * FACTORS[: values.shape[0]])
    return Moments(np.log10(places.sum()) % 0.3, places)

@kernel()
def nested(moments_, exponent):
    return power(moments_.total, exponent) + moments_.places[0]

@kernel()
def share(a, b):
    if a < 0.0:
        raise ValueError("below zero")
    return a / b

@kernel(error_model="numpy")
def numpy_share(a, b):
    return a / b
"""

CALLS = """
import json, sys
import numpy as np
import own_kernels as k

def told(error, call):
    try:
        call()
    except error as raised:
        return str(raised)
    return None

found = k.moments(np.array([0.1, 0.7, -0.3]))
answers = [found.total, found.places.tolist(), type(found).__name__, k.nested(found, 3), k.nested(found, 1.5)]
answers += [k.power(2.0, 3), k.power(1.1, 2.5), k.share(1.0, 3.0), k.numpy_share(1.0, 0.0)]
answers += [told(ZeroDivisionError, lambda: k.share(1.0, 0.0)), told(ValueError, lambda: k.share(-1.0, 1.0))]
answers = [a.hex() if isinstance(a, float) else a for a in answers]
"""

PACK = CALLS + "from rtpipeline.kernels.packing import pack_kernels\npacked = pack_kernels()\n"
SHOW = "numba_is_here = 'numba.core.dispatcher' in sys.modules\n"
TOLD = ("answers", "packed", "used", "numba_is_here", "more")
TELL = f"json.dump({{n: v for n, v in globals().items() if n in {TOLD}}}, sys.stdout)"
USE = "from rtpipeline.kernels import use_pack\nused = use_pack()\n"

MORE = """
more = [k.power(np.float32(2.0), 3), k.power(x=2.0, n=3), k.nested(k.Moments(1.5, np.arange(6.0)[::2]), 3)]
more += [k.power(2, 3), k.nested(found, 3)]
more = [float(m).hex() for m in more]
"""


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "own_kernels.py").write_text(KERNELS)

    def run(self, program: str, **variables: str) -> dict:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(self.path / "cache"), **variables}
        environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{self.path}"
        done = subprocess.run(
            [sys.executable, "-c", program + SHOW + TELL], env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        found: dict = json.loads(done.stdout)
        return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    made = Folder(tmp_path_factory.mktemp("own"))
    packed = made.run(PACK)
    assert packed["packed"] >= 5 and packed["numba_is_here"]
    yield made


def test_answers_and_errors_are_those_of_numba_to_the_bit_and_numba_stays_away(folder: Folder) -> None:
    usual, packed = folder.run(CALLS), folder.run(USE + CALLS)
    assert packed["used"] and not packed["numba_is_here"]
    assert usual["numba_is_here"]
    assert packed["answers"] == usual["answers"]
    assert usual["answers"][-2:] == ["division by zero", "below zero"]


def test_calls_without_packed_code_go_to_numba_beside_those_with(folder: Folder) -> None:
    usual, packed = folder.run(CALLS + MORE), folder.run(USE + CALLS + MORE)
    assert packed["used"] and packed["numba_is_here"]
    assert packed["answers"] + packed["more"] == usual["answers"] + usual["more"]


def test_code_that_needs_what_is_not_here_goes_to_numba(folder: Folder) -> None:
    without = """
import rtpipeline.kernels.linker as linker
known = linker.llvm.address_of_symbol
linker.llvm.address_of_symbol = lambda name: None if name == 'PyFloat_FromDouble' else known(name)
"""
    usual, packed = folder.run(CALLS), folder.run(USE + without + CALLS)
    assert packed["used"] and packed["numba_is_here"]
    assert packed["answers"] == usual["answers"]


@pytest.mark.parametrize("variable", ["NUMBA_CPU_NAME", "NUMBA_OPT", "NUMBA_BOUNDSCHECK"])
def test_other_settings_of_numba_make_the_pack_unused(folder: Folder, variable: str) -> None:
    value = {"NUMBA_CPU_NAME": "generic"}.get(variable, "1")
    assert not folder.run(USE + "import sys, json\n", **{variable: value})["used"]


def test_a_process_that_has_numba_keeps_it(folder: Folder) -> None:
    found = folder.run("import numba\n" + USE + CALLS)
    assert not found["used"]


def test_another_numba_packs_nothing(folder: Folder, tmp_path: Path) -> None:
    other = "import numba\nnumba.__version__ = '0.0.0'\n"
    found = folder.run(other + PACK, NUMBA_CACHE_DIR=str(tmp_path))
    assert found["packed"] == 0
    assert not list(tmp_path.glob("*.pack"))


def test_where_the_pack_cannot_be_written_all_goes_on_without(folder: Folder, tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    refused = "import rtpipeline.kernels.pack as p\nfrom pathlib import Path\n"
    refused += f"p.pack_path = lambda: Path({str(no_folder)!r}) / 'kernels.pack'\n"
    assert folder.run(refused + PACK)["packed"] == 0
    usual, without = folder.run(CALLS), folder.run(refused + USE + CALLS)
    assert not without["used"]
    assert without["answers"] == usual["answers"]
