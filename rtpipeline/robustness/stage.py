"""Stage robustness: features of structures in every state of the perturbation chain; a row with its status where none.

Every state of a structure is a work item of its own: what one of them loses costs neither the others nor the course.
"""

from __future__ import annotations

import shutil

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.tables import ROBUSTNESS
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.execution.work_items import ItemResult
from rtpipeline.radiomics.feature_rows import (
    Row,
    compute_items,
    earlier_rows,
    feature_names,
    kept,
    outcome_of,
    row_of,
    settings_of,
    usable_mask,
    write_rows,
)
from rtpipeline.radiomics.frame import Frame
from rtpipeline.radiomics.images import FeatureImage, Images, is_prepared
from rtpipeline.robustness.item import Item, StateFeatures, compute
from rtpipeline.robustness.rows import is_selected, state_columns
from rtpipeline.robustness.states import State, seed_of, states_of
from rtpipeline.structures.masks import StructureMask, StructureReader, read_structures

ROBUSTNESS_FILE = "robustness.parquet"
EDGE = ("scan_edge", "outside_image")
SILENT = ("ok", "no_mask", "not_calibrated", "not_computed")
"""Statuses without a finding here: another finding says it, of the structure or of its image."""


def run(context: StageContext) -> StageOutcome:
    """Compute what can be computed; a row for every state of every structure that is selected."""
    config = context.config.radiomics_robustness
    if not config.enabled:
        return StageOutcome(status="disabled", reason="radiomics_robustness.enabled is false")
    prepared = context.input("prepare_images")
    reader = read_structures(context.input("structures"), prepared)
    structures = [
        r
        for r in reader.rows
        if r["image_id"] is not None and is_prepared(prepared, r["image_id"]) and is_selected(r, config.structures)
    ]
    if not structures:
        return StageOutcome(status="not_applicable", reason="no selected structure on an image")
    scratch = context.out / ".values"
    scratch.mkdir()
    stage = _Rows(context, reader, Images(context, context.config.radiomics, scratch))
    found = stage.of(structures)
    shutil.rmtree(scratch)
    write_rows(found, feature_names(found, ROBUSTNESS), ROBUSTNESS, context.out / ROBUSTNESS_FILE)
    return outcome_of(found, "states", {"structures": len(structures), "states": len(found)})


class _Rows:
    """The rows of a course: structures that the data refuses, and states that workers compute."""

    def __init__(self, context: StageContext, reader: StructureReader, images: Images) -> None:
        self._context, self._reader, self._images = context, reader, images
        self._config, self._limits = context.config.radiomics_robustness, context.config.radiomics
        outline = self._config.segmentation_perturbation
        self._states = states_of(self._config.profile, self._config.modes, outline.contour_sd_mm)
        self._correlation_mm = outline.correlation_mm
        self._image_digest = context.course().image_digest
        self._earlier = earlier_rows(context.previous, ROBUSTNESS_FILE, ("structure_set_id", "structure_id", "state"))

    def of(self, structures: list[Row]) -> list[Row]:
        """Rows of the structures in the order given, the states of each in the order of the profile."""
        items: dict[str, Item] = {}
        rows: dict[str, Row] = {}
        for structure in structures:
            for state, row, item in self._prepared(structure):
                name = f"{structure['structure_set_id']}/{structure['structure_id']}/{state.name}"
                rows[name] = row
                if item is not None:
                    items[name] = item
        results = compute_items(compute, items, self._context)
        for name, result in results.items():
            rows[name] |= _outcome(result)
        states = list(rows.values())
        for number, structure in enumerate(structures):
            own = states[number * len(self._states) : (number + 1) * len(self._states)]
            self._context.report(*_findings(structure, own))
        return states

    def _prepared(self, structure: Row) -> list[tuple[State, Row, Item | None]]:
        """Every state of a structure: its row so far, and the work that it still needs."""
        image = self._images[structure["image_id"]]
        frame = _frame(image)
        own = row_of(structure, self._context) | settings_of(image)
        own["perturbation_profile"] = self._config.profile
        mask, refused = self._mask(structure, image, frame)
        prepared: list[tuple[State, Row, Item | None]] = []
        for state in self._states:
            seeds = {
                factor: seed_of(
                    self._context.config.seed,
                    self._image_digest,
                    f"{structure['image_id']}/{structure['structure_id']}",
                    factor,
                    realisation,
                )
                for factor, realisation in (("noise", state.noise_realisation), ("contour", state.contour_realisation))
            }
            row = own | state_columns(state, frame, seeds)
            known = self._earlier.get((structure["structure_set_id"], structure["structure_id"], state.name))
            if known is not None:
                prepared.append((state, kept(known, self._context), None))
            elif mask is None or frame is None or image.values is None or image.profile is None:
                prepared.append((state, row | dict(zip(("status", "reason"), refused, strict=True)), None))
            else:
                item = Item(
                    image.values,
                    mask.mask_zyx,
                    mask.offset_zyx,
                    frame,
                    image.profile,
                    image.intensity,
                    self._states,
                    state,
                    self._correlation_mm,
                    seeds["noise"],
                    seeds["contour"],
                )
                prepared.append((state, row, item))
        return prepared

    def _mask(
        self, structure: Row, image: FeatureImage, frame: Frame | None
    ) -> tuple[StructureMask | None, tuple[str, str]]:
        """The mask to perturb, or status and reason of every state."""
        if image.values is None or image.profile is None:
            return None, (image.status, image.reason)
        if frame is None:
            return None, ("single_plane", "need two or more planes at equal distances")
        mask, refused = usable_mask(self._reader, structure, image, self._limits)
        if refused:
            return None, refused
        assert mask is not None
        if _touches(mask) and any(state.moves or state.reshapes for state in self._states):
            return None, ("scan_edge", "it touches the outermost voxels of the image")
        return mask, ("", "")


def _frame(image: FeatureImage) -> Frame | None:
    try:
        return Frame.of_grid(image.geometry.voxel)
    except ValueError:
        return None


def _touches(mask: StructureMask) -> bool:
    ends = zip(mask.offset_zyx, mask.mask_zyx.shape, mask.grid.shape_zyx, strict=True)
    return any(first == 0 or first + size == whole for first, size, whole in ends)


def _outcome(result: ItemResult[StateFeatures]) -> Row:
    if result.value is None:
        return {"status": result.status, "reason": result.reason}
    found = result.value
    row: Row = {"status": found.status, "voxels": found.voxels, **found.values}
    if found.noise_sd is not None:
        row["noise_sd"] = found.noise_sd
    return row | ({"reason": found.reason} if found.reason else {})


def _findings(structure: Row, states: list[Row]) -> list[Finding]:
    """One finding for each status of a structure that costs it features."""
    label = f"{structure['structure_id']} '{structure['structure_name']}'"
    found = []
    for status in sorted({row["status"] for row in states} - set(SILENT)):
        own = [row for row in states if row["status"] == status]
        measured = f"{len(own)} of {len(states)} states {status}: {own[0]['reason']}"
        code = {"timeout": "RES_TIMEOUT", "out_of_memory": "RES_MEMORY"}.get(status)
        code = code or ("ROB_EDGE" if status in EDGE else "ROB_FAILED")
        found.append(finding(code, label, measured, scope="structure", action="rows with reason, no features"))
    return found
