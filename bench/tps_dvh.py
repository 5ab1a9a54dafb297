"""Histograms that planning systems stored in their RTDOSE against ours, with a reason for each difference above 2 %.

Run: python bench/tps_dvh.py [FOLDER]   (default: RTPIPELINE_TEST_DATA, else ../shared/data)

Every RTDOSE below the folder that has a DVHSequence is compared with the structure set that it references. Minimum,
maximum and mean are taken from the system's curve: the three written values have no stated unit, and Eclipse writes
them in % of the prescription beside a curve in Gy. A reason is only given where a calculation bears it out: the same
structure without half a slice at its ends, with rounded ends, with the other interpolation, or at the edge of a bin.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from rtpipeline.dicom.rtstruct import Roi, StructureSet
from rtpipeline.dicom.tps_dvh import TpsDvh, parse_dvhs
from rtpipeline.dvh.curve import Dvh
from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.engine import compute_dvh
from rtpipeline.dvh.loose import read_dose, read_structures, solid_of
from rtpipeline.dvh.metrics import COVERAGE_LIMIT_PCT
from rtpipeline.geometry.solid import PrismSolid

LIMIT_PCT = 2.0
D_PCT = (99, 95, 50, 5, 2)
V_SHARES = (0.25, 0.5, 0.75)
"""Doses of V metrics, as a share of the largest dose in the structure."""

SMALL_PART_PCT = 1.0
"""An extreme that so little of the structure exceeds is a matter of where the system takes its samples."""

MARGIN = 0.02
"""A value this near to the range of our variants belongs to it."""

THIN_MM = 5.0


@dataclass(frozen=True)
class Case:
    """A structure with the system's curve and our histograms by solid and interpolation."""

    set_name: str
    name: str
    theirs: TpsDvh
    ours: dict[str, Dvh]
    width_mm: float
    """mean width: twice the area of the contours over their length"""
    n_planes: int

    @property
    def bin_gy(self) -> float:
        return float(np.median(self.theirs.upper - self.theirs.dose))


def default_folder() -> Path:
    root = Path(__file__).resolve().parents[1]
    return Path(os.environ.get("RTPIPELINE_TEST_DATA", root.parent / "shared" / "data"))


def sets(folder: Path) -> Iterator[tuple[Path, Path]]:
    """(RTSTRUCT, RTDOSE) of every dose with histograms."""
    structures, doses = {}, []
    for path in sorted(p for p in folder.rglob("*.dcm") if p.is_file()):
        try:
            ds = pydicom.dcmread(path, specific_tags=["SOPInstanceUID", "Modality", "DVHSequence",
                                                      "ReferencedStructureSetSequence"])  # fmt: skip
        except (InvalidDicomError, OSError):
            continue
        if ds.get("Modality") == "RTSTRUCT":
            structures[ds.get("SOPInstanceUID")] = path
        elif ds.get("Modality") == "RTDOSE" and ds.get("DVHSequence") and ds.get("ReferencedStructureSetSequence"):
            doses.append((ds.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID, path))
    for uid, path in doses:
        if uid in structures:
            yield structures[uid], path


def without_ends(solid: PrismSolid) -> PrismSolid | None:
    """The prisms from the first contour to the last, without half a slice beyond them."""
    if solid.slabs_mm is None or len(solid.slabs_mm) < 2:
        return None
    slabs = solid.slabs_mm.copy()
    slabs[0, 0], slabs[-1, 1] = solid.plane_offsets_mm[0], solid.plane_offsets_mm[-1]
    return replace(solid, slabs_mm=slabs)


def variants(structures: StructureSet, roi: Roi, dose: DoseVolume) -> dict[str, Dvh]:
    """Our histograms: prisms, rounded ends, and prisms without ends, each with both interpolations."""
    prism = solid_of(structures, roi, "prism")
    if prism is None:
        return {}
    solids = {"prism": prism, "shape": solid_of(structures, roi, "shape"), "no ends": without_ends(prism)}
    return {
        f"{name} {interpolation}": compute_dvh(solid, dose, interpolation=interpolation)
        for name, solid in solids.items()
        if solid is not None
        for interpolation in ("linear", "cubic")
    }


def mean_width_mm(contours: list[np.ndarray], areas_mm2: np.ndarray) -> float:
    lengths = [float(np.linalg.norm(c - np.roll(c, 1, axis=0), axis=1).sum()) for c in contours]
    return 2.0 * float(areas_mm2.sum()) / sum(lengths)


def cases(folder: Path) -> Iterator[Case]:
    for rtstruct, rtdose in sets(folder):
        structures, (_, dose) = read_structures(rtstruct), read_dose(rtdose)
        rois = {roi.roi_number: roi for roi in structures.rois}
        for theirs in parse_dvhs(pydicom.dcmread(rtdose)):
            roi = rois.get(theirs.roi_number) if theirs.roi_number is not None else None
            if roi is None or theirs.dose_units != "GY" or theirs.volume_units != "CM3":
                print(f"{rtdose.parent.name}: histogram of ROIs {theirs.rois} in {theirs.dose_units}: not comparable")
                continue
            found = variants(structures, roi, dose)
            if found:
                contours = structures.contours_of(roi.roi_number)
                areas = PrismSolid.from_contours(contours, single_plane_thickness_mm=1.0).areas_mm2
                width = mean_width_mm(contours, areas)
                yield Case(rtdose.parent.name, roi.roi_name, theirs, found, width, len(areas))


