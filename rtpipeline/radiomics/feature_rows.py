"""What every stage with rows of features does the same way: which masks it takes, how it computes, keeps and writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rtpipeline import __version__
from rtpipeline.config import RadiomicsConfig
from rtpipeline.contracts.columns import Table
from rtpipeline.contracts.tables import STRUCTURE_KEYS
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.execution.environment import available_cpus
from rtpipeline.execution.work_items import ItemResult, run_items
from rtpipeline.radiomics.images import FeatureImage
from rtpipeline.radiomics.selection import unusable
from rtpipeline.structures.masks import StructureMask, StructureReader

ENGINE = "pyradiomics"
LOST = ("timeout", "out_of_memory", "failed")
"""Statuses that another attempt may change."""

Row = dict[str, Any]


class HasMask(Protocol):
    """A work item on a mask."""

    @property
    def mask_zyx(self) -> NDArray[np.bool_]:
        """(z, y, x) of the structure's box."""


I = TypeVar("I", bound=HasMask)  # noqa: E741 - item
R = TypeVar("R")


@cache
def _engine_version() -> str:
    return version("pyradiomics-bhklab")


def row_of(structure: Row, context: StageContext) -> Row:
    """Keys, type and provenance of a structure's row."""
    keys = {column.name: structure[column.name] for column in STRUCTURE_KEYS}
    return keys | {"roi_type": structure["roi_type"]} | provenance(context)


def provenance(context: StageContext) -> Row:
    """Columns of the output that a row belongs to."""
    return {"stage_key": context.stage_key, "rtpipeline_version": __version__}


def settings_of(image: FeatureImage) -> Row:
    """Columns of profile and engine; none for an image without a profile."""
    if image.profile is None:
        return {}
    return {
        "profile": image.profile.name,
        "engine": ENGINE,
        "engine_version": _engine_version(),
        "settings_digest": image.profile.digest,
    }


def kept(row: Row, context: StageContext) -> Row:
    """A row of an earlier, partial output as it enters this one."""
    return {name: value for name, value in row.items() if value is not None} | provenance(context)


def earlier_rows(previous: Path | None, file: str, keys: Sequence[str]) -> dict[tuple[str, ...], Row]:
    """Rows of an earlier, partial output of the same work that need not be computed again, by these columns."""
    path = previous / file if previous is not None else None
    if path is None or not path.is_file():
        return {}
    return {tuple(row[k] for k in keys): row for row in pq.read_table(path).to_pylist() if row["status"] == "ok"}


def usable_mask(
    reader: StructureReader, structure: Row, image: FeatureImage, limits: RadiomicsConfig
) -> tuple[StructureMask | None, tuple[str, str] | None]:
    """The mask where there is one, and status and reason where it gives no features."""
    if image.values is None or image.profile is None:
        return None, (image.status, image.reason)
    mask = reader.mask(structure["structure_set_id"], structure["structure_id"])
    if mask is None:
        return None, ("no_mask", f"structure is {structure['status']} or not on the image")
    if refused := unusable(mask, image.profile, limits):
        return mask, refused
    if mask.grid != image.geometry.voxel:
        return mask, ("geometry", "mask and image lie on different grids")
    return mask, None


def compute_items(
    function: Callable[[I], R], items: Mapping[str, I], context: StageContext
) -> dict[str, ItemResult[R]]:
    """Results by name; the largest masks go first, so that the last to end is a short one."""
    config = context.config
    return run_items(
        function,
        {name: items[name] for name in sorted(items, key=lambda n: (-int(items[n].mask_zyx.sum()), n))},
        workers=1 if config.radiomics.sequential else max(1, min(context.workers, available_cpus() - 1)),
        timeout_s=config.timeouts.radiomics_roi_s,
        threads=context.threads,
    )


def feature_names(rows: Iterable[Row], table: Table) -> set[str]:
    """Names in the rows that are no declared column."""
    return {name for row in rows for name in row} - {column.name for column in table.columns}


def write_rows(rows: list[Row], names: Iterable[str], table: Table, path: Path) -> None:
    """Declared columns first, then the features, those of the original image before those of filtered ones."""
    order = sorted(names, key=lambda name: (not name.startswith("original_"), name))
    declared = [column.name for column in table.columns]
    table.write(table.frame(rows, extra=order)[[*declared, *order]], path)


def outcome_of(rows: Sequence[Row], noun: str, counts: Mapping[str, int]) -> StageOutcome:
    """`partial` where another attempt may give more; counts: besides the number of rows with features."""
    found = Counter(row["status"] for row in rows)
    lost = ", ".join(f"{found[status]} {status}" for status in LOST if found[status])
    return StageOutcome(
        status="partial" if lost else "done",
        reason=f"{noun} without features: {lost}" if lost else "",
        counts={**counts, "with_features": found["ok"]},
    )
