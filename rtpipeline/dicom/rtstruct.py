"""RT Structure Set (PS3.3 C.8.8.5, C.8.8.6, C.8.8.8): regions of interest and their contours in patient coordinates.

Everything is linked by ROI number. What a contour means as a solid is decided elsewhere; here it is only checked that
it is a polygon in a plane.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.dicom.contour_checks import count_inner, plane_residual_mm, quality, repeated
from rtpipeline.dicom.element_values import AnyDataset, charset_of, decimals, integer, items, numbers, term, text
from rtpipeline.geometry.polygon import MIN_POINTS
from rtpipeline.geometry.solid import PLANE_RESIDUAL_MM

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
"""Both are filled by the even-odd rule; the second says so itself (PS3.3 C.8.8.6.3)."""

CONTOUR_DATA = 0x30060050


@dataclass(frozen=True)
class Contour:
    """One contour. points_xyz_mm: (n, 3), patient LPS. contour_index: position in the ROI's ContourSequence, from 0."""

    roi_number: int
    contour_index: int
    geometric_type: str
    points_xyz_mm: NDArray[np.float64]


@dataclass(frozen=True)
class Roi:
    """One item of StructureSetROISequence with what the other sequences say of the same number.

    status: `ok`, `empty`, `points_only`, `open_only`, `number_reused`, `nonplanar`, `degenerate`, or `undeclared`
    (contours under a number that StructureSetROISequence does not hold). Only `ok` has a volume.
    """

    roi_number: int
    roi_name: str
    roi_type: str
    algorithm: str
    frame_uid: str
    n_closed: int
    n_point: int
    n_open: int
    status: str
    display_color: tuple[int, ...] | None


@dataclass(frozen=True)
class StructureSet:
    """closed: contours that bound an area, of every ROI but those whose number is reused or undeclared."""

    frame_uids: tuple[str, ...]
    rois: list[Roi]
    closed: list[Contour]
    other: list[Contour]
    """POINT, OPEN_PLANAR and OPEN_NONPLANAR"""
    findings: list[Finding] = field(default_factory=list)

    def contours_of(self, roi_number: int) -> list[NDArray[np.float64]]:
        """(n, 3) points of each closed contour of a ROI, in the order of the file."""
        return [c.points_xyz_mm for c in self.closed if c.roi_number == roi_number]


@dataclass
class _Content:
    """What ROIContourSequence holds under one ROI number."""

    closed: list[Contour] = field(default_factory=list)
    points: list[Contour] = field(default_factory=list)
    open: list[Contour] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    color: tuple[int, ...] | None = None
    n_closed: int = 0
    n_crossing: int = 0


def parse_rtstruct(ds: AnyDataset, name: str = "RTSTRUCT", *, inspect: bool = True) -> StructureSet:
    """The structure set of an RTSTRUCT object.

    Parameters
    ----------
    name: what findings call the object, such as `rs-01`.
    inspect: whether each contour is looked at for an area, crossings and holes, which takes as long as all the rest.
        Without it findings do not tell of these, and contours without area are among the closed ones, for
        `PrismSolid.from_contours` to leave out.
    """
    frames = _declared_frames(ds)
    contents, contour_order = _contents(ds, inspect)
    kinds = {integer(o, "ReferencedROINumber"): term(o, "RTROIInterpretedType")
             for o in items(ds, "RTROIObservationsSequence")}  # fmt: skip
    charset = charset_of(ds)
    declared = [(integer(item, "ROINumber"), item) for item in items(ds, "StructureSetROISequence")]
    uses = Counter(number for number, _ in declared)
    rois, findings = [], []
    for number, item in declared:
        if number is None:
            findings.append(finding("SS_ROI_EMPTY", f"{name} ROI without a number", "ROINumber missing"))
            continue
        content = contents.get(number, _Content())
        frame = text(item, "ReferencedFrameOfReferenceUID") or (frames[0] if len(frames) == 1 else "")
        roi = Roi(
            roi_number=number,
            roi_name=text(item, "ROIName", charset),
            roi_type=kinds.get(number, ""),
            algorithm=term(item, "ROIGenerationAlgorithm"),
            frame_uid=frame,
            n_closed=content.n_closed,
            n_point=len(content.points),
            n_open=len(content.open),
            status="number_reused" if uses[number] > 1 else _status(content),
            display_color=content.color,
        )
        rois.append(roi)
        findings += _roi_findings(roi, content, name, inspect)
    for number in contents.keys() - uses.keys():
        rois.append(_undeclared(number, contents[number]))
        findings.append(_undeclared_finding(number, contents[number], name))
    findings += _set_findings(rois, declared, contour_order, uses, name)
    kept = {r.roi_number for r in rois if r.status not in ("number_reused", "undeclared")}
    return StructureSet(
        frame_uids=tuple(dict.fromkeys([*frames, *(r.frame_uid for r in rois if r.frame_uid)])),
        rois=sorted(rois, key=lambda r: r.roi_number),
        closed=[c for n in sorted(kept) for c in contents.get(n, _Content()).closed],
        other=[c for n in sorted(kept) if n in contents for c in [*contents[n].points, *contents[n].open]],
        findings=findings,
    )


def _declared_frames(ds: AnyDataset) -> list[str]:
    found = [text(item, "FrameOfReferenceUID") for item in items(ds, "ReferencedFrameOfReferenceSequence")]
    return list(dict.fromkeys(uid for uid in [*found, text(ds, "FrameOfReferenceUID")] if uid))


