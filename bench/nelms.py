"""The analytic DVH phantom of Nelms et al. (Med Phys 42:4435, 2015): its own files against its own results.

Run: python bench/nelms.py [FOLDER]   (default: nelms_dvh_phantom in RTPIPELINE_TEST_DATA, else ../shared/data)

Spheres, cylinders and cones in a dose that grows linearly, 100 cGy/mm, to the front or to the feet. Test 1 has contours
every 0.2 mm and dose grids of 1, 2 and 3 mm (the paper's fourth grid, 0.4 x 0.2 x 0.4 mm, is not in the published set,
so 255 of its 340 points); test 2 has contours as far apart as the dose grid is fine, 1, 2 and 3 mm, once in the middle
of the grid and once moved by half a voxel. A point is off when it differs from the analytic value by more than 3 %. The
paper counts a volume once for the two directions of the dose.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openpyxl
import pydicom

from rtpipeline.demo.linear_dose import LinearDose
from rtpipeline.demo.prism_stack import PrismStack
from rtpipeline.dicom.rtstruct import parse_rtstruct
from rtpipeline.dvh.loose import LooseSettings, loose_rows

LIMIT_PCT = 3.0
FINE_GRID = "0.4x0.2x0.4"
GRADIENTS = {"Z(AP)": "AntPost", "Y(SI)": "SupInf"}
METRICS = {
    "Volume": "volume_cc", "Dmin": "dmin_gy", "Dmax": "dmax_gy", "Dmean": "dmean_gy", "D99": "d99_gy", "D95": "d95_gy",
    "D5": "d5_gy", "D1": "d1_gy", "D0.03cc": "d0_03cc_gy",
}  # fmt: skip
"""The paper's metrics, in the order of its spreadsheet, and ours."""

LITERAL = LooseSettings(
    d_pct=(99, 95, 5, 1), d_cc=(0.03,), v_gy=(), v_rx_pct=(), end_cap="prism", interpolation="linear"
)
"""As the analytic results are meant: contours reach half a slice beyond their ends, dose is interpolated linearly."""

PUBLISHED = {"test 1": "Pinnacle 52 and PlanIQ 5 of 340", "test 2": "Pinnacle 93 and PlanIQ 18 of 255"}


@dataclass(frozen=True)
class Point:
    """One metric of one structure in one dose; doses in Gy."""

    test: str
    structure: str
    grid_mm: int
    gradient: str
    metric: str
    ours: float
    analytic: float

    @property
    def off_pct(self) -> float:
        """Difference in % of the analytic value."""
        return 100.0 * (self.ours / self.analytic - 1.0)


def default_folder() -> Path:
    root = Path(__file__).resolve().parents[1]
    return Path(os.environ.get("RTPIPELINE_TEST_DATA", root.parent / "shared" / "data")) / "nelms_dvh_phantom"


def unpack(folder: Path, into: Path) -> Path:
    """The folder of the structure sets."""
    with tarfile.open(folder / "STRUCTURES.tar.xz") as archive:
        archive.extractall(into, filter="data")
    return into / "STRUCTURES"


def cases(folder: Path) -> Iterator[tuple[str, str, int, str, dict[str, float]]]:
    """(test, structure, grid in mm, direction, analytic values in cc and Gy) of every line of the spreadsheet whose
    dose grid is in the set; the volume in one direction only."""
    book = openpyxl.load_workbook(folder / "analytical_data.xlsx", read_only=True, data_only=True)
    lines = book["Analytical"].iter_rows(min_row=2, values_only=True)
    for structure, spacing, shift, grid, direction, volume_cc, *doses_cgy in lines:
        if grid == FINE_GRID:
            continue
        test = "test 1" if spacing == "0.2mm" else "test 2" if not shift else "test 2, moved"
        values = [float(volume_cc), *(0.01 * float(d) for d in doses_cgy)]
        known = dict(zip(METRICS, values, strict=True))
        if GRADIENTS[str(direction)] == "SupInf":
            del known["Volume"]
        yield test, str(structure), int(str(grid)), GRADIENTS[str(direction)], known


def dose_file(folder: Path, gradient: str, grid_mm: int) -> Path:
    return folder / "DOSE_GRIDS" / f"Linear_{gradient}_{grid_mm}mm_Aligned.dcm"


def compare(folder: Path, structures: Path, settings: LooseSettings = LITERAL) -> list[Point]:
    """Every point of the set by the function behind `rtpipeline dvh`."""
    points = []
    for test, structure, grid_mm, gradient, known in cases(folder):
        rows = loose_rows(structures / f"{structure}.dcm", dose_file(folder, gradient, grid_mm), None, settings)
        (row,) = (r for r in rows if r["volume_cc"])
        points += [
            Point(test, structure, grid_mm, gradient, name, row[METRICS[name]], value) for name, value in known.items()
        ]
    return points


