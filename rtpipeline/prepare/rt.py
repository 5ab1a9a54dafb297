"""Stage prepare_rt: structure sets, doses in Gy, plan facts, registrations and treatment records of a course.

Reads the RT objects once, decides which dose objects make which dose, and writes tables without original identifiers.
No later stage opens the original DICOM.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydicom.dataset import Dataset

from rtpipeline.contracts.findings import finding
from rtpipeline.contracts.tables import FRACTIONS, TPS_DVH
from rtpipeline.dicom.dose_planes import join_planes
from rtpipeline.dicom.element_values import UnreadableElementError
from rtpipeline.dicom.registration import Registration, parse_registration
from rtpipeline.dicom.rtdose import RtDose, parse_rtdose
from rtpipeline.dicom.rtplan import RtPlan, parse_rtplan
from rtpipeline.dicom.rtrecord import Delivered, parse_rtrecord
from rtpipeline.dicom.rtstruct import StructureSet, parse_rtstruct
from rtpipeline.dose.frames import FrameLink
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.prepare.rt_course import CourseDoses, course_doses
from rtpipeline.prepare.rt_doses import MadeDose
from rtpipeline.prepare.rt_inputs import RtInputs, open_objects, rt_inputs
from rtpipeline.prepare.rt_links import course_dose_entry, structure_links
from rtpipeline.prepare.rt_objects import CourseObjects
from rtpipeline.prepare.rt_plans import plan_facts, plan_findings
from rtpipeline.prepare.rt_records import fraction_rows, tps_dvh_rows
from rtpipeline.prepare.rt_structures import DrawnIn, drawn_in, frame_findings, write_structure_set

log = logging.getLogger(__name__)

Parsed = TypeVar("Parsed")

PARSERS: dict[str, Callable[[Dataset, str], RtPlan | RtDose | Registration | list[Delivered]]] = {
    "rtplan": parse_rtplan,
    "rtdose": parse_rtdose,
    "reg": parse_registration,
    "rtrecord": parse_rtrecord,
}
"""By kind of the private index."""


def run(context: StageContext) -> StageOutcome:
    """Prepare the RT objects of a course; what is refused has a finding, and the rest goes on."""
    course = context.course()
    if course.status == "excluded":
        return StageOutcome(status="not_applicable", reason=f"course left out: {', '.join(course.excluded_by)}")
    inputs = rt_inputs(context, course)
    if not inputs.rows:
        return StageOutcome(status="not_applicable", reason="no RT objects")
    structures, drawn = _structure_sets(context, inputs)
    objects = _parse(context, inputs, structures)
    _report_frames(context, inputs, objects, drawn)
    _write_plans(context, inputs, objects)
    decided = course_doses(objects)
    context.report(*decided.ledger.findings)
    _write_doses(context, inputs, objects, decided)
    _write_records(context, inputs, objects, decided)
    return StageOutcome(
        counts={
            "structure_sets": len(structures),
            "plans": len(objects.plans),
            "dose_objects": len(objects.doses),
            "doses": len(decided.made),
            "records": len(inputs.of("rtrecord")),
        }
    )


def _structure_sets(context: StageContext, inputs: RtInputs) -> tuple[dict[str, frozenset[str]], dict[str, DrawnIn]]:
    """Write every structure set; gives the frames of reference of each one's contours (original UIDs), and where its
    structures are drawn."""
    frames, drawn = {}, {}
    for set_id, data_set in open_objects(context, inputs.of("rtstruct")):
        parsed = _readable(context, parse_rtstruct, data_set, set_id)
        if parsed is None:
            continue
        context.report(*parsed.findings)
        write_structure_set(context.out / "structure_sets", set_id, parsed, inputs.hash_of)
        frames[set_id] = _frames(parsed)
        drawn[set_id] = drawn_in(parsed)
    return frames, drawn


def _report_frames(
    context: StageContext, inputs: RtInputs, objects: CourseObjects, drawn: Mapping[str, DrawnIn]
) -> None:
    """SS_FOR_MISMATCH of every set that is bound to an image."""
    image_frames = {i.image_id: i.frame_hash for i in inputs.course.images}
    for ref in inputs.course.structure_sets:
        frame, where = image_frames.get(ref.image_id or ""), drawn.get(ref.structure_set_id)
        if frame and where:
            context.report(*frame_findings(ref.structure_set_id, where, frame, inputs.hash_of, objects.links))


def _readable(
    context: StageContext, parse: Callable[[Dataset, str], Parsed], data_set: Dataset, name: str
) -> Parsed | None:
    """What an object holds; None, with its finding, where one of its sequences cannot be taken apart."""
    try:
        return parse(data_set, name)
    except UnreadableElementError as error:
        context.report(finding("FILE_TRUNCATED", name, str(error), expected="sequences of whole items"))
        return None


def _frames(parsed: StructureSet) -> frozenset[str]:
    """Frames of the drawn structures; of the whole set where nothing is drawn."""
    drawn = {r.frame_uid for r in parsed.rois if r.n_closed}
    return frozenset(drawn - {""}) if drawn else frozenset(parsed.frame_uids)


def _parse(context: StageContext, inputs: RtInputs, set_frames: dict[str, frozenset[str]]) -> CourseObjects:
    """Plans, doses, registrations and records. The pixels of a dose stay as the file's bytes until they are needed."""
    objects = CourseObjects(
        course=inputs.course,
        plans={},
        doses={},
        set_frames=set_frames,
        uids={i: row["sop_instance_uid"] for i, row in inputs.rows.items()},
    )
    registrations: dict[str, Registration] = {}
    rows = [row for kind in ("rtplan", "rtdose", "reg", "rtrecord") for row in inputs.of(kind)]
    for object_id, data_set in open_objects(context, rows):
        parse = PARSERS[inputs.rows[object_id]["kind"]]
        parsed = _readable(context, parse, data_set, object_id)
        if isinstance(parsed, RtPlan):
            objects.plans[object_id] = parsed
            context.report(*parsed.findings)
        elif isinstance(parsed, RtDose):
            objects.doses[object_id] = parsed
        elif isinstance(parsed, Registration):
            registrations[object_id] = parsed
        elif parsed is not None:
            objects.delivered += parsed
    objects.doses, objects.planes = join_planes(objects.doses)
    for dose in objects.doses.values():
        context.report(*dose.findings)
    objects.links = [
        FrameLink(reg_id, link.from_uid, link.to_uid, link.matrix)
        for reg_id, registration in sorted(registrations.items())
        for link in registration.links
    ]
    _write_registrations(context, inputs, registrations)
    return objects