def _contents(ds: AnyDataset, inspect: bool) -> tuple[dict[int, _Content], list[int]]:
    """By ROI number, and the numbers in the order of ROIContourSequence."""
    contents: dict[int, _Content] = {}
    order = []
    for item in items(ds, "ROIContourSequence"):
        number = integer(item, "ReferencedROINumber")
        if number is None:
            continue
        order.append(number)
        content = contents.setdefault(number, _Content())
        color = numbers(item, "ROIDisplayColor")
        content.color = tuple(int(c) for c in color) if color and len(color) == 3 else content.color
        for index, contour in enumerate(items(item, "ContourSequence")):
            _take(contour, number, index, content, inspect)
    for content in contents.values():
        copies = repeated([c.points_xyz_mm for c in content.closed])
        content.dropped["given twice"] += len(copies)
        content.closed = [c for i, c in enumerate(content.closed) if i not in copies]
    return contents, order


def _take(item: AnyDataset, number: int, index: int, content: _Content, inspect: bool) -> None:
    """Sorts one contour by what it is."""
    kind = term(item, "ContourGeometricType")
    closed = kind in CLOSED
    content.n_closed += closed
    element = item.get_item(CONTOUR_DATA) if CONTOUR_DATA in item else None
    flat = decimals(element.value) if element is not None else None
    if flat is None or len(flat) % 3 or not np.isfinite(flat).all():
        content.dropped["without readable coordinates"] += 1
        return
    contour = Contour(number, index, kind, flat.reshape(-1, 3))
    if closed and not inspect and len(flat) >= 3 * MIN_POINTS:
        content.closed.append(contour)
    elif closed:
        found = quality(contour.points_xyz_mm) if len(flat) >= 9 else None
        if found is None or found.n_points < MIN_POINTS:
            content.dropped["of fewer than 3 points"] += 1
        elif found.is_degenerate:
            content.dropped["without area"] += 1
        else:
            content.closed.append(contour)
            content.n_crossing += found.n_self_crossings > 0
    elif kind == "POINT":
        content.points.append(contour)
    else:
        content.open.append(contour)


def _status(content: _Content) -> str:
    if content.closed:
        worst = max(plane_residual_mm(c.points_xyz_mm) for c in content.closed)
        return "nonplanar" if worst > PLANE_RESIDUAL_MM else "ok"
    if content.n_closed:
        return "degenerate"
    if content.open:
        return "open_only"
    return "points_only" if content.points else "empty"


def _undeclared_finding(number: int, content: _Content, name: str) -> Finding:
    return finding(
        "OBJECT_NOT_USED",
        f"{name} ROI {number}",
        f"{content.n_closed} contours of a number that no structure has",
        expected="an item of StructureSetROISequence for each ROI number",
        scope="structure",
    )


def _undeclared(number: int, content: _Content) -> Roi:
    return Roi(number, "", "", "", "", content.n_closed, len(content.points), len(content.open), "undeclared",
               content.color)  # fmt: skip


def _roi_findings(roi: Roi, content: _Content, name: str, inspect: bool) -> list[Finding]:
    what = f"{name} ROI {roi.roi_number} '{roi.roi_name}'"
    found = []
    if roi.status == "empty":
        found.append(finding("SS_ROI_EMPTY", what, "no contours"))
    if content.points or content.open:
        kinds = Counter(c.geometric_type or "no type" for c in [*content.points, *content.open])
        found.append(finding("SS_CONTOUR_POINT", what, ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))))
    if roi.status == "nonplanar":
        residuals = [plane_residual_mm(c.points_xyz_mm) for c in content.closed]
        count = sum(r > PLANE_RESIDUAL_MM for r in residuals)
        found.append(finding("SS_CONTOUR_NONPLANAR", what, f"{count} contours, up to {max(residuals):.2f} mm"))
    if roi.status == "number_reused":
        return found  # which contours belong to which of them is not known
    polygons = [c.points_xyz_mm for c in content.closed]
    odd = [f"{n} {why}" for why, n in sorted(content.dropped.items()) if n]
    if content.n_crossing:
        odd.append(f"{content.n_crossing} crossing themselves")
    if odd:
        found.append(finding("SS_CONTOUR_DEGENERATE", what, f"of {roi.n_closed} contours: {', '.join(odd)}"))
    inner = count_inner(polygons) if inspect else 0
    if inner:
        found.append(finding("SS_HOLE", what, f"{inner} contours inside another one"))
    return found


def _set_findings(
    rois: list[Roi],
    declared: list[tuple[int | None, AnyDataset]],
    order: list[int],
    uses: Counter[int | None],
    name: str,
) -> list[Finding]:
    found = []
    for number in sorted(n for n, count in uses.items() if count > 1 and n is not None):
        names = [r.roi_name for r in rois if r.roi_number == number]
        found.append(finding("SS_NUMBER_REUSE", f"{name} ROI {number}", ", ".join(repr(n) for n in names)))
    alike: dict[str, list[Roi]] = {}
    for roi in rois:
        if roi.n_closed and roi.status != "undeclared":
            alike.setdefault("".join(c for c in roi.roi_name.casefold() if c.isalnum()), []).append(roi)
    for group in alike.values():
        if len(group) > 1 and len({r.roi_number for r in group}) > 1:
            what = ", ".join(f"{r.roi_number} {r.roi_name!r}" for r in group)
            found.append(finding("SS_NAME_COLLISION", f"{name} ROIs", what))
    unique = [n for n, _ in declared if n is not None and uses[n] == 1]
    seen = [n for n in dict.fromkeys(order) if uses[n] == 1]
    if seen != [n for n in unique if n in set(seen)]:
        found.append(finding("SS_ORDER", name, "contours come in another order than the structures"))
    return found
