"""Stage custom_models: declared nnU-Net models on the planning image. One that is refused or fails is a finding."""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.manifests import ImageRef
from rtpipeline.contracts.tables import SEGMENTATION
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.execution.environment import gpus
from rtpipeline.execution.ladder import items_end_s
from rtpipeline.prepare.image_files import IMAGE, ImageGeometry, image_folder, load_geometry
from rtpipeline.segmentation.body_regions import Region, as_json, class_volumes_cc, gate, measure_regions
from rtpipeline.segmentation.custom_model import InvalidModelError
from rtpipeline.segmentation.device import Device, choose_device
from rtpipeline.segmentation.label_map import LabelMap, read_label_maps
from rtpipeline.segmentation.model_folder import CustomModel, check_model, offered_models
from rtpipeline.segmentation.nnunet import Prediction, PredictionError, predict
from rtpipeline.segmentation.outputs import write_outputs
from rtpipeline.segmentation.weights import subset_of

BODY_REGIONS = "body_regions.json"

FAILURES = {"memory": "SEG_OOM", "shared_memory": "RES_SHM", "no_gpu": "SEG_NO_GPU", "timeout": "RES_TIMEOUT"}
"""Finding code by kind of failure; SEG_FAILED for all others."""

LISTED = 8
"""Names in a finding, at most."""

LOST = "its structures are missing, the other models go on"


@dataclass
class _Run:
    """What the models of one course share, and what has come of them so far."""

    context: StageContext
    prepared: Path
    image: ImageRef
    geometry: ImageGeometry
    device: Device
    ends_s: float
    """when the last model must have ended, on the clock `time.monotonic`"""
    regions: dict[str, Region] | None
    """None: no label map to measure them from"""
    earlier: dict[str, LabelMap]
    """what an earlier, partial output holds, by model"""
    rows: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


def run(context: StageContext) -> StageOutcome:
    """Run every model that is declared, selected and fits the course."""
    started_s = time.monotonic()
    section = context.config.custom_models
    if not section.enabled:
        return StageOutcome(status="disabled", reason="custom_models.enabled is false")
    course = context.course()
    models, invalid = offered_models(section, demo=course.demo)
    if not models and not invalid:
        return StageOutcome(status="not_applicable", reason="no model is declared and enabled")
    image, prepared = course.planning_image, context.input("prepare_images")
    if image is None or not (image_folder(prepared, image.image_id) / IMAGE).is_file():
        return StageOutcome(status="not_applicable", reason="no planning image")
    context.report(*(_invalid(i.name, i.error) for i in invalid))
    if importlib.util.find_spec("nnunetv2") is None:
        return _not_run(context, models, "SEG_FAILED", "nnU-Net is not installed", _INSTALL)
    device = choose_device(context.config.segmentation.device, gpus())
    if device is None:
        return _not_run(context, models, "SEG_NO_GPU", f"{len(gpus())} GPUs", None)
    work = _Run(
        context,
        prepared,
        image,
        load_geometry(image_folder(prepared, image.image_id)),
        device,
        items_end_s(context.stage, context.config, started_s),
        _regions(context, prepared, image.image_id),
        _earlier(context, prepared, image.image_id),
    )
    work.counts["invalid"] = len(invalid)
    for model in models:
        work.counts[_one(work, model, demo=course.demo)] += 1
    SEGMENTATION.write(SEGMENTATION.frame(work.rows), context.out / "segmentation.parquet")
    if work.regions is not None:
        text = json.dumps(as_json(work.regions), indent=1, sort_keys=True)
        (context.out / BODY_REGIONS).write_text(text + "\n", encoding="ascii")
    return StageOutcome(
        status="partial" if work.failed else "done",
        reason=f"models without a result: {', '.join(work.failed)}" if work.failed else "",
        counts=dict(sorted(work.counts.items())),
        weights=work.weights,
        device=work.device.name,
    )


_INSTALL = "pip install 'rtpipeline[segmentation]'"


def _not_run(
    context: StageContext, models: list[CustomModel], code: str, measured: str, remedy: str | None
) -> StageOutcome:
    """None of the models can run; no error where nobody declared one and the demo's own is missed."""
    severity = "W" if all(model.is_builtin for model in models) else "E"
    action = "stage `not_run`, the course goes on"
    context.report(finding(code, "custom models", measured, severity=severity, action=action, remedy=remedy))
    return StageOutcome(status="not_run", reason=measured)


def _invalid(name: str, error: InvalidModelError) -> Finding:
    return finding(
        "MODEL_INVALID", f"custom model {name}", error.measured, expected=error.expected, remedy=error.remedy
    )


def _regions(context: StageContext, prepared: Path, image_id: str) -> dict[str, Region] | None:
    """Body regions of the image by TotalSegmentator's label map; None where there is none."""
    folder = context.inputs.get("segmentation")
    for label_map in read_label_maps(folder, prepared) if folder is not None else ():
        is_total = (label_map.image_id, label_map.source, label_map.model) == (image_id, "totalsegmentator", "total")
        if is_total and label_map.grid.plane_spacing_mm is not None:  # one plane has no volumes
            subset = subset_of(context.config.segmentation, label_map.model)
            return measure_regions(class_volumes_cc(label_map, subset or None))
    return None


def _earlier(context: StageContext, prepared: Path, image_id: str) -> dict[str, LabelMap]:
    if context.previous is None or context.config.custom_models.force:
        return {}
    return {m.model: m for m in read_label_maps(context.previous, prepared) if m.image_id == image_id}


