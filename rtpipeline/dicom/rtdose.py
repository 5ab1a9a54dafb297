"""RT Dose (PS3.3 C.8.8.3): a grid in Gy with what it is the dose of. Values are taken as they are, never multiplied.

What cannot be taken as a dose in Gy is refused here with its finding; whose dose it is and whether it may be used is
decided in `dose.decision`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.dicom.dose_pixels import DosePixelError, DosePixels, describe, has_pixels, stored_values
from rtpipeline.dicom.element_values import (
    AnyDataset,
    UnreadableElementError,
    integer,
    items,
    number,
    numbers,
    term,
    text,
)
from rtpipeline.dicom.frame_offsets import FrameOffsetError, plane_offsets
from rtpipeline.dicom.tps_dvh import TpsDvh, parse_dvhs
from rtpipeline.geometry.grid import Grid

LARGEST_STEP_GY = 1000.0
"""A DoseGridScaling above this is no number of Gy."""

NEGATIVE_SHARE = 0.01
"""Of the largest value: what a noisy or interpolated dose may lie below zero."""


@dataclass(frozen=True)
class GroupReference:
    """An item of ReferencedFractionGroupSequence: beams or setups of a fraction group; none named: the whole group."""

    fraction_group: int | None
    beams: tuple[int, ...] = ()
    setups: tuple[int, ...] = ()


@dataclass(frozen=True)
class PlanReference:
    """An item of ReferencedRTPlanSequence."""

    plan_uid: str
    groups: tuple[GroupReference, ...] = ()


@dataclass(frozen=True)
class DosePlane:
    """The only plane of an object. stored: (1, y, x) integers on `grid`; None where the object cannot be used."""

    grid: Grid
    stored: NDArray[np.integer] | None


@dataclass(frozen=True)
class RtDose:
    """An RTDOSE object. `grid` and `stored` are None where it is refused; `findings` say why.

    stored: (z, y, x) integers on `grid`; times `scaling_gy` they are Gy. An object of a single plane has `plane`
    instead: it is no volume until `dose_planes` joins it with others.
    """

    units: str
    dose_type: str
    summation_type: str
    scaling_gy: float | None
    plans: tuple[PlanReference, ...]
    structure_set_uids: tuple[str, ...]
    frame_uid: str
    pixels: DosePixels | None
    offsets_form: str
    spatial_transform: str
    """SpatialTransformOfDose: NONE, RIGID, NON_RIGID, or '' when not stated"""
    grid: Grid | None
    stored: NDArray[np.integer] | NDArray[np.float64] | None
    dvhs: tuple[TpsDvh, ...]
    series_uid: str = ""
    plane: DosePlane | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def dose_gy(self) -> NDArray[np.float64] | None:
        """(z, y, x) Gy: stored value x DoseGridScaling (PS3.3 C.8.8.3); made anew at each call, the grids are large."""
        if self.stored is None or self.scaling_gy is None:
            return None
        return np.multiply(self.stored, self.scaling_gy, dtype=np.float64)

    @property
    def max_gy(self) -> float | None:
        """Largest value of the grid."""
        return float(self.stored.max()) * self.scaling_gy if self.stored is not None and self.scaling_gy else None


def parse_rtdose(ds: AnyDataset, name: str = "RTDOSE") -> RtDose:
    """The dose of an RTDOSE object.

    Parameters
    ----------
    name: what findings call the object, such as `rd-01`.
    """
    findings: list[Finding] = []
    units, dose_type = term(ds, "DoseUnits"), term(ds, "DoseType")
    scaling = number(ds, "DoseGridScaling")
    pixels, grid, form = None, None, ""
    if not has_pixels(ds):
        findings.append(finding("DOSE_NO_PIXELS", name, "no pixel data"))
    else:
        pixels, grid, form = _grid(ds, name, findings)
    usable = _is_gy(units, name, findings) & _is_dose(dose_type, name, findings)
    if pixels is not None and (scaling is None or not 0 < scaling <= LARGEST_STEP_GY):
        measured = "missing" if scaling is None else f"{scaling:g}"
        findings.append(finding("DOSE_SCALING_MISSING", name, f"DoseGridScaling {measured}"))
        usable = False
    values, plane = None, None
    if pixels is not None and pixels.frames == 1:
        plane = DosePlane(grid, _stored(ds, name, []) if usable else None) if grid is not None else None
        grid = None
    if usable and grid is not None and scaling is not None:
        values = _stored(ds, name, findings)
    if values is not None and scaling is not None:
        lowest, largest = float(values.min()) * scaling, float(values.max()) * scaling
        values = None if is_negative(lowest, largest, name, findings) else values
    if pixels is not None and scaling and not pixels.is_usual:
        findings.append(
            finding("DOSE_COMPRESSED_BITS", name, f"{pixels}; one step is {scaling:.3g} Gy",
                    expected="32 bits unsigned, little endian")
        )  # fmt: skip
    return RtDose(
        units=units,
        dose_type=dose_type,
        summation_type=term(ds, "DoseSummationType"),
        scaling_gy=scaling,
        plans=_plan_references(ds),
        structure_set_uids=tuple(_uids(ds, "ReferencedStructureSetSequence")),
        frame_uid=text(ds, "FrameOfReferenceUID"),
        pixels=pixels,
        offsets_form=form,
        spatial_transform=term(ds, "SpatialTransformOfDose"),
        grid=grid if values is not None else None,
        stored=values,
        dvhs=_dvhs(ds, name, findings),
        series_uid=text(ds, "SeriesInstanceUID"),
        plane=plane,
        findings=findings,
    )


def _dvhs(ds: AnyDataset, name: str, findings: list[Finding]) -> tuple[TpsDvh, ...]:
    """The stored curves; they serve for comparison, so unreadable ones do not cost the dose."""
    try:
        return tuple(parse_dvhs(ds))
    except UnreadableElementError as error:
        findings.append(
            finding("FILE_TRUNCATED", name, str(error), severity="W", action="dose used without its curves")
        )
        return ()


def _is_gy(units: str, name: str, findings: list[Finding]) -> bool:
    if units != "GY":
        findings.append(finding("DOSE_UNITS", name, f"DoseUnits {units or 'missing'}"))
    return units == "GY"


def _is_dose(dose_type: str, name: str, findings: list[Finding]) -> bool:
    """PHYSICAL and EFFECTIVE are doses, ERROR is a difference (PS3.3 C.8.8.3); an unstated type is kept as unknown."""
    if dose_type == "ERROR":
        findings.append(finding("DOSE_TYPE_EFFECTIVE", name, "DoseType ERROR", severity="E", action="not used"))
        return False
    if dose_type != "PHYSICAL":
        findings.append(finding("DOSE_TYPE_EFFECTIVE", name, f"DoseType {dose_type or 'missing'}"))
    return True


def _grid(ds: AnyDataset, name: str, findings: list[Finding]) -> tuple[DosePixels | None, Grid | None, str]:
    """Storage, geometry and form of the offsets; with findings where one of them is not usable."""
    try:
        pixels = describe(ds)
    except DosePixelError as error:
        findings.append(finding("DOSE_GRID_INCOMPLETE", name, str(error)))
        return None, None, ""
    orientation, position = numbers(ds, "ImageOrientationPatient"), numbers(ds, "ImagePositionPatient")
    spacing = numbers(ds, "PixelSpacing")
    if orientation is None or position is None or spacing is None:
        values = {"ImageOrientationPatient": orientation, "ImagePositionPatient": position, "PixelSpacing": spacing}
        missing = ", ".join(keyword for keyword, found in values.items() if found is None)
        findings.append(finding("DOSE_GRID_INCOMPLETE", name, f"{missing} missing"))
        return pixels, None, ""
    if len(orientation) != 6 or len(position) != 3:
        counts = f"{len(orientation)} direction cosines, {len(position)} coordinates"
        findings.append(finding("DOSE_GRID_INCOMPLETE", name, counts))
        return pixels, None, ""
    if pixels.frames == 1:
        findings.append(one_plane(name, "one plane"))
    try:
        planes = plane_offsets(numbers(ds, "GridFrameOffsetVector"), orientation, position, pixels.frames)
    except FrameOffsetError as error:
        findings.append(finding("DOSE_GFOV", name, str(error)))
        return pixels, None, ""
    try:
        grid = Grid.from_dicom_like(orientation, position, spacing, planes.offsets_mm, pixels.rows, pixels.columns)
    except ValueError as error:
        findings.append(finding("DOSE_GRID_INCOMPLETE", name, str(error)))
        return pixels, None, planes.form
    return pixels, grid, planes.form


def one_plane(name: str, measured: str) -> Finding:
    """Why an object of a single plane, or several of them, is no dose."""
    return finding("DOSE_GRID_INCOMPLETE", name, measured, expected="at least two planes")


def _stored(ds: AnyDataset, name: str, findings: list[Finding]) -> NDArray[np.integer] | None:
    try:
        return stored_values(ds)
    except DosePixelError as error:
        findings.append(finding("DOSE_GRID_INCOMPLETE", name, str(error), expected="a value for every voxel"))
        return None


def is_negative(lowest_gy: float, largest_gy: float, name: str, findings: list[Finding]) -> bool:
    """Whether values lie below zero by more than noise: most likely unsigned numbers that were called signed."""
    if lowest_gy >= -NEGATIVE_SHARE * largest_gy:
        return False
    expected = "no dose below 0 Gy"
    findings.append(
        finding("DOSE_COMPRESSED_BITS", name, f"values down to {lowest_gy:.3g} Gy", severity="E", expected=expected,
                action="not used", remedy="export the dose again")
    )  # fmt: skip
    return True


def _uids(ds: AnyDataset, keyword: str) -> list[str]:
    found = [text(item, "ReferencedSOPInstanceUID") for item in items(ds, keyword)]
    return list(dict.fromkeys(uid for uid in found if uid))


def _plan_references(ds: AnyDataset) -> tuple[PlanReference, ...]:
    found = []
    for item in items(ds, "ReferencedRTPlanSequence"):
        groups = [
            GroupReference(
                fraction_group=integer(group, "ReferencedFractionGroupNumber"),
                beams=_numbers_of(group, "ReferencedBeamSequence", "ReferencedBeamNumber"),
                setups=_numbers_of(
                    group, "ReferencedBrachyApplicationSetupSequence", "ReferencedBrachyApplicationSetupNumber"
                ),
            )
            for group in items(item, "ReferencedFractionGroupSequence")
        ]
        found.append(PlanReference(text(item, "ReferencedSOPInstanceUID"), tuple(groups)))
    return tuple(found)


def _numbers_of(ds: AnyDataset, sequence: str, keyword: str) -> tuple[int, ...]:
    found = (integer(item, keyword) for item in items(ds, sequence))
    return tuple(n for n in found if n is not None)
