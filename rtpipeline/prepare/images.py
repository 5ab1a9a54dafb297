"""Stage prepare_images: the series of a course as canonical volumes with their geometry and pseudonymous headers."""

from __future__ import annotations

import contextlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydicom.dataset import Dataset

from rtpipeline.contracts.findings import Severity
from rtpipeline.dicom.archives import ArchiveReadError
from rtpipeline.dicom.open import AHEAD_THREADS, dataset_of, open_windows
from rtpipeline.dicom.sources import Source
from rtpipeline.errors import DataError
from rtpipeline.execution.context import StageContext, StageOutcome
from rtpipeline.prepare.image_table import write_images
from rtpipeline.prepare.one_image import ImageJob, ImageResult, listed_row, prepare_image
from rtpipeline.prepare.read_planes import Row
from rtpipeline.store.transfers import in_order

log = logging.getLogger(__name__)


def run(context: StageContext) -> StageOutcome:
    """Prepare every image of the course that is to be prepared; refused ones are rows with a finding.

    `data_error` only in a course of nothing but images, when its planning image is refused by an error and no other
    could be prepared: dose in structures needs no image, and what needs this stage would be left out.
    """
    course = context.course()
    wanted = [image for image in course.images if image.prepare]
    rows = course_rows(_private(context) / "index.parquet", course.course_id) if course.images else []
    referenced = referenced_instances(rows)

    def objects(chosen: Sequence[Row]) -> Iterator[tuple[Row, Dataset]]:
        return readable_objects(context.sources, chosen)

    results: list[ImageResult] = []
    for image in course.images:
        own = [r for r in rows if r["object_id"] == image.image_id and r["kind"] == "image"]
        if not image.prepare:
            results.append(ImageResult(listed_row(image, own)))
            continue
        job = ImageJob(image, own, course.patient_id, context.secret(), context.config.images.max_gap_mm, referenced)
        result = prepare_image(job, objects, context.out)
        log.info("%s %s: %s %s", course.course_id, image.image_id, result.row["status"], result.row.get("reason", ""))
        context.report(*result.findings)
        results.append(result)
    write_images(context.out, [r.row for r in results])
    if not wanted:
        reason = "no image to prepare" if course.images else "the course has no image"
        return StageOutcome("not_applicable", reason, {"images": len(results)})
    prepared = sum(r.row["status"] == "ok" for r in results)
    counts = {"images": len(results), "prepared": prepared, "refused": len(wanted) - prepared}
    planning = next((r for r in results if r.row["role"] == "planning" and r.row["status"] == "refused"), None)
    if planning is None or prepared:
        return StageOutcome(counts=counts)
    reason = f"planning image {planning.row['image_id']} refused: {planning.row['reason']}"
    is_error = any(f.severity == Severity.ERROR for f in planning.findings)
    return StageOutcome("data_error" if is_error and course.is_images_only else "done", reason, counts)


def course_rows(index: Path, course_id: str) -> list[dict[str, Any]]:
    """The used objects of a course in the private index, images and structure sets, in the index' order."""
    table = pq.read_table(
        index,
        filters=[("course_id", "=", course_id), ("use", "=", "used"), ("kind", "in", ["image", "rtstruct"])],
    )
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def referenced_instances(rows: Sequence[Row]) -> frozenset[str]:
    """SOP instance UIDs of the images that the structure sets among the rows refer to."""
    referenced: set[str] = set()
    for row in rows:
        if row["kind"] == "rtstruct" and row["facts"]:
            referenced.update(json.loads(row["facts"]).get("referenced_images", []))
    return frozenset(referenced)


def readable_objects(sources: Sequence[Source], rows: Sequence[Row]) -> Iterator[tuple[Row, Dataset]]:
    """The objects of some rows, each file or archive opened once. One that is gone or cannot be read is left out, so
    that the other slices of its series go on without it."""
    by_file: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_file[row["source"], row["path"]].append(row)
    for contents in _contents(list(by_file.values()), sources):
        for row, content in contents:
            try:
                ds = dataset_of(content, row)
            except DataError:
                continue
            yield row, ds


def _contents(groups: Sequence[Sequence[Row]], sources: Sequence[Source]) -> Iterator[Iterable[tuple[Row, bytes]]]:
    """For each file its rows with their bytes; of a bucket, plain files are read some ahead."""

    def read(group: Sequence[Row]) -> Iterator[tuple[Row, bytes]]:
        with contextlib.suppress(DataError, ArchiveReadError):
            for row, window in open_windows(group, sources):
                yield row, b"".join(window.stream(0))

    def read_ahead(group: Sequence[Row]) -> Iterable[tuple[Row, bytes]]:
        return read(group) if any(row["member"] for row in group) else list(read(group))

    if all(isinstance(source, Path) for source in sources):
        return map(read, groups)
    return in_order(read_ahead, groups, threads=AHEAD_THREADS)


def _private(context: StageContext) -> Path:
    context.secret()  # says what is missing when there is no private folder
    return Path(context.private or "")
