"""Stage segmentation: TotalSegmentator on the course's images, one label map for each image and task."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.manifests import Course, ImageRef, StageRecord
from rtpipeline.contracts.tables import SEGMENTATION
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.execution.environment import gpus, totalsegmentator_license
from rtpipeline.execution.ladder import items_end_s
from rtpipeline.prepare.image_files import IMAGE, image_folder, load_geometry
from rtpipeline.segmentation import catalogue
from rtpipeline.segmentation.catalogue import Task
from rtpipeline.segmentation.device import Device, choose_device
from rtpipeline.segmentation.label_map import LabelMap, read_label_maps
from rtpipeline.segmentation.orientation_check import centres_xyz_mm, orientation_votes
from rtpipeline.segmentation.outputs import write_outputs
from rtpipeline.segmentation.totalsegmentator import Job, Segmented, segment
from rtpipeline.segmentation.weights import Weights, configured_tasks, subset_of, weights_of

Ending = Literal["done", "not_run", "refused", "failed"]
"""of an item: a label map; what it needs is absent; its label map is wrong; it may work when tried again"""

LISTED = 8
"""Names in a finding before `and n more`."""


@dataclass(frozen=True)
class Item:
    """One task on one image."""

    image: ImageRef
    task: Task
    subset: tuple[str, ...]

    @property
    def name(self) -> str:
        """`ct-01 total`: the object of its findings."""
        return f"{self.image.image_id} {self.task.name}"

    @property
    def classes(self) -> dict[int, str]:
        """Structures that it is asked for, by number."""
        return {n: name for n, name in self.task.classes.items() if not self.subset or name in self.subset}


@dataclass
class _Run:
    """What the items of one course share, and what has come of them so far."""

    context: StageContext
    prepared: Path
    demo: bool
    device: Device
    ends_s: float
    """when the last network must have ended, on the clock `time.monotonic`"""
    earlier: dict[tuple[str, str], LabelMap]
    """what an earlier, partial output holds, by image and task"""
    earlier_findings: list[Finding]
    rows: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=dict)
    endings: dict[str, Ending] = field(default_factory=dict)


def run(context: StageContext) -> StageOutcome:
    """Segment every image that the configuration names, with `total` and the extra models."""
    started_s = time.monotonic()
    section = context.config.segmentation
    if section.enabled is False:
        return StageOutcome(status="disabled", reason="segmentation.enabled is false")
    course, prepared = context.course(), context.input("prepare_images")
    images = images_to_segment(course, prepared, every=section.images == "prepared")
    if not images:
        return StageOutcome(status="not_applicable", reason="no CT or MR image")
    if not catalogue.is_installed():
        return _not_run(context, "SEG_WEIGHTS_MISSING", "TotalSegmentator is not installed", _INSTALL)
    device = choose_device(section.device, gpus())
    if device is None:
        return _not_run(context, "SEG_NO_GPU", f"{len(gpus())} GPUs", None)
    ends_s = items_end_s(context.stage, context.config, started_s)
    work = _Run(context, prepared, course.demo, device, ends_s, *_earlier(context, prepared))
    for item in _items(context, images):
        work.endings[item.name] = _one(work, item)
    if set(work.endings.values()) <= {"not_run"}:
        return StageOutcome(status="not_run", reason="no task could run; see the findings")
    SEGMENTATION.write(SEGMENTATION.frame(work.rows), context.out / "segmentation.parquet")
    failed = [name for name, ending in work.endings.items() if ending == "failed"]
    return StageOutcome(
        status="partial" if failed else "done",
        reason=f"without a result: {', '.join(failed)}" if failed else "",
        counts={**dict(sorted(Counter(work.endings.values()).items())), "structures": len(work.rows)},
        weights=dict(sorted(work.weights.items())),
        device=work.device.name,
    )


_INSTALL = "pip install 'rtpipeline[segmentation]'"


def _not_run(context: StageContext, code: str, measured: str, remedy: str | None) -> StageOutcome:
    severity = "E" if context.config.segmentation.enabled is True else None
    context.report(finding(code, "segmentation", measured, severity=severity, remedy=remedy))
    return StageOutcome(status="not_run", reason=measured)


def images_to_segment(course: Course, prepared: Path, *, every: bool) -> list[ImageRef]:
    """The planning image, or every image: those that are CT or MR and were prepared."""
    wanted = course.images if every else [i for i in course.images if i.role == "planning"]
    return [
        image
        for image in wanted
        if image.modality in catalogue.TOTAL and (image_folder(prepared, image.image_id) / IMAGE).is_file()
    ]


def _items(context: StageContext, images: list[ImageRef]) -> Iterator[Item]:
    section = context.config.segmentation
    for image in images:
        for name, mode in configured_tasks(section, image.modality):
            subset = tuple(subset_of(section, name))
            yield Item(image, catalogue.task(name, mode, subset=bool(subset)), subset)


def _earlier(context: StageContext, prepared: Path) -> tuple[dict[tuple[str, str], LabelMap], list[Finding]]:
    """Label maps and findings of an earlier output that was left incomplete."""
    record = StageRecord.load(context.previous) if context.previous is not None else None
    if context.previous is None or record is None or context.config.segmentation.force:
        return {}, []
    maps = {(m.image_id, m.model): m for m in read_label_maps(context.previous, prepared)}
    return maps, [Finding.from_row(row) for row in record.findings]


def _one(work: _Run, item: Item) -> Ending:
    """Segment one image with one task, or say why not."""
    context = work.context
    weights = weights_of(item.task.networks, demo=work.demo)
    refusal = _refusal(work, item, weights)
    if refusal is not None:
        context.report(refusal)
        return "not_run" if refusal.code in ("SEG_WEIGHTS_MISSING", "SEG_LICENSE") else "failed"
    label_map = work.earlier.get((item.image.image_id, item.task.name))
    if label_map is not None and label_map.weights == weights.named:
        context.report(*(f for f in work.earlier_findings if f.object == item.name and f.code != "SEG_EMPTY"))
        _tell_fallback(work, label_map.device)
    else:
        segmented = _segment(work, item, weights)
        context.report(*segmented.findings)
        _tell_fallback(work, segmented.device)
        if segmented.values is None:
            return "not_run" if segmented.failure == "no_gpu" else "failed"
        label_map = _label_map(item, weights, segmented, segmented.values, work.prepared)
        if label_map is None:
            context.report(finding("SEG_FAILED", item.name, "its label map has numbers that no structure has"))
            return "failed"
        mirrored = _mirrored(label_map, item)
        if mirrored:
            context.report(*mirrored)
            return "refused"
    work.rows += write_outputs(context.out, label_map, work.prepared, context)
    work.weights |= weights.named
    context.report(*_absent(label_map, item))
    return "done"


def _tell_fallback(work: _Run, device: str) -> None:
    """Once for the course, when a network has run on the CPU for want of a GPU."""
    told = any(f.code == "SEG_CPU" for f in work.context.findings)
    if work.device.is_fallback and device == "cpu" and not told:
        work.context.report(finding("SEG_CPU", "segmentation", "no GPU"))


def _refusal(work: _Run, item: Item, weights: Weights) -> Finding | None:
    """Why an item does not run: licence, weights."""
    if item.task.needs_license and totalsegmentator_license() is None:
        return finding("SEG_LICENSE", item.name, "no licence number")
    if weights.damaged:
        measured = _listed(weights.damaged)
        return finding("SEG_FAILED", item.name, measured, expected="whole weights of this task", remedy=_fetch(item))
    if weights.missing:
        folders = dict.fromkeys(name.partition("/")[0] for name in weights.missing)
        severity = "E" if work.context.config.segmentation.enabled is True else None
        return finding("SEG_WEIGHTS_MISSING", item.name, _listed(list(folders)), severity=severity, remedy=_fetch(item))
    return None


def _fetch(item: Item) -> str:
    mode = "" if item.task.mode == "full" else f" --{item.task.mode}"
    return f"rtpipeline weights fetch --task {item.task.name}{mode}"


def _segment(work: _Run, item: Item, weights: Weights) -> Segmented:
    context, section = work.context, work.context.config.segmentation
    folder = image_folder(work.prepared, item.image.image_id)
    job = Job(
        name=item.name,
        image=folder / IMAGE,
        grid=load_geometry(folder).voxel,
        task=item.task,
        weights=weights.root,
        device=work.device,
        may_use_cpu=section.device == "auto",
        subset=item.subset,
        threads=context.threads,
        timeout_s=context.config.timeouts.totalsegmentator_s,
        ends_s=work.ends_s,
        split=section.force_split,
        processes_in=max(section.nr_threads_resample or 1, section.num_proc_preprocessing or 1),
        processes_out=max(section.nr_threads_save or 1, section.num_proc_export or 1),
        license_number=totalsegmentator_license(),
    )
    segmented = segment(job, context.out)
    if any(f.code == "SEG_CPU" for f in segmented.findings):
        work.device = Device(is_fallback=True)  # torch sees no GPU: the next items need not try
    return segmented


def _label_map(
    item: Item, weights: Weights, segmented: Segmented, values: NDArray[np.uint8], prepared: Path
) -> LabelMap | None:
    """The result with all that belongs to it; None when it holds numbers that were not asked for."""
    if set(np.unique(values).tolist()) - {0} - item.classes.keys():
        return None
    return LabelMap(
        image_id=item.image.image_id,
        source="totalsegmentator",
        model=item.task.name,
        values=values,
        grid=load_geometry(image_folder(prepared, item.image.image_id)).voxel,
        names=item.classes,
        resolution_mm=item.task.resolution_mm or planned_resolution_mm(item.task, weights),
        phantom=weights.phantom,
        weights=weights.named,
        device=segmented.device,
    )


def planned_resolution_mm(task: Task, weights: Weights) -> float:
    """Coarsest voxel edge in the plans of a task's own network, for tasks that the library does not resample for."""
    network = task.networks[0]
    plans = json.loads((weights.root / network.path / "plans.json").read_bytes())
    return float(max(plans["configurations"][network.configuration.rpartition("__")[2]]["spacing"]))


def _mirrored(label_map: LabelMap, item: Item) -> list[Finding]:
    """One finding for each axis along which the map is the wrong way round."""
    return [
        finding(
            "SEG_FLIP",
            item.name,
            f"{votes.axis} wrong in {len(votes.wrong)} of {len(votes.wrong) + votes.right}: {_listed(votes.wrong)}",
            expected="structures where the patient's axes have them",
        )
        for votes in orientation_votes(centres_xyz_mm(label_map))
        if votes.is_mirrored
    ]


def _absent(label_map: LabelMap, item: Item) -> list[Finding]:
    """One finding for all classes that were not found: each is a row of the table."""
    found = set(np.unique(label_map.values).tolist())
    absent = [name for number, name in sorted(label_map.names.items()) if number not in found]
    if not absent:
        return []
    measured = f"{len(absent)} of {len(label_map.names)} classes not found: {_listed(absent)}"
    return [finding("SEG_EMPTY", item.name, measured)]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:LISTED])
    return shown if len(names) <= LISTED else f"{shown} and {len(names) - LISTED} more"
