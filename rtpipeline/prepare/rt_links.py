"""Which structure sets a dose applies to, by which rule and registration, and its entry in `doses.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.dose.course_total import CourseTotal
from rtpipeline.dose.frames import SAME_FRAME, RegistrationsDisagreeError, Route
from rtpipeline.geometry.rigid import carried, corners_xyz_mm, turn_deg
from rtpipeline.prepare.rt_doses import MadeDose
from rtpipeline.prepare.rt_objects import CourseObjects


@dataclass(frozen=True)
class SetLink:
    """A structure set that a dose applies to.

    rule: `plan_reference` or `direct_reference`, which the objects state; `registration`; or `frame_of_reference`, the
    weakest. route: from the dose's frame of reference to that of the structures.
    """

    set_id: str
    rule: str
    route: Route = SAME_FRAME

    def entry(self) -> dict[str, Any]:
        """In `doses.json`."""
        entry = {"structure_set_id": self.set_id, "link": self.rule}
        return entry | _registered(self.route) if self.route.reg_ids else entry


def _registered(route: Route) -> dict[str, Any]:
    """matrix: null where the frames hold the same coordinates."""
    return {
        "registrations": list(route.reg_ids),
        "matrix": None if route.is_identity else route.matrix.tolist(),
    }


def applied(name: str, route: Route, region_xyz_mm: NDArray[np.float64]) -> list[Finding]:
    """REG_APPLIED where a registration moves a dose; nothing where it says that two frames are the same."""
    if route.is_identity:
        return []
    shift_mm = np.linalg.norm(carried(route.matrix, region_xyz_mm) - region_xyz_mm, axis=1)
    measured = f"{', '.join(route.reg_ids)}: corners moved by {shift_mm.min():.1f} to {shift_mm.max():.1f} mm, turned "
    return [finding("REG_APPLIED", name, f"{measured}by {turn_deg(route.matrix):.2f} degrees")]


def structure_links(objects: CourseObjects, dose: MadeDose) -> tuple[list[SetLink], list[Finding]]:
    """Structure sets that a dose applies to, and DOSE_FOR_MISMATCH for referenced ones that it misses.

    A set applies when all of its drawn structures lie in the dose's frame of reference, or in one that rigid
    registrations lead to from there.
    """
    links: list[SetLink] = []
    findings: list[Finding] = []
    missed = False
    region = corners_xyz_mm(dose.volume.grid)
    for ref in objects.course.structure_sets:
        frames = objects.set_frames.get(ref.structure_set_id)
        if frames is None:
            continue
        name = f"{dose.dose_id} {ref.structure_set_id}"
        rule = _reference_rule(objects, dose, ref.structure_set_id)
        try:
            route, doubt = _common_route(objects, dose.frame, frames, region), ""
        except RegistrationsDisagreeError as error:
            route, doubt = None, str(error)
            findings.append(finding("REG_DISAGREES", name, doubt))
        if route is not None:
            links.append(SetLink(ref.structure_set_id, "registration" if route.reg_ids else rule or FRAME, route))
            findings += applied(name, route, region)
        elif rule is not None:
            missed = True
            stated = "is not stated" if not dose.frame or not frames else "differs"
            measured = f"{dose.dose_id} and {ref.structure_set_id}: frame of reference {stated}"
            findings.append(finding("DOSE_FOR_MISMATCH", name, measured + (f"; {doubt}" if doubt else "")))
    if objects.set_frames and not links and not missed:
        measured = "no structure set in its frame of reference" if dose.frame else "frame of reference not stated"
        findings.append(finding("DOSE_FOR_MISMATCH", dose.dose_id, measured))
    return links, findings


FRAME = "frame_of_reference"
"""The weakest rule: dose and structures lie in one frame of reference, and no object says that they belong together."""


def _common_route(
    objects: CourseObjects, source: str, frames: Iterable[str], region_xyz_mm: NDArray[np.float64]
) -> Route | None:
    """The one way from a dose to all frames of reference of a set; None where one is out of reach, or ways differ.

    Raises
    ------
    RegistrationsDisagreeError: as `find_route` does.
    """
    routes = [objects.route(source, frame, region_xyz_mm) for frame in sorted(frames)]
    found = [route for route in routes if route is not None]
    if not found or len(found) < len(routes):
        return None
    first = max(found, key=lambda route: len(route.reg_ids))
    same = all(
        route.is_identity == first.is_identity and (route.is_identity or np.array_equal(route.matrix, first.matrix))
        for route in found
    )
    return first if same else None


def _reference_rule(objects: CourseObjects, dose: MadeDose, set_id: str) -> str | None:
    """`plan_reference` when every plan of the dose names the set, `direct_reference` when every object does."""
    plans = {p.plan_id: p.structure_set_id for p in objects.course.plans}
    if dose.plan_ids and all(plans.get(i) == set_id for i in dose.plan_ids):
        return "plan_reference"
    uid = objects.uids.get(set_id)
    if dose.rtdose_ids and all(uid in objects.doses[i].structure_set_uids for i in dose.rtdose_ids):
        return "direct_reference"
    return None


def course_dose_entry(
    dose: MadeDose, links: Sequence[SetLink], total: CourseTotal, frame_hash: str | None, transforms: list[str]
) -> dict[str, Any]:
    """One entry of `doses.json`."""
    return {
        "dose_id": dose.dose_id,
        "plan_ids": list(dose.plan_ids),
        "rtdose_ids": list(dose.rtdose_ids),
        "dose_basis": dose.basis,
        "dose_status": dose.status,
        "summation_type": dose.summation_type or None,
        "dose_type": dose.dose_type or None,
        "frame_hash": frame_hash,
        "max_gy": dose.volume.max_gy,
        "shape_zyx": list(dose.volume.grid.shape_zyx),
        "fully_known": dose.volume.known is None,
        "fractions_planned": dose.fractions_planned,
        "factor": dose.factor,
        "parts": dict(dose.parts),
        "part_routes": _part_routes(dose.routes),
        "scale_check": dose.scale.verdict,
        "spatial_transforms": transforms,
        "structure_set_ids": [link.set_id for link in links],
        "structure_sets": [link.entry() for link in links],
        "whole_course": dose.dose_id == "total" or (total.status == "single_plan" and bool(dose.plan_ids)),
        "course_total_status": total.status,
    }


def _part_routes(routes: Mapping[str, Route]) -> dict[str, dict[str, Any]]:
    """Registrations that brought parts into the dose's frame of reference, by plan id."""
    return {plan_id: _registered(route) for plan_id, route in sorted(routes.items())}
