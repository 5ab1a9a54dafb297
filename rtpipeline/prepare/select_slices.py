"""Which slices of a series make its volume, with a finding for everything that is not as it should be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.dicom.orientation import obliquity_deg, plane_class, position_conflict, unusual_view
from rtpipeline.dicom.series import (
    PlaneStack,
    SeriesGeometryError,
    SliceHeader,
    duplicate_groups,
    separate_duplicates,
    split_by_geometry,
    stack_planes,
)
from rtpipeline.dicom.spacing import PlanePlan, plan_planes

Contents = Callable[[Sequence[SliceHeader]], dict[tuple[str, int], str]]
"""Digest of the decoded pixels of some slices, by their key; asked for only when two slices lie at one position."""

Keys = frozenset[tuple[str, int]]


@dataclass
class Selection:
    """The planes to use and how; `refused` names the finding that rules the series out."""

    stack: PlaneStack | None = None
    plan: PlanePlan | None = None
    findings: list[Finding] = field(default_factory=list)
    refused: str = ""

    def refuse(self, problem: Finding) -> Selection:
        """The selection without a volume, because of `problem`."""
        self.findings.append(problem)
        self.refused = problem.code
        return self


def select_slices(
    image_id: str,
    headers: Sequence[SliceHeader],
    *,
    modality: str,
    max_gap_mm: float,
    referenced: frozenset[str] = frozenset(),
    contents: Contents | None = None,
) -> Selection:
    """The planes of a series' volume from the headers of all its slices, whatever their order.

    referenced: SOP instances that structure sets draw on; they decide between parts that share their positions.
    """
    selection = Selection()
    usable = [s for s in headers if s.has_geometry]
    lacking = len(headers) - len(usable)
    if not usable:
        return selection.refuse(finding("IMG_NO_GEOMETRY", image_id, f"0 of {len(headers)} slices with geometry"))
    if lacking:
        selection.findings.append(
            finding("IMG_NO_GEOMETRY", image_id, f"{lacking} of {len(headers)} slices without geometry", severity="W")
        )
    groups = split_by_geometry(usable)
    if len(groups) > 1:
        others = sum(len(g) for g in groups[1:])
        selection.findings.append(
            finding("IMG_LOCALIZER_MIXED", image_id, f"{others} of {len(usable)} slices differ from the others")
        )
    try:
        stack = stack_planes(groups[0])
    except SeriesGeometryError as error:
        return selection.refuse(finding("IMG_NO_GEOMETRY", image_id, str(error)))
    if duplicate_groups(stack):
        resolved = _without_duplicates(image_id, stack, referenced, contents, selection)
        if resolved is None:
            return selection
        stack = resolved
    assess_stack(image_id, stack, max_gap_mm, selection)
    if not selection.refused:
        selection.findings += _orientation_findings(image_id, stack, modality)
    return selection


def assess_stack(image_id: str, stack: PlaneStack, max_gap_mm: float, selection: Selection) -> Selection:
    """Put stack and plan into the selection, with what the distances of its planes give rise to."""
    selection.stack = stack
    if len(stack.slices) < 2:
        return selection.refuse(finding("IMG_SINGLE_SLICE", image_id, f"{len(stack.slices)} slice"))
    plan = plan_planes(stack.offsets_mm, max_gap_mm)
    selection.plan = plan
    if plan.kind == "gap_too_large":
        measured = (
            f"gap of {plan.largest_gap_mm:g} mm ({plan.missing} missing at steps of {plan.step_mm:g} mm), "
            f"max_gap_mm {max_gap_mm:g}"
        )
        return selection.refuse(finding("IMG_MISSING_SLICE", image_id, measured, action="image left out"))
    if plan.kind == "missing":
        selection.findings.append(
            finding(
                "IMG_MISSING_SLICE",
                image_id,
                f"{plan.missing} missing, largest gap {plan.largest_gap_mm:g} mm at steps of {plan.step_mm:g} mm",
                severity="W",
                action="filled linearly",
            )
        )
    if plan.kind == "nonuniform":
        selection.findings.append(
            finding(
                "IMG_NONUNIFORM_Z",
                image_id,
                f"steps up to {plan.largest_gap_mm:g} mm, resampled to {plan.step_mm:g} mm",
            )
        )
    if stack.is_sheared:
        selection.findings.append(
            finding(
                "IMG_GANTRY_TILT",
                image_id,
                f"{stack.shear_deg:.2f} degrees, up to {stack.largest_shift_pixels:.1f} pixels",
            )
        )
    return selection


def _orientation_findings(image_id: str, stack: PlaneStack, modality: str) -> list[Finding]:
    orientation = [*stack.row_direction, *stack.column_direction]
    found = []
    kind = plane_class(orientation)
    if kind != "axial":
        angle = f", {obliquity_deg(orientation):.1f} degrees off the patient's axes" if kind == "oblique" else ""
        found.append(finding("IMG_OBLIQUE", image_id, f"{kind} slices{angle}"))
    if modality == "CT":
        position = stack.slices[0].patient_position
        conflict, view = position_conflict(orientation, position), unusual_view(orientation, position)
        if conflict:
            found.append(finding("IMG_ORIENTATION", image_id, conflict))
        elif view:
            found.append(
                finding("IMG_ORIENTATION", image_id, view, severity="I", remedy="none needed: both views are in use")
            )
    return found


def _without_duplicates(
    image_id: str, stack: PlaneStack, referenced: frozenset[str], contents: Contents | None, selection: Selection
) -> PlaneStack | None:
    groups = duplicate_groups(stack)
    measured = f"{sum(len(g) - 1 for g in groups)} surplus slices at {len(groups)} positions"
    separation = separate_duplicates(stack.slices, referenced)
    if separation is not None:
        selection.findings.append(
            finding(
                "IMG_DUPLICATE_POSITION",
                image_id,
                f"{measured}; {separation.by} splits the series into {separation.parts}",
                severity="W",
                action=f"part of {len(separation.kept)} slices used"
                + (", the one that structure sets reference" if separation.referenced else ""),
            )
        )
        return stack_planes(separation.kept)
    surplus = _surplus_copies(stack, groups, referenced, contents)
    if surplus is None:
        selection.refuse(finding("IMG_DUPLICATE_POSITION", image_id, measured, action="image left out"))
        return None
    selection.findings.append(
        finding(
            "IMG_DUPLICATE_POSITION",
            image_id,
            f"{measured}, with equal pixels",
            severity="W",
            action="one slice of each position kept",
        )
    )
    return stack.without(surplus)


def _surplus_copies(
    stack: PlaneStack, groups: list[list[int]], referenced: frozenset[str], contents: Contents | None
) -> set[int] | None:
    """Indices to drop when all slices at each shared position have equal pixels, else None."""
    if contents is None:
        return None
    digests = contents([stack.slices[k] for group in groups for k in group])
    surplus: set[int] = set()
    for group in groups:
        by_digest: dict[str | None, list[int]] = defaultdict(list)
        for k in group:
            by_digest[digests.get(stack.slices[k].key)].append(k)
        if len(by_digest) > 1 or None in by_digest:
            return None
        kept = min(group, key=lambda k: (stack.slices[k].uid not in referenced, stack.slices[k].key))
        surplus |= set(group) - {kept}
    return surplus