def values_of(dvh: Dvh, levels_gy: list[float]) -> dict[str, float | None]:
    values: dict[str, float | None] = {"volume cc": dvh.volume_cc}
    is_covered = dvh.coverage_pct >= COVERAGE_LIMIT_PCT
    values |= {"Dmin Gy": dvh.dmin_gy if is_covered else None, "Dmax Gy": dvh.dmax_gy}
    values["Dmean Gy"] = dvh.dmean_gy if is_covered else None
    values |= {f"D{p} Gy": dvh.dose_at_volume_pct(p) if is_covered else None for p in D_PCT}
    values |= {f"V{g:.3g}Gy cc": dvh.volume_at_dose_cc(g) if is_covered else None for g in levels_gy}
    return values


def values_of_theirs(theirs: TpsDvh, levels_gy: list[float]) -> dict[str, float | None]:
    volumes, doses = theirs.volume, theirs.dose
    values: dict[str, float | None] = {"volume cc": float(volumes[0]), "Dmin Gy": theirs.minimum}
    values |= {"Dmax Gy": theirs.maximum, "Dmean Gy": theirs.mean}
    for p in D_PCT:
        values[f"D{p} Gy"] = float(np.interp(-p / 100.0 * volumes[0], -volumes, doses))
    return values | {f"V{g:.3g}Gy cc": float(np.interp(g, doses, volumes, right=0.0)) for g in levels_gy}


def reason(case: Case, quantity: str, theirs: float, ours: float | None, among: list[float]) -> str:
    """Why the two differ, as far as it can be calculated."""
    dvh = case.ours["prism linear"]
    is_dose = quantity.endswith("Gy")
    if ours is None:
        return f"{dvh.coverage_pct:.1f} % of it lies in the grid of the file; the system knew the dose beyond: null"
    if is_dose and abs(ours - theirs) <= case.bin_gy * 1.001:
        return f"one bin of its curve ({case.bin_gy:.3g} Gy)"
    if quantity == "volume cc":
        counted = dvh.volume_at_dose_cc(0.5 * case.bin_gy)
        if counted < ours and abs(counted / theirs - 1.0) < 0.005:
            return f"it leaves out what receives less than half a bin; above that we have {counted:.5g} cc"
    if min(among) * (1.0 - MARGIN) <= theirs <= max(among) * (1.0 + MARGIN):
        return f"ends of {case.n_planes} slices, interpolation: ours go from {min(among):.4g} to {max(among):.4g}"
    if quantity in ("Dmin Gy", "Dmax Gy"):
        beyond = abs(dvh.volume_at_dose_pct(theirs) - (0.0 if quantity == "Dmax Gy" else dvh.coverage_pct))
        if beyond < SMALL_PART_PCT:
            return f"{beyond:.2f} % of our volume lies beyond its value: single points, and the surface"
    if not is_dose and quantity != "volume cc":
        level = float(quantity[1:].split("Gy")[0])
        around = [dvh.volume_at_dose_cc(level + step * case.bin_gy) for step in (-1.0, 1.0)]
        if min(around) <= theirs <= max(around):
            return f"one bin of its curve ({case.bin_gy:.3g} Gy)"
    if case.width_mm < THIN_MM:
        return f"thin ({case.width_mm:.1f} mm on average): probably its own grid, which is not known"
    return "unexplained"


def compare(case: Case) -> Iterator[tuple[str, float, float | None, float | None, str]]:
    """(quantity, theirs, ours as prism and linear, as shape and cubic, reason or '')."""
    reference = case.ours["prism linear"]
    levels = [share * float(reference.dmax_gy or 0.0) for share in V_SHARES]
    theirs = values_of_theirs(case.theirs, levels)
    ours = {name: values_of(dvh, levels) for name, dvh in case.ours.items()}
    for quantity, value in theirs.items():
        literal, shaped = ours["prism linear"][quantity], ours["shape cubic"][quantity]
        if not value:
            continue
        off = literal is None or abs(literal / value - 1.0) > LIMIT_PCT / 100.0
        among = [v for o in ours.values() if (v := o[quantity]) is not None]
        yield quantity, value, literal, shaped, reason(case, quantity, value, literal, among) if off else ""


def _cell(value: float | None) -> str:
    return f"{'null':>10}" if value is None else f"{value:10.4g}"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default_folder()
    total = explained = 0
    for case in cases(folder):
        t = case.theirs
        mean = f"; written mean {t.written_mean:.4g} beside {t.mean:.4g} of the curve" if t.written_mean else ""
        print(f"\n{case.set_name}: {case.name} ({case.n_planes} slices{mean})")
        print(f"  {'':12}{'theirs':>10}{'prism':>10}{'off %':>8}{'shape':>10}{'off %':>8}")
        for quantity, theirs, literal, shaped, why in compare(case):
            off = [f"{100.0 * (v / theirs - 1.0):8.2f}" if v is not None else f"{'':8}" for v in (literal, shaped)]
            print(f"  {quantity:12}{theirs:10.4g}{_cell(literal)}{off[0]}{_cell(shaped)}{off[1]}  {why}")
            total += bool(why)
            explained += bool(why) and why != "unexplained"
    print(f"\n{total} differences above {LIMIT_PCT:g} % (prism, linear), {total - explained} of them without a reason")


if __name__ == "__main__":
    from rtpipeline.execution.environment import limit_threads

    limit_threads(1)
    main()
