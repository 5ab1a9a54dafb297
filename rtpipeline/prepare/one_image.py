"""One image of a course: from its rows of the private index to its folder and its row of `images.parquet`."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.manifests import ImageRef
from rtpipeline.dicom.deidentify import code_values, plain_text, series_template
from rtpipeline.dicom.orientation import axis_code, obliquity_deg, plane_class
from rtpipeline.prepare.image_checks import planes_cut_off, value_range
from rtpipeline.prepare.image_files import image_folder, write_image
from rtpipeline.prepare.pixels import CT_FILL_HU, OTHER_FILL
from rtpipeline.prepare.read_planes import Objects, PlanesRead, Row, contents_of, read_planes, series_headers
from rtpipeline.prepare.select_slices import Selection, assess_stack, select_slices
from rtpipeline.prepare.volume import Canonical, canonical_volume

CUT_OFF_PLANES = 2
"""Planes in which the body must reach the edge of the field before the image counts as truncated."""

NO_CONTRAST = frozenset({"NONE", "NO", "N", "WITHOUT", "OHNE", "0", "NATIV", "NATIVE"})
"""Entries of ContrastBolusAgent that say there was none."""


@dataclass(frozen=True)
class ImageJob:
    """What is needed to prepare one image. referenced: SOP instances that the course's structure sets draw on."""

    image: ImageRef
    rows: Sequence[Row]
    patient_id: str
    secret: bytes
    max_gap_mm: float
    referenced: frozenset[str] = frozenset()


@dataclass
class ImageResult:
    """A row of `images.parquet` and the findings behind it."""

    row: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)


def listed_row(image: ImageRef, rows: Sequence[Row]) -> dict[str, Any]:
    """What is known of an image without opening it."""
    first = min(rows, key=lambda r: str(r["sop_instance_uid"])) if rows else {}
    thickness = [float(r["slice_thickness"]) for r in rows if r.get("slice_thickness") is not None]
    return {
        "image_id": image.image_id,
        "modality": image.modality,
        "image_class": image.image_class,
        "role": image.role,
        "status": "not_prepared",
        "instances": image.instances,
        "rows": first.get("rows"),
        "columns": first.get("columns"),
        "slice_thickness_mm": float(np.median(thickness)) if thickness else None,
        "patient_position": plain_text(first.get("patient_position")),
        "contrast": contrast_of(rows),
        "manufacturer": plain_text(first.get("manufacturer")),
        "model": plain_text(first.get("model")),
        "frame_of_reference_stated": bool(first.get("frame_uid")) if rows else None,
    }


def contrast_of(rows: Sequence[Row]) -> bool | None:
    """Whether a contrast agent is stated; None when no slice says anything."""
    stated = {str(r["contrast_agent"]).strip().upper() for r in rows if str(r.get("contrast_agent") or "").strip()}
    return bool(stated - NO_CONTRAST) if stated else None


def prepare_image(job: ImageJob, objects: Objects, out: Path) -> ImageResult:
    """Write the image's folder below `out`, or say in the row why it was refused."""
    image_id, modality = job.image.image_id, job.image.modality
    result = ImageResult(listed_row(job.image, job.rows))
    selection = select_slices(
        image_id,
        series_headers(job.rows, objects),
        modality=modality,
        max_gap_mm=job.max_gap_mm,
        referenced=job.referenced,
        contents=contents_of(job.rows, objects),
    )
    if selection.refused or selection.stack is None:
        return _refused(result, selection)
    read = read_planes(job.rows, selection.stack, modality, objects)
    values: np.ndarray = read.planes.values
    if read.failed:
        # the geometry is assessed again without them, as if they had not been exported
        kept = [k for k in range(len(selection.stack.slices)) if k not in read.failed]
        selection.findings = _after_failures(image_id, read, selection)
        if not kept:
            selection.refused = min(read.failed.values())
            return _refused(result, selection)
        assess_stack(image_id, selection.stack.without(read.failed), job.max_gap_mm, selection)
        if selection.refused:
            return _refused(result, selection)
        values = values[kept]
    scaling = _check_scaling(job.image, read, selection)
    if selection.refused:
        return _refused(result, selection)
    return _written(job, selection, read, scaling, values, result, out)