def off(points: Iterable[Point]) -> list[Point]:
    """Those that differ by more than 3 %."""
    return [p for p in points if abs(p.off_pct) > LIMIT_PCT]


def written_dose(path: Path) -> LinearDose:
    """The dose of a file as a function of the place, from the voxels in the middle and their neighbours."""
    ds = pydicom.dcmread(path)
    dose_gy = ds.pixel_array * float(ds.DoseGridScaling)
    k, j, i = (n // 2 for n in dose_gy.shape)
    middle = float(dose_gy[k, j, i])
    row_mm, column_mm = (float(s) for s in ds.PixelSpacing)
    plane_mm = float(ds.GridFrameOffsetVector[k + 1]) - float(ds.GridFrameOffsetVector[k])
    steps = ((dose_gy[k, j, i + 1], column_mm), (dose_gy[k, j + 1, i], row_mm), (dose_gy[k + 1, j, i], plane_mm))
    x, y, z = (float(value - middle) / step_mm for value, step_mm in steps)
    at_mm = np.array(ds.ImagePositionPatient, float)
    at_mm += [i * column_mm, j * row_mm, float(ds.GridFrameOffsetVector[k])]
    return LinearDose.through(middle, at_mm, (x, y, z))


def literal_value(point: Point, folder: Path, structures: Path) -> float:
    """The metric of the contours of the file, read literally, in closed form: no cells and no dose grid."""
    contours = parse_rtstruct(pydicom.dcmread(structures / f"{point.structure}.dcm")).closed
    stack = PrismStack.from_contours([c.points_xyz_mm for c in contours])
    linear = written_dose(dose_file(folder, point.gradient, point.grid_mm))
    if point.metric == "Volume":
        return stack.volume_cc()
    if point.metric in ("Dmin", "Dmax"):
        return stack.extremes_gy(linear)[point.metric == "Dmax"]
    if point.metric == "Dmean":
        return stack.mean_gy(linear)
    share = 0.03 / stack.volume_cc() if point.metric == "D0.03cc" else float(point.metric[1:]) / 100.0
    return stack.dose_at_volume_gy(linear, share)


def print_table(points: list[Point]) -> None:
    tests = list(dict.fromkeys(p.test for p in points))
    print(f"{'':9}" + "".join(f"{t:^28}" for t in tests))
    print(f"{'metric':9}" + f"{'> 3 %':>9}{'mean %':>9}{'max %':>9} " * len(tests))
    for metric in METRICS:
        cells = ""
        for test in tests:
            here = [p for p in points if p.test == test and p.metric == metric]
            differences = [abs(p.off_pct) for p in here]
            count = f"{len(off(here))}/{len(here)}"
            cells += f"{count:>9}{np.mean(differences):9.2f}{max(differences):9.2f} "
        print(f"{metric:9}{cells}")
    total = Counter(p.test for p in points)
    for test in tests:
        n = len(off(p for p in points if p.test == test))
        print(f"{test}: {n} of {total[test]} off by more than 3 % (published: {PUBLISHED.get(test, 'not counted')})")


def explain(points: list[Point], folder: Path, structures: Path) -> None:
    print("\nThe points that are off, and the same metric of the file's contours read literally, in closed form:")
    print(f"{'structure':22}{'dose':12}{'metric':9}{'analytic':>9}{'ours':>9}{'off %':>8}{'literal':>9}{'off %':>8}")
    for p in off(points):
        literal = literal_value(p, folder, structures)
        print(
            f"{p.structure:22}{p.gradient + ' ' + str(p.grid_mm):12}{p.metric:9}{p.analytic:9.3f}{p.ours:9.3f}"
            f"{p.off_pct:8.2f}{literal:9.3f}{100.0 * (p.ours / literal - 1.0):8.3f}"
        )
    print(
        "Where the last column is 0, we have what the contours spell out, and the contours are not the ideal body:\n"
        "of a lying cylinder (Rt) they shrink to a line at its top and bottom, where none is drawn; steps of 3 mm\n"
        "leave the two ends of a sphere to half a slice of the last contour."
    )


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default_folder()
    with tempfile.TemporaryDirectory() as scratch:
        structures = unpack(folder, Path(scratch))
        points = compare(folder, structures)
        print("end cap prism, dose interpolated linearly\n")
        print_table(points)
        explain(points, folder, structures)


if __name__ == "__main__":
    from rtpipeline.execution.environment import limit_threads

    limit_threads(1)
    main()