def _write_registrations(context: StageContext, inputs: RtInputs, registrations: dict[str, Registration]) -> None:
    entries = []
    for reg_id, registration in sorted(registrations.items()):
        facts = json.loads(inputs.rows[reg_id]["facts"] or "{}")
        if facts.get("valid", True):  # organize has reported the others
            context.report(*registration.findings)
        entries.append(
            {
                "reg_id": reg_id,
                "valid": bool(registration.links),
                "problem": "; ".join(f.measured for f in registration.findings) or None,
                "links": [
                    {
                        "from_frame_hash": inputs.hash_of(link.from_uid),
                        "to_frame_hash": inputs.hash_of(link.to_uid),
                        "matrix": link.matrix.tolist(),
                        "identity": link.is_identity,
                    }
                    for link in registration.links
                ],
            }
        )
    _write_json(context.out / "registrations.json", entries)


def _write_plans(context: StageContext, inputs: RtInputs, objects: CourseObjects) -> None:
    entries = []
    for ref in inputs.course.plans:
        plan = objects.plans.get(ref.plan_id)
        if plan is None:
            continue
        entries.append(plan_facts(ref, plan, inputs.hash_of, objects.plan_id_of))
        if ref.selected:
            context.report(*plan_findings(ref.plan_id, plan, inputs.course.manifest))
    _write_json(context.out / "plans.json", entries)


def _write_doses(context: StageContext, inputs: RtInputs, objects: CourseObjects, decided: CourseDoses) -> None:
    entries = []
    for dose in decided.made:
        links, findings = structure_links(objects, dose)
        context.report(*findings)
        transforms = {objects.doses[i].spatial_transform for i in dose.rtdose_ids} - {"", "NONE"}
        entry = course_dose_entry(dose, links, decided.total, inputs.hash_of(dose.frame), sorted(transforms))
        entries.append(entry | {"rtdose_ids": objects.with_planes(dose.rtdose_ids)})
        _write_volume(context.out / "doses" / dose.dose_id, dose)
        log.info("%s %s: %s of %s", inputs.course.course_id, dose.dose_id, dose.basis, ", ".join(dose.rtdose_ids))
    _write_json(context.out / "doses.json", entries)
    fates = {
        rtdose_id: fate | {"rtdose_id": rtdose_id}
        for first, fate in decided.ledger.fates.items()
        for rtdose_id in objects.with_planes([first])
    }
    _write_json(context.out / "dose_objects.json", [fate for _, fate in sorted(fates.items())])
    total = decided.total
    _write_json(
        context.out / "course_total.json",
        {"status": total.status, "reason": total.reason or None, "dose_basis": total.basis or None,
         "weights": dict(total.weights)},
    )  # fmt: skip


def _write_volume(folder: Path, dose: MadeDose) -> None:
    """`dose.npy` (z, y, x) float32 Gy, `known.npy` where not all is known, `geometry.json`."""
    folder.mkdir(parents=True)
    np.save(folder / "dose.npy", dose.volume.dose_gy.astype(np.float32))
    if dose.volume.known is not None:
        np.save(folder / "known.npy", dose.volume.known)
    _write_json(folder / "geometry.json", dose.volume.grid.to_json())


def _write_records(context: StageContext, inputs: RtInputs, objects: CourseObjects, decided: CourseDoses) -> None:
    common: dict[str, Any] = {
        "cohort": context.cohort,
        "patient_id": inputs.course.patient_id,
        "course_id": inputs.course.course_id,
        "stage_key": context.stage_key,
    }
    fractions = fraction_rows(objects, inputs.day_of, common)
    if fractions:
        FRACTIONS.write(FRACTIONS.frame(fractions), context.out / "fractions.parquet")
    curves = tps_dvh_rows(objects, decided.made, common)
    if curves:
        TPS_DVH.write(TPS_DVH.frame(curves), context.out / "tps_dvh.parquet")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