def _written(
    job: ImageJob,
    selection: Selection,
    read: PlanesRead,
    scaling: str,
    values: np.ndarray,
    result: ImageResult,
    out: Path,
) -> ImageResult:
    stack, plan = selection.stack, selection.plan
    if stack is None or plan is None or read.first is None:
        raise ValueError(f"{job.image.image_id}: no planes to write")
    is_hu = bool(read.scales) and all(read.hounsfield(job.image.modality))
    fill = CT_FILL_HU if is_hu else OTHER_FILL
    volume = canonical_volume(values, stack, plan, fill)
    measures = _measures(volume, read, is_hu)
    if is_hu and measures["lowest_value"] >= 0 and not any(s.intercept for s in read.scales.values()):
        scaling = "implausible"
        selection.findings.append(_implausible(job.image.image_id, measures["lowest_value"]))
    elif is_hu:
        measures |= _truncation(job.image.image_id, volume, _fill_in(volume, read), selection)
    if result.row["contrast"]:
        selection.findings.append(finding("IMG_CONTRAST", job.image.image_id, "contrast agent stated"))
    units = _units(job.image.modality, is_hu, read)
    facts = {
        "modality": job.image.modality,
        "units": units,
        "hu_status": scaling,
        "fill_value": fill,
        "spacing_kind": plan.kind,
        "missing_slices": plan.missing,
        "shear_deg": stack.shear_deg,
        "shear_corrected": stack.is_sheared,
    }
    first_row = next(r for r in job.rows if r["sop_instance_uid"] == stack.slices[0].uid)
    template = series_template(
        read.first,
        stack.slices,
        patient_id=job.patient_id,
        study_uid=str(first_row["study_uid"]),
        series_uid=str(first_row["series_uid"]),
        frame_uid=str(first_row["frame_uid"] or ""),
        secret=job.secret,
    )
    positions = [list(s.position_mm or ()) for s in stack.slices]
    write_image(image_folder(out, job.image.image_id), job.image.image_id, volume, positions, facts, template)
    kvp = read.first.get("KVP")
    result.row |= {
        **_geometry_columns(selection),
        **measures,
        "status": "ok",
        "interpolated_planes": len(volume.interpolated),
        "dtype": volume.values.dtype.name,
        "units": units,
        "hu_status": scaling,
        "kvp": float(kvp) if kvp else None,
        "kernel": plain_text(read.first.get("ConvolutionKernel")),
        "content_sha256": _content_sha256(volume),
    }
    result.findings += selection.findings
    return result


def _refused(result: ImageResult, selection: Selection) -> ImageResult:
    result.row |= {"status": "refused", "reason": selection.refused, **_geometry_columns(selection)}
    result.findings += selection.findings
    return result


def _geometry_columns(selection: Selection) -> dict[str, Any]:
    stack, plan = selection.stack, selection.plan
    if stack is None:
        return {}
    orientation = [*stack.row_direction, *stack.column_direction]
    columns: dict[str, Any] = {
        "planes": len(stack.slices),
        "rows": stack.slices[0].rows,
        "columns": stack.slices[0].columns,
        "column_spacing_mm": stack.pixel_spacing_mm[1],
        "row_spacing_mm": stack.pixel_spacing_mm[0],
        "plane_class": plane_class(orientation),
        "axis_code": axis_code(orientation),
        "obliquity_deg": round(obliquity_deg(orientation), 3),
        "shear_deg": round(stack.shear_deg, 3),
        "shear_corrected": stack.is_sheared,
    }
    if plan is not None:
        columns |= {
            "plane_spacing_mm": plan.step_mm,
            "largest_gap_mm": plan.largest_gap_mm,
            "spacing_kind": plan.kind,
            "missing_slices": plan.missing,
        }
    return columns


def _after_failures(image_id: str, read: PlanesRead, selection: Selection) -> list[Finding]:
    """Findings that do not depend on the distances of planes, and one for each way in which planes failed."""
    distances = {"IMG_MISSING_SLICE", "IMG_NONUNIFORM_Z", "IMG_GANTRY_TILT"}
    kept = [f for f in selection.findings if f.code not in distances]
    for code, count in sorted(Counter(read.failed.values()).items()):
        kept.append(finding(code, image_id, f"{count} of {read.planes.values.shape[0]} slices"))
    return kept