def _one(work: _Run, model: CustomModel, *, demo: bool) -> str:
    """Run one model, or say why not; returns what became of it: done, refused, invalid or failed."""
    context, name = work.context, f"custom model {model.name}"
    refusal = _refusal(work, model, name, demo=demo)
    if refusal is not None:
        context.report(refusal)
        return "refused"
    try:
        check_model(model)
    except InvalidModelError as error:
        context.report(_invalid(model.name, error))
        return "invalid"
    label_map = work.earlier.get(model.name)
    if label_map is None or label_map.weights != model.weights:
        try:
            label_map = _label_map(work, model, _predicted(work, model))
        except PredictionError as error:
            context.report(_failure(error, name, context.config.timeouts.custom_model_s))
            work.failed.append(model.name)
            return "failed"
    rows = write_outputs(context.out, label_map, work.prepared, context)
    absent = [row["structure_name"] for row in rows if row["status"] == "not_found"]
    if absent:
        context.report(
            finding("SEG_EMPTY", name, f"{len(absent)} of {len(rows)} not found: {', '.join(absent[:LISTED])}")
        )
    work.rows += rows
    work.weights |= model.weights
    return "done"


def _failure(error: PredictionError, name: str, limit_s: float) -> Finding:
    expected = (
        f"at most {limit_s:g} s (timeouts.custom_model_s), within the stage's (timeouts.stage_s)"
        if error.kind == "timeout"
        else None
    )
    code = FAILURES.get(error.kind, "SEG_FAILED")
    return finding(code, name, error.reason, expected=expected, severity="E", action=LOST)


def _refusal(work: _Run, model: CustomModel, name: str, *, demo: bool) -> Finding | None:
    """Why a model does not run on this course. Regions that nobody measured refuse nothing, but are told."""
    declared = model.declaration
    if model.is_phantom and not demo:
        return finding(
            "MODEL_REFUSED",
            name,
            "a network of the demo's phantom, and a course that is not of the demo",
            severity="E",
            expected="a network that was trained on patients",
            remedy="remove it from custom_models.root",
        )
    if declared.modality != work.image.modality:
        measured = f"planning image {work.image.image_id} is {work.image.modality}"
        return finding("MODEL_REFUSED", name, measured, expected=f"a planning image of modality {declared.modality}")
    gated = gate(declared.required_body_regions, declared.min_region_confidence, work.regions or {})
    if gated.refused:
        expected = f"{', '.join(declared.required_body_regions)} with confidence {declared.min_region_confidence:g}"
        return finding("MODEL_REFUSED", name, "; ".join(gated.refused), expected=expected)
    if gated.unknown:
        why = "no label map of TotalSegmentator" if work.regions is None else "roi_subset leaves out its anchors"
        work.context.report(finding("MODEL_UNGATED", name, f"{', '.join(gated.unknown)} not measured: {why}"))
    return None


def _predicted(work: _Run, model: CustomModel) -> Prediction:
    """The model's prediction, on the CPU where torch sees no GPU and the configuration leaves the choice."""
    try:
        return _predict(work, model)
    except PredictionError as error:
        if error.kind != "no_gpu" or work.context.config.segmentation.device != "auto":
            raise
        work.device = Device(is_fallback=True)
    return _predict(work, model)


def _predict(work: _Run, model: CustomModel) -> Prediction:
    context = work.context
    if work.device.is_fallback and "SEG_CPU" not in {f.code for f in context.findings}:
        context.report(finding("SEG_CPU", "custom models", "no GPU"))
    own_s, left_s = context.config.timeouts.custom_model_s, work.ends_s - time.monotonic()
    if left_s <= 0:
        raise PredictionError("timeout", "not begun when the stage's time was up")
    # in the output: what a stage that is killed leaves there is removed
    with tempfile.TemporaryDirectory(dir=context.out) as scratch:
        return predict(
            model,
            image_folder(work.prepared, work.image.image_id) / IMAGE,
            work.geometry.voxel,
            Path(scratch),
            device=work.device,
            threads=context.threads,
            timeout_s=min(own_s, left_s),
        )


def _label_map(work: _Run, model: CustomModel, predicted: Prediction) -> LabelMap:
    names = dict(sorted(model.declaration.labels.items()))
    values = predicted.values
    unnamed = sorted(set(np.unique(values).tolist()) - {0} - names.keys())
    if unnamed:
        raise PredictionError("other", f"its label map has numbers that no label has: {unnamed[:5]}")
    if model.declaration.keep_largest_component:
        values = keep_largest_components(values)
    return LabelMap(
        image_id=work.image.image_id,
        source="custom",
        model=model.name,
        values=values,
        grid=work.geometry.voxel,
        names=names,
        resolution_mm=predicted.resolution_mm,
        phantom=model.is_phantom,
        weights=model.weights,
        device=predicted.device,
    )


def keep_largest_components(values: NDArray[Any]) -> NDArray[Any]:
    """(z, y, x) label numbers with only the largest piece (26-connected) of each label; of equal ones the first."""
    kept = np.zeros_like(values)
    for number, box in enumerate(ndimage.find_objects(values), start=1):
        if box is None:
            continue
        pieces, _ = ndimage.label(values[box] == number, structure=np.ones((3, 3, 3)))
        largest = np.argmax(np.bincount(pieces.ravel())[1:]) + 1
        kept[box][pieces == largest] = number
    return kept
