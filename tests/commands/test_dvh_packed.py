"""`rtpipeline dvh` with packed kernels: the same bits as with numba, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from rtpipeline.demo.headers import save
from rtpipeline.demo.small import small_patient
from rtpipeline.dvh.warm import warm
from rtpipeline.kernels.pack import load_pack
from rtpipeline.kernels.packing import TESTED

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    numba.__version__ not in TESTED or sys.platform != "linux" or os.uname().machine != "x86_64",
    reason=f"kernels are packed with numba {' or '.join(TESTED)} on x86-64 Linux",
)

PROGRAM = """
import sys
{before}
from rtpipeline.cli import main
code = main(["dvh", *sys.argv[1:], "--json"])
sys.stderr.write("numba" if "numba.core.dispatcher" in sys.modules else "pack")
sys.exit(code)
"""
WITHOUT_PACK = "import rtpipeline.kernels as kernels\nkernels.use_pack = lambda: False"
SOME_MISSING = """
from rtpipeline.kernels.pack import Pack
whole = Pack.code_of
Pack.code_of = lambda pack, function, key: None if function.__name__ in {missing} else whole(pack, function, key)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    warm()
    assert load_pack() is not None
    folder, patient = tmp_path_factory.mktemp("loose"), small_patient()
    found = (folder / "rs.dcm", folder / "rd.dcm")
    save(patient.rtstruct, found[0])
    save(patient.rtdose, found[1])
    return found


def rows_and_way(files: tuple[Path, Path], before: str, *options: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before), *map(str, files), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize(("end_cap", "interpolation"), [("shape", "cubic"), ("prism", "linear")])
def test_rows_have_the_same_bits_with_and_without_the_pack(
    files: tuple[Path, Path], end_cap: str, interpolation: str
) -> None:
    options = ("--end-cap", end_cap, "--dose-interpolation", interpolation)
    usual, way = rows_and_way(files, WITHOUT_PACK, *options)
    assert way == "numba"
    assert len(json.loads(usual)) > 2
    assert rows_and_way(files, "", *options) == (usual, "pack")


def test_rows_have_the_same_bits_when_some_kernels_go_to_numba(files: tuple[Path, Path]) -> None:
    usual, _ = rows_and_way(files, WITHOUT_PACK)
    before = SOME_MISSING.format(missing={"even_odd_edges", "surface_extremes", "_read"})
    assert rows_and_way(files, before) == (usual, "numba")


def test_nothing_goes_to_numba_whatever_the_dose_is_stored_as(files: tuple[Path, Path], tmp_path: Path) -> None:
    """A tilted grid and a dose of 16 bits have kernels and arguments of their own."""
    data_set = small_patient().rtdose
    stored = np.frombuffer(data_set.PixelData, np.dtype(f"<u{data_set.BitsAllocated // 8}"))
    scale = max(1.0, float(stored.max()) / 60_000.0)
    data_set.PixelData = np.rint(stored / scale).astype("<u2").tobytes()
    data_set.BitsAllocated = data_set.BitsStored = 16
    data_set.HighBit, data_set.DoseGridScaling = 15, f"{float(data_set.DoseGridScaling) * scale:.10g}"
    c, s = np.cos(0.1), np.sin(0.1)
    data_set.ImageOrientationPatient = [round(float(v), 9) for v in (c, s, 0.0, -s, c, 0.0)]
    save(data_set, tmp_path / "rd.dcm")
    there = (files[0], tmp_path / "rd.dcm")
    usual, _ = rows_and_way(there, WITHOUT_PACK)
    assert any(row["d50_gy"] for row in json.loads(usual))
    assert rows_and_way(there, "") == (usual, "pack")