def _check_scaling(image: ImageRef, read: PlanesRead, selection: Selection) -> str:
    """`hu_status` of the image, with findings; mixed scales refuse it."""
    for value in sorted(read.undeclared_padding):
        selection.findings.append(
            finding(
                "IMG_RESCALE",
                image.image_id,
                f"{value:g} HU outside the field without PixelPaddingValue",
                severity="I",
                expected="declared padding",
                action=f"set to {CT_FILL_HU:g} HU",
                remedy="none needed",
            )
        )
    for value in sorted(read.ignored_padding):
        selection.findings.append(
            finding(
                "IMG_RESCALE",
                image.image_id,
                f"PixelPaddingValue lies at {value:g} HU, among the tissues",
                expected="padding below air",
                action="not treated as padding",
            )
        )
    if image.modality != "CT":
        return "not_ct"
    hounsfield = read.hounsfield(image.modality)
    if not all(hounsfield) and any(hounsfield):
        selection.refuse(
            finding(
                "IMG_RESCALE",
                image.image_id,
                f"{hounsfield.count(False)} of {len(hounsfield)} slices without rescale to HU",
                severity="E",
                action="image left out, since its slices have different units",
            )
        )
        return "missing_rescale"
    if not any(hounsfield):
        types = sorted({s.rescale_type for s in read.scales.values() if s.is_stated} - {""})
        measured = f"RescaleType {', '.join(plain_text(t) for t in types)}" if types else "no RescaleSlope or Intercept"
        selection.findings.append(finding("IMG_RESCALE", image.image_id, measured))
        return "missing_rescale"
    scales = {(s.slope, s.intercept) for s in read.scales.values()}
    if len(scales) > 1:
        slopes, intercepts = ([v or 0.0 for v in values] for values in zip(*scales, strict=True))
        selection.findings.append(
            finding(
                "IMG_RESCALE",
                image.image_id,
                f"RescaleSlope {min(slopes):g} to {max(slopes):g}, "
                f"RescaleIntercept {min(intercepts):g} to {max(intercepts):g}",
                action="applied slice by slice",
            )
        )
    return "cbct" if image.image_class == "cbct" else "calibrated"


def _measures(volume: Canonical, read: PlanesRead, is_hu: bool) -> dict[str, Any]:
    extent = value_range(volume.values, is_hu=is_hu, fill=_fill_in(volume, read) if is_hu else None)
    return {
        "lowest_value": extent.lowest,
        "highest_value": extent.highest,
        "air_hu": extent.air,
        "padded_pct": round(100.0 * read.padded / read.planes.values.size, 3),
    }


def _fill_in(volume: Canonical, read: PlanesRead) -> float | None:
    """The value of voxels outside the reconstructed field of a CT, where there are any."""
    return CT_FILL_HU if read.padded > 0 or volume.straightened else None


def _implausible(image_id: str, lowest: float) -> Finding:
    return finding(
        "IMG_RESCALE",
        image_id,
        f"lowest value {lowest:g} HU with RescaleIntercept 0",
        expected="air near -1000 HU",
        action="values as the tags say; image left out of HU features",
    )


def _truncation(image_id: str, volume: Canonical, fill: float | None, selection: Selection) -> dict[str, Any]:
    spacing = volume.voxel.row_spacing_mm, volume.voxel.column_spacing_mm
    cut, looked_at = planes_cut_off(volume.values, spacing, fill)
    truncated = cut >= min(CUT_OFF_PLANES, looked_at)
    if truncated:
        measured = f"body at the edge in {cut} of {looked_at} planes looked at"
        selection.findings.append(finding("IMG_TRUNCATED_FOV", image_id, measured))
    return {"truncated_fov": truncated}


def _units(modality: str, is_hu: bool, read: PlanesRead) -> str:
    if modality == "CT":
        return "HU" if is_hu else "stored"
    if modality == "PT" and read.first is not None:
        return (code_values(read.first.get("Units")) or ["unknown"])[0]
    return "arbitrary"


def _content_sha256(volume: Canonical) -> str:
    digest = hashlib.sha256(json.dumps(volume.voxel.to_json(), sort_keys=True).encode())
    digest.update(volume.values.dtype.name.encode())
    for plane in volume.values:
        digest.update(np.ascontiguousarray(plane, plane.dtype.newbyteorder("<")).data)
    return digest.hexdigest()
