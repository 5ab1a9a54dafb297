"""Stage radiomics: features of every structure on the image of its own set; a row with its status where none."""

from __future__ import annotations

import shutil
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rtpipeline import __version__
from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.tables import RADIOMICS, STRUCTURE_KEYS
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.execution.environment import available_cpus
from rtpipeline.execution.work_items import ItemResult, run_items
from rtpipeline.radiomics.images import Images, is_prepared
from rtpipeline.radiomics.item import Features, Item, compute
from rtpipeline.radiomics.selection import refusal, unusable
from rtpipeline.structures.masks import StructureReader, read_structures

FEATURES_FILE = "radiomics.parquet"
ENGINE, DISTRIBUTION = "pyradiomics", "pyradiomics-bhklab"
LOST = ("timeout", "out_of_memory", "failed")
"""Statuses that another attempt may change."""

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
    stage = _Rows(context, reader, Images(context, config, scratch), _earlier(context.previous))
    found = stage.of(rows)
    shutil.rmtree(scratch)
    names = {n for row in found for n in row if n not in _DECLARED} | stage.earlier_names
    order = sorted(names, key=lambda name: (not name.startswith("original_"), name))
    RADIOMICS.write(RADIOMICS.frame(found, extra=order)[[*_DECLARED, *order]], context.out / FEATURES_FILE)
    counts = Counter(row["status"] for row in found)
    lost = {status: counts[status] for status in LOST if counts[status]}
    reason = ", ".join(f"{n} {status}" for status, n in lost.items())
    return StageOutcome(
        status="partial" if lost else "done",
        reason=f"structures without features: {reason}" if lost else "",
        counts={"structures": len(found), "with_features": counts["ok"], "features": len(order)},
    )


_DECLARED = tuple(column.name for column in RADIOMICS.columns)


def _earlier(previous: Path | None) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows of an earlier, partial output of the same work that need not be computed again."""
    path = previous / FEATURES_FILE if previous is not None else None
    if path is None or not path.is_file():
        return {}
    rows = pq.read_table(path).to_pylist()
    return {(r["structure_set_id"], r["structure_id"]): r for r in rows if r["status"] == "ok"}


class _Rows:
    """The rows of a course: those that the data or the configuration refuses, and those that workers compute."""

    def __init__(
        self,
        context: StageContext,
        reader: StructureReader,
        images: Images,
        earlier: dict[tuple[str, str], dict[str, Any]],
    ) -> None:
        self._context, self._config = context, context.config.radiomics
        self._reader, self._images, self._earlier = reader, images, earlier
        self._version = version(DISTRIBUTION)

    @property
    def earlier_names(self) -> set[str]:
        """Features that an earlier output had columns for, also where every value is null."""
        return {name for row in self._earlier.values() for name in row} - set(_DECLARED)

    def of(self, structures: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One row for each structure, in the order given."""
        items: dict[str, Item] = {}
        rows: dict[str, dict[str, Any]] = {}
        for structure in structures:
            name = f"{structure['structure_set_id']}/{structure['structure_id']}"
            known = self._earlier.get((structure["structure_set_id"], structure["structure_id"]))
            rows[name] = self._reused(known) if known else self._judged(name, structure, items)
        # the largest first: the last to end then is a short one
        order = sorted(items, key=lambda n: (-int(rows[n]["voxels"]), n))
        workers = 1 if self._config.sequential else max(1, min(self._context.workers, available_cpus() - 1))
        results = run_items(
            compute,
            {name: items[name] for name in order},
            workers=workers,
            timeout_s=self._context.config.timeouts.radiomics_roi_s,
            threads=self._context.threads,
        )
        for name, result in results.items():
            rows[name] |= self._outcome(result)
        for structure, row in zip(structures, rows.values(), strict=True):
            self._context.report(*self._finding(structure, row))
        return list(rows.values())

    def _reused(self, earlier: dict[str, Any]) -> dict[str, Any]:
        own = {"stage_key": self._context.stage_key, "rtpipeline_version": __version__}
        return {name: value for name, value in earlier.items() if value is not None} | own

    def _judged(self, name: str, structure: dict[str, Any], items: dict[str, Item]) -> dict[str, Any]:
        """The row of a structure without features yet; its work item is put among `items`."""
        row = {c.name: structure[c.name] for c in STRUCTURE_KEYS} | {
            "roi_type": structure["roi_type"],
            "stage_key": self._context.stage_key,
            "rtpipeline_version": __version__,
        }
        if refused := refusal(structure, self._config):
            return row | dict(zip(("status", "reason"), refused, strict=True))
        image = self._images[structure["image_id"]]
        if image.profile is not None:
            row |= {
                "profile": image.profile.name,
                "engine": ENGINE,
                "engine_version": self._version,
                "settings_digest": image.profile.digest,
            }
        if image.values is None or image.profile is None:
            return row | {"status": image.status, "reason": image.reason}
        mask = self._reader.mask(structure["structure_set_id"], structure["structure_id"])
        if mask is None:
            return row | {"status": "no_mask", "reason": f"structure is {structure['status']} or not on the image"}
        row["voxels"] = mask.voxels
        if refused := unusable(mask, image.profile, self._config):
            return row | dict(zip(("status", "reason"), refused, strict=True))
        if mask.grid != image.geometry.voxel:
            return row | {"status": "geometry", "reason": "mask and image lie on different grids"}
        items[name] = Item(image.values, mask.mask_zyx, mask.offset_zyx, mask.grid, image.profile, image.intensity)
        return row

    def _outcome(self, result: ItemResult[Features]) -> dict[str, Any]:
        if result.value is None:
            return {"status": result.status, "reason": result.reason}
        reason = {"reason": result.value.reason} if result.value.reason else {}
        return {"status": result.value.status, **reason, **result.value.values}

    def _finding(self, structure: dict[str, Any], row: dict[str, Any]) -> list[Finding]:
        code = FINDING_OF.get(row["status"])
        if code is None:
            return []
        label = f"{structure['structure_id']} '{structure['structure_name']}'"
        measured = row["reason"] if row["status"] not in SMALL else f"{row['status']}: {row['reason']}"
        return [finding(code, label, measured, scope="structure", action="row with status, no features")]
