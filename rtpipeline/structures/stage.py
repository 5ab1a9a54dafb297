"""Stage structures: every structure of every source on its image, what is derived from them, and how they agree.

structures.parquet, contours.parquet: rows of all, contours of those with a solid, for DVH, features and pictures.
agreement.parquet: pairs of one TG-263 name on one image. cropping.json: levels of the region, where one is configured.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

from rtpipeline.config import CroppingConfig
from rtpipeline.contracts.findings import finding
from rtpipeline.contracts.tables import AGREEMENT, STRUCTURES
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.geometry.outlines import Outline, write_contours
from rtpipeline.nomenclature.mapping import load_mapping
from rtpipeline.prepare.image_files import write_json
from rtpipeline.segmentation.label_map import LabelMap
from rtpipeline.structures.agreement import agreement_rows
from rtpipeline.structures.crop import LandmarkMissingError, Limits, crop, limits_of
from rtpipeline.structures.custom_structures import Definition, load_custom_structures
from rtpipeline.structures.derive import Derivation, derive, missing_finding
from rtpipeline.structures.manual import manual_structures
from rtpipeline.structures.masks import CONTOURS_FILE, STRUCTURES_FILE, StructureReader
from rtpipeline.structures.rows import TOTALSEGMENTATOR, RowWriter, Structure
from rtpipeline.structures.sources import label_maps, network_structures

AGREEMENT_FILE, CROPPING_FILE = "agreement.parquet", "cropping.json"

WHOLE_BODY_TASKS = ("total", "total_mr", "total_v3")
"""Tasks of TotalSegmentator whose label maps hold the landmarks of regions."""


def run(context: StageContext) -> StageOutcome:
    """Join manual, network, derived and cropped structures; compare those of one name."""
    config = context.config
    mapping = load_mapping(config.structure_names) if config.structure_names else None
    definitions = load_custom_structures(config.custom_structures) if config.custom_structures else []
    writer = RowWriter(context.cohort, context.course(), context.stage_key, mapping, config.dvh.end_cap)
    structures = list(manual_structures(context, writer))
    limits: dict[str, Limits] = {}
    for label_map in label_maps(context.inputs):
        structures += network_structures(label_map, writer)
        if config.ct_cropping.enabled and _has_landmarks(label_map):
            _add_limits(context, label_map, config.ct_cropping, limits)
    if not structures:
        return StageOutcome(status="not_applicable", reason="no structure set and no segmentation")
    structures += _derived(context, definitions, structures, writer)
    if config.ct_cropping.enabled:
        structures += _cropped(context, structures, limits, writer)
    return _write(context, structures)


def _reader(context: StageContext, structures: list[Structure]) -> StructureReader:
    prepared = context.inputs.get("prepare_images", Path())
    return StructureReader([s.row for s in structures], lambda: _outlines(structures), prepared)


def _outlines(structures: list[Structure]) -> dict[tuple[str, str], Outline]:
    return {s.key: s.outline for s in structures if s.outline is not None}


def _derived(
    context: StageContext, definitions: list[Definition], structures: list[Structure], writer: RowWriter
) -> list[Structure]:
    """Derived structures of every image; a definition that no image has the sources of is a finding."""
    if not definitions:
        return []
    reader = _reader(context, structures)
    images = sorted({s.row["image_id"] for s in structures if s.lies_on_image})
    made: dict[str, Derivation] = {}
    for image_id in images:
        made[image_id] = derive(definitions, image_id, structures, reader.grid(image_id), writer)
        context.report(*made[image_id].findings)
    planning = writer.course.planning_image
    told = planning.image_id if planning and planning.image_id in made else next(iter(images), None)
    for definition in definitions:
        if not any(definition.name in one.made for one in made.values()):
            reason = made[told].not_made[definition.name] if told else "no structure lies on a prepared image"
            context.report(missing_finding(told or "course", definition.name, reason))
    return [s for one in made.values() for s in one.made.values()]


def _has_landmarks(label_map: LabelMap) -> bool:
    return label_map.source == TOTALSEGMENTATOR and label_map.model in WHOLE_BODY_TASKS


def _add_limits(
    context: StageContext, label_map: LabelMap, settings: CroppingConfig, limits: dict[str, Limits]
) -> None:
    superior_cm, inferior_cm = settings.superior_margin_cm, settings.inferior_margin_cm
    try:
        found = limits_of(
            label_map,
            settings.region,
            superior_margin_mm=None if superior_cm is None else 10.0 * superior_cm,
            inferior_margin_mm=None if inferior_cm is None else 10.0 * inferior_cm,
        )
    except LandmarkMissingError as error:
        context.report(finding("SS_CROP_LANDMARK", f"{label_map.image_id} {settings.region}", str(error)))
        return
    limits.setdefault(label_map.image_id, found)
    for which, level in (("superior", found.superior), ("inferior", found.inferior)):
        if level.clamped_mm > 0.0:
            measured = f"{which} level by {level.landmark}: {level.clamped_mm:.1f} mm outside the image"
            context.report(finding("SS_CROP_CLAMPED", f"{label_map.image_id} {settings.region}", measured))


def _cropped(
    context: StageContext, structures: list[Structure], limits: dict[str, Limits], writer: RowWriter
) -> list[Structure]:
    region = context.config.ct_cropping.region
    if not limits and not any(f.code == "SS_CROP_LANDMARK" for f in context.findings):
        reason = f"no label map of TotalSegmentator ({', '.join(WHOLE_BODY_TASKS)}) on any image"
        context.report(finding("SS_CROP_LANDMARK", f"course {region}", reason))
    reader = _reader(context, structures)
    found: list[Structure] = []
    for image_id, levels in sorted(limits.items()):
        own = (s for s in structures if s.row["image_id"] == image_id and s.lies_on_image)
        masks = ((s, reader.mask(*s.key)) for s in own)
        found += crop(((s, mask) for s, mask in masks if mask is not None), levels, image_id, writer)
    write_json(
        context.out / CROPPING_FILE,
        {image_id: {"region": region, **asdict(levels)} for image_id, levels in sorted(limits.items())},
    )
    return found


def _write(context: StageContext, structures: list[Structure]) -> StageOutcome:
    reader = _reader(context, structures)
    STRUCTURES.write(STRUCTURES.frame(reader.rows), context.out / STRUCTURES_FILE)
    outlines = _outlines(structures)
    write_contours(context.out / CONTOURS_FILE, [(*key, outlines[key]) for key in sorted(outlines)])
    agreement, findings = agreement_rows(reader.rows, reader.mask, stage_key=context.stage_key)
    context.report(*findings)
    if agreement:
        AGREEMENT.write(AGREEMENT.frame(agreement), context.out / AGREEMENT_FILE)
    sources = Counter(s.row["structure_source"] for s in structures)
    counts = {"structures": len(structures), "with_solid": len(outlines), "agreement": len(agreement)}
    return StageOutcome(counts=counts | dict(sorted(sources.items())))
