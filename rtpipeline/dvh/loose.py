"""DVH of one structure set and one dose, from loose files, without a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtpipeline.contracts.findings import Finding
from rtpipeline.dicom.element_values import AnyDataset, text
from rtpipeline.dicom.plain_file import NotPlainError, read_plain
from rtpipeline.dicom.rtdose import RtDose, parse_rtdose
from rtpipeline.dicom.rtstruct import Roi, StructureSet, parse_rtstruct
from rtpipeline.dvh.curve import Dvh
from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.engine import Interpolation, compute_dvh
from rtpipeline.dvh.metrics import D_CC, D_PCT, V_GY, V_RX_PCT, conformity, dose_status, dvh_metrics, overshoots
from rtpipeline.dvh.prescription import UNKNOWN, Prescription, Target, TargetLevel, is_target, plan_prescription
from rtpipeline.errors import DataError, UsageError
from rtpipeline.geometry.solid import EmptySolidError, EndCap, NonPlanarContourError, PrismSolid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from rtpipeline.dicom.rtplan import RtPlan

SOP_CLASSES = {"rtstruct": "1.2.840.10008.5.1.4.1.1.481.3", "rtdose": "1.2.840.10008.5.1.4.1.1.481.2"}
"""PS3.4 table B.5-1; those of plans stand in `contracts.index`, which takes its time to load."""


@dataclass(frozen=True)
class LooseSettings:
    """What to compute: D in percent and cc of the volume, V in Gy and in percent of the prescription; the solid that
    the contours stand for, and how dose is interpolated."""

    d_pct: Sequence[float] = D_PCT
    d_cc: Sequence[float] = D_CC
    v_gy: Sequence[float] = V_GY
    v_rx_pct: Sequence[float] = V_RX_PCT
    end_cap: EndCap = "shape"
    interpolation: Interpolation = "cubic"
    structures: Sequence[str] = ()
    """names or numbers; empty for all"""


@dataclass(frozen=True)
class LooseResult:
    """One structure: its row with the column names of `dvh_metrics`, and its histogram where it has a volume."""

    roi: Roi
    row: dict[str, Any]
    dvh: Dvh | None


def loose_rows(rtstruct: Path, rtdose: Path, rtplan: Path | None, settings: LooseSettings) -> list[dict[str, Any]]:
    """One row for each structure, with the column names of `dvh_metrics`; raises what `loose_results` raises."""
    return [result.row for result in loose_results(rtstruct, rtdose, rtplan, settings)]


def loose_results(rtstruct: Path, rtdose: Path, rtplan: Path | None, settings: LooseSettings) -> list[LooseResult]:
    """The structures of one set in one dose, by ROI number.

    Raises
    ------
    UsageError: a file is missing, of the wrong kind, or a structure that was asked for is not in the set.
    DataError: the dose cannot be used, or lies in another frame of reference than the contours.
    """
    structures = read_structures(rtstruct)
    dose, volume = read_dose(rtdose)
    plan = _plan(rtplan) if rtplan else None
    chosen = _chosen(structures, settings.structures)
    _check_frames(structures, chosen, dose)
    return [_result(roi, structures, dose, volume, plan, settings) for roi in chosen]


def read_structures(path: Path) -> StructureSet:
    """The structure set of a file.

    Raises
    ------
    UsageError: the file is missing or no RTSTRUCT.
    """
    return parse_rtstruct(_read(path, "rtstruct"), "RTSTRUCT", inspect=False)


def read_dose(path: Path) -> tuple[RtDose, DoseVolume]:
    """The dose of a file, ready for histograms.

    Raises
    ------
    UsageError: the file is missing or no RTDOSE.
    DataError: it holds no dose in Gy on a grid.
    """
    dose = parse_rtdose(_read(path, "rtdose"), "RTDOSE")
    dose_gy = dose.dose_gy
    if dose.grid is None or dose_gy is None or len(dose_gy) < 2:  # nothing is interpolated in one plane
        raise DataError(_refusal(path, dose.findings), dose.findings)
    return dose, DoseVolume(dose.grid, dose_gy)


def _read(path: Path, kind: str) -> AnyDataset:
    if not path.is_file():
        raise UsageError(f"{path} does not exist.")
    try:
        data_set: AnyDataset = read_plain(path)
    except NotPlainError:
        data_set = _read_by_pydicom(path, kind)
    if text(data_set, "SOPClassUID") != SOP_CLASSES[kind]:
        raise UsageError(f"{path} is {_kind(data_set)}; need an {kind.upper()}.")
    return data_set


def _read_by_pydicom(path: Path, kind: str) -> Dataset:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        return pydicom.dcmread(path, force=True)
    except (InvalidDicomError, EOFError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as DICOM ({type(error).__name__}); need an {kind.upper()}.") from None


def _kind(data_set: AnyDataset) -> str:
    from rtpipeline.contracts.index import SOP_KINDS

    return SOP_KINDS.get(text(data_set, "SOPClassUID"), "no DICOM object that is used here")


def _plan(path: Path) -> RtPlan:
    from rtpipeline.dicom.rtplan import parse_rtplan

    data_set = _read_by_pydicom(path, "rtplan") if path.is_file() else None
    if data_set is None:
        raise UsageError(f"{path} does not exist.")
    if _kind(data_set) != "rtplan":
        raise UsageError(f"{path} is {_kind(data_set)}; need an RTPLAN.")
    return parse_rtplan(data_set, "RTPLAN")


def _refusal(path: Path, findings: Sequence[Finding]) -> str:
    reasons = "; ".join(f"{f.measured}; need {f.expected} ({f.remedy})" for f in findings) or "no dose grid"
    return f"{path} holds no dose that can be used: {reasons}."


def _chosen(structures: StructureSet, wanted: Sequence[str]) -> list[Roi]:
    if not wanted:
        return list(structures.rois)
    chosen = []
    for name in wanted:
        found = [r for r in structures.rois if r.roi_name == name or str(r.roi_number) == name]
        if not found:
            listed = ", ".join(f"{r.roi_number} {r.roi_name!r}" for r in structures.rois)
            raise UsageError(f"--structure {name}: no such structure; the set holds {listed}.")
        chosen += found
    return chosen


def _check_frames(structures: StructureSet, chosen: Sequence[Roi], dose: RtDose) -> None:
    elsewhere = []
    for roi in chosen:
        frames = {roi.frame_uid} if roi.frame_uid else set(structures.frame_uids)
        if roi.n_closed and dose.frame_uid and frames and dose.frame_uid not in frames:
            elsewhere.append(repr(roi.roi_name))
    if elsewhere:
        raise DataError(
            f"the dose and {', '.join(elsewhere)} lie in different frames of reference; need one, or a registration "
            "object and a run of the whole export."
        )


def _result(
    roi: Roi,
    structures: StructureSet,
    dose: RtDose,
    volume: DoseVolume,
    plan: RtPlan | None,
    settings: LooseSettings,
) -> LooseResult:
    rx = _prescription(roi, structures, plan)
    row: dict[str, Any] = {
        "structure_id": f"{roi.roi_number:04d}",
        "structure_name": roi.roi_name,
        "roi_number": roi.roi_number,
        "roi_type": roi.roi_type or None,
        "status": roi.status,
        "dose_status": "no_volume",
        "volume_cc": None,
        "dose_coverage_pct": None,
        "prescription_source": rx.source,
        "dose_basis": dose.summation_type.lower() or None,
        "dose_type": dose.dose_type or None,
    }
    try:
        solid = solid_of(structures, roi, settings.end_cap)
    except EmptySolidError:
        row["status"], solid = "degenerate", None
    if solid is None:
        return LooseResult(roi, row, None)
    dvh = compute_dvh(solid, volume, interpolation=settings.interpolation)
    row |= dvh_metrics(
        dvh,
        d_pct=settings.d_pct,
        d_cc=settings.d_cc,
        v_gy=settings.v_gy,
        rx_gy=rx.rx_gy,
        v_rx_pct=settings.v_rx_pct,
    )
    if rx.rx_gy:
        row |= conformity(dvh, volume, rx.rx_gy)
    row |= {
        "dose_status": dose_status(dvh),
        "sampling_mm": dvh.sampling_mm,
        "end_cap": dvh.end_cap,
        "dose_interpolation": dvh.interpolation,
        "dose_overshoot": overshoots(dvh, volume),
    }
    return LooseResult(roi, row, dvh)


def solid_of(structures: StructureSet, roi: Roi, end_cap: EndCap) -> PrismSolid | None:
    """The ROI's solid; None without a volume. A single contour has none, since no image gives its thickness.

    Raises
    ------
    EmptySolidError: no contour encloses an area.
    """
    if roi.status != "ok":
        return None
    try:
        solid = PrismSolid.from_contours(structures.contours_of(roi.roi_number), single_plane_thickness_mm=None)
    except NonPlanarContourError:
        return None
    if not solid.volume_cc:
        return None
    if end_cap == "shape":
        from rtpipeline.geometry.shape import shape_solid

        return shape_solid(solid)
    return solid


def _prescription(roi: Roi, structures: StructureSet, plan: RtPlan | None) -> Prescription:
    if plan is None:
        return UNKNOWN
    levels = [
        TargetLevel(r.target_prescription_gy, r.roi_number) for r in plan.levels if r.target_prescription_gy is not None
    ]
    target = Target(roi.roi_name, roi.roi_number, roi.roi_type or None, in_plan_set=True)
    if not is_target(target, levels, []):
        return UNKNOWN
    return plan_prescription(target, levels, [], None, sum(r.roi_type == "PTV" for r in structures.rois))
