"""Checks of images, and of what ties structure sets and doses to them. Each function gives the rows of one check."""

from __future__ import annotations

from rtpipeline.config import QcConfig
from rtpipeline.qc.measures import Measured, Status, nothing
from rtpipeline.qc.outputs import CourseOutputs, Row


def images(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Whether each image that was to be prepared is."""
    rows = [r for r in outputs.rows("prepare_images", "images.parquet") if r["status"] != "not_prepared"]
    return [
        Measured(
            r["image_id"],
            "pass" if r["status"] == "ok" else "fail",
            f"{r['modality']}, {r['role']}, {r['planes'] or r['instances']} slices: {r['status']}"
            + (f" ({r['reason']})" if r["reason"] else ""),
        )
        for r in rows
    ] or nothing("no image to prepare")


def _prepared(outputs: CourseOutputs) -> list[Row]:
    return [r for r in outputs.rows("prepare_images", "images.parquet") if r["status"] == "ok"]


def slices(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Gaps and spacing of the slices of each image."""
    found = []
    for r in _prepared(outputs):
        measured = f"{r['planes']} slices, {r['spacing_kind']}"
        if r["largest_gap_mm"] is not None and r["plane_spacing_mm"] is not None:
            measured += f", largest step {r['largest_gap_mm']:.2f} mm, spacing {r['plane_spacing_mm']:.2f} mm"
        if r["missing_slices"]:
            measured += f", {r['missing_slices']} missing"
        found.append(Measured(r["image_id"], "pass" if r["spacing_kind"] == "uniform" else "warn", measured))
    return found or nothing("no prepared image")


def orientation(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """How each image lies in the patient; an oblique one is nothing to warn of."""
    return [
        Measured(
            r["image_id"],
            "warn" if r["shear_corrected"] else "pass",
            f"{r['plane_class']}, {r['obliquity_deg'] or 0.0:.1f} degrees oblique, shear {r['shear_deg'] or 0.0:.1f}"
            f" degrees, {r['patient_position'] or 'no patient position'}",
        )
        for r in _prepared(outputs)
    ] or nothing("no prepared image")


def values(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """HU of each CT: scale and field of view."""
    found = []
    for r in _prepared(outputs):
        if r["modality"] != "CT":
            continue
        fine = r["hu_status"] == "calibrated" and not r["truncated_fov"]
        air = f", air {r['air_hu']:.0f} HU" if r["air_hu"] is not None else ""
        cut = ", body cut off at the field's edge" if r["truncated_fov"] else ""
        found.append(Measured(r["image_id"], "pass" if fine else "warn", f"HU {r['hu_status']}{air}{cut}"))
    return found or nothing("no prepared CT")


def frames(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Whether structure sets lie in the frame of their image, and doses in that of a structure set."""
    of_image = {i.image_id: i.frame_hash for i in outputs.course.images}
    found = []
    for ref in outputs.course.structure_sets:
        frame = of_image.get(ref.image_id or "")
        if frame is None or ref.frame_hash is None:
            continue
        same = frame == ref.frame_hash
        measured = f"same frame as {ref.image_id}" if same else f"another frame than {ref.image_id}"
        found.append(Measured(ref.structure_set_id, "pass" if same else "fail", measured))
    for dose in outputs.facts("prepare_rt", "doses.json"):
        links = ", ".join(f"{e['structure_set_id']} ({e['link'].replace('_', ' ')})" for e in dose["structure_sets"])
        if links:
            found.append(Measured(dose["dose_id"], "pass", f"applies to {links}"))
        elif outputs.course.structure_sets:
            found.append(Measured(dose["dose_id"], "fail", "applies to no structure set"))
    return found or nothing("nothing to compare: fewer than two of image, structure set and dose")


def set_images(outputs: CourseOutputs, config: QcConfig) -> list[Measured]:
    """Which rule bound each structure set to its image."""
    status: dict[str, Status] = {"series": "pass", "images": "pass", "frame_of_reference": "warn", "none": "fail"}
    if not outputs.course.images:
        status["none"] = "warn"  # nothing that it could have been bound to
    return [
        Measured(
            s.structure_set_id,
            status[s.image_link],
            f"{s.image_id} by {s.image_link.replace('_', ' ')}, {s.role}" if s.image_id else "bound to no image",
        )
        for s in outputs.course.structure_sets
    ] or nothing("no structure set")
