"""Stage radiomics: features of every structure on the image of its own set; a row with its status where none."""

from __future__ import annotations

import shutil

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.tables import RADIOMICS
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
from rtpipeline.radiomics.images import Images, is_prepared
from rtpipeline.radiomics.item import Features, Item, compute
from rtpipeline.radiomics.selection import refusal
from rtpipeline.structures.masks import StructureReader, read_structures

FEATURES_FILE = "radiomics.parquet"
SMALL = ("too_small", "one_dimensional", "single_plane", "flat_image")
FINDING_OF = {
    **dict.fromkeys(SMALL, "RAD_MASK_SMALL"),
    "too_large": "RAD_MASK_LARGE",
    "outside_image": "RAD_OUTSIDE_IMAGE",
    "geometry": "RAD_GEOMETRY",
    "timeout": "RES_TIMEOUT",
    "out_of_memory": "RES_MEMORY",
    "failed": "RAD_FAILED",
}


def run(context: StageContext) -> StageOutcome:
    """Compute what can be computed; rows for every structure that has an image."""
    config = context.config.radiomics
    if not config.enabled:
        return StageOutcome(status="disabled", reason="radiomics.enabled is false")
    prepared = context.input("prepare_images")
    reader = read_structures(context.input("structures"), prepared)
    rows = [r for r in reader.rows if r["image_id"] is not None and is_prepared(prepared, r["image_id"])]
    if not rows:
        return StageOutcome(status="not_applicable", reason="no structure on an image")
    scratch = context.out / ".values"
    scratch.mkdir()
    earlier = earlier_rows(context.previous, FEATURES_FILE, ("structure_set_id", "structure_id"))
    found = _Rows(context, reader, Images(context, config, scratch), earlier).of(rows)
    shutil.rmtree(scratch)
    # an earlier output has columns also for features that are null in every row
    names = feature_names([*found, *earlier.values()], RADIOMICS)
    write_rows(found, names, RADIOMICS, context.out / FEATURES_FILE)
    return outcome_of(found, "structures", {"structures": len(found), "features": len(names)})


class _Rows:
    """The rows of a course: those that the data or the configuration refuses, and those that workers compute."""

    def __init__(
        self,
        context: StageContext,
        reader: StructureReader,
        images: Images,
        earlier: dict[tuple[str, ...], Row],
    ) -> None:
        self._context, self._config = context, context.config.radiomics
        self._reader, self._images, self._earlier = reader, images, earlier

    def of(self, structures: list[Row]) -> list[Row]:
        """One row for each structure, in the order given."""
        items: dict[str, Item] = {}
        rows: dict[str, Row] = {}
        for structure in structures:
            name = f"{structure['structure_set_id']}/{structure['structure_id']}"
            known = self._earlier.get((structure["structure_set_id"], structure["structure_id"]))
            rows[name] = kept(known, self._context) if known else self._judged(name, structure, items)
        results = compute_items(compute, items, self._context)
        for name, result in results.items():
            rows[name] |= self._outcome(result)
        for structure, row in zip(structures, rows.values(), strict=True):
            self._context.report(*self._finding(structure, row))
        return list(rows.values())

    def _judged(self, name: str, structure: Row, items: dict[str, Item]) -> Row:
        """The row of a structure without features yet; its work item is put among `items`."""
        row = row_of(structure, self._context)
        if refused := refusal(structure, self._config):
            return row | dict(zip(("status", "reason"), refused, strict=True))
        image = self._images[structure["image_id"]]
        row |= settings_of(image)
        mask, refused = usable_mask(self._reader, structure, image, self._config)
        if mask is not None:
            row["voxels"] = mask.voxels
        if refused:
            return row | dict(zip(("status", "reason"), refused, strict=True))
        assert mask is not None and image.values is not None and image.profile is not None
        items[name] = Item(image.values, mask.mask_zyx, mask.offset_zyx, mask.grid, image.profile, image.intensity)
        return row

    def _outcome(self, result: ItemResult[Features]) -> Row:
        if result.value is None:
            return {"status": result.status, "reason": result.reason}
        reason = {"reason": result.value.reason} if result.value.reason else {}
        return {"status": result.value.status, **reason, **result.value.values}

    def _finding(self, structure: Row, row: Row) -> list[Finding]:
        code = FINDING_OF.get(row["status"])
        if code is None:
            return []
        label = f"{structure['structure_id']} '{structure['structure_name']}'"
        measured = row["reason"] if row["status"] not in SMALL else f"{row['status']}: {row['reason']}"
        return [finding(code, label, measured, scope="structure", action="row with status, no features")]
