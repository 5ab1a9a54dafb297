"""Digests of a course: over what its objects contain and how they were selected, not over files or pseudonyms.

An object counts by its SOP instance UID and the hash of its decoded header; RT objects, and all objects when the whole
content was hashed, also by their content. File size and encoding do not count: a second copy in another transfer
syntax changes nothing. Ids within the course do count, because outputs are named by them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from rtpipeline.contracts.manifests import Course
from rtpipeline.organize.objects import ObjectColumns, ScanObject

DIGEST_HEX = 12
NOT_INPUT = frozenset(
    {"course_id", "patient_id", "course_order", "image_digest", "course_digest", "object_hash", "frame_hash"}
)
"""Fields of the manifest that are names or follow from the cohort's secret."""
IMAGE_FIELDS = ("image_id", "modality", "image_class", "role", "instances")


class ContentHashes:
    """One digest for each object over its instances."""

    def __init__(self, columns: ObjectColumns, *, whole_content: bool) -> None:
        self._uids = columns.text("sop_instance_uid")
        self._headers = columns.text("header_sha256")
        self._contents = columns.text("content_sha256")
        self._whole_content = whole_content

    def of(self, thing: ScanObject) -> str:
        """sha256 over the instances of an object, in order of their UID."""
        return self._digest(thing.rows, thing.kind != "image" or self._whole_content)

    def _digest(self, rows: np.ndarray, with_content: bool) -> str:
        words, codes = self._uids.words, self._uids.codes[rows].tolist()
        headers = self._headers.codes[rows].tolist()
        contents = self._contents.codes[rows].tolist()
        lines = [
            f"{words[u]}\0{self._headers.words[h]}\0{self._contents.words[c] if with_content else ''}"
            for u, h, c in zip(codes, headers, contents, strict=True)
        ]
        return _digest_of_lines(lines)


def indexed_contents(index: pa.Table, *, whole_content: bool) -> dict[str, str]:
    """What `ContentHashes` gives for each object of a course, from the course's rows of the private index."""
    lines: dict[str, list[str]] = {}
    names = ("object_id", "use", "kind", "sop_instance_uid", "header_sha256", "content_sha256")
    for object_id, use, kind, uid, header, content in zip(*(index[n].to_pylist() for n in names), strict=True):
        if object_id and use in ("used", "not_used"):
            with_content = kind != "image" or whole_content
            lines.setdefault(object_id, []).append(f"{uid}\0{header}\0{content if with_content else ''}")
    return {object_id: _digest_of_lines(found) for object_id, found in lines.items()}


def _digest_of_lines(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def image_digest(course: Course, contents: dict[str, str]) -> str:
    """12 hex over the images to prepare, and whether there is anything else. contents: object id -> digest."""
    images = [
        [{name: getattr(image, name) for name in IMAGE_FIELDS}, contents[image.image_id]]
        for image in course.images
        if image.prepare
    ]
    # whether a refused image ends the course depends on it
    return _digest({"images": images, "demo": course.demo, "images_only": course.is_images_only})


def course_digest(course: Course, contents: dict[str, str]) -> str:
    """12 hex over every object of the course, its links and selection, and the rows of the user's manifest about it."""
    entry = _without(course.model_dump(mode="json"), NOT_INPUT)
    return _digest({"course": entry, "contents": contents})


def _without(value: Any, names: Iterable[str]) -> Any:
    if isinstance(value, dict):
        return {k: _without(v, names) for k, v in value.items() if k not in names}
    if isinstance(value, list):
        return [_without(v, names) for v in value]
    return value


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_HEX]
