"""Objects that belong together because one names the UID of the other.

A UID that is not in the export links only objects that state the same identity: two plans on one absent structure set
are of one patient, but a UID that an anonymiser wrote everywhere must not join strangers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rtpipeline.organize.objects import Identity, ObjectColumns, ScanObject, is_uid, texts

EARLIER_TREATMENT = "PRIOR"
"""RTPlanRelationship (PS3.3 C.8.8.3.3) to a plan of an earlier treatment: no sign of one course."""


class UnionFind:
    """Disjoint sets of hashable nodes."""

    def __init__(self) -> None:
        self._parent: dict[Hashable, Hashable] = {}

    def find(self, node: Hashable) -> Hashable:
        """The node that stands for its set."""
        parent = self._parent
        parent.setdefault(node, node)
        root = node
        while parent[root] != root:
            root = parent[root]
        while parent[node] != root:
            parent[node], node = root, parent[node]
        return root

    def union(self, a: Hashable, b: Hashable) -> None:
        """Make one set of the sets of two nodes."""
        self._parent[self.find(a)] = self.find(b)


@dataclass(frozen=True)
class ImageHits:
    """For each structure set (by object number), which image parts hold the images it references."""

    parts: Mapping[int, dict[int, int]]
    """object number -> image part's object number -> images of it that are referenced"""
    referenced: Mapping[int, int]
    """object number -> images referenced, in the export or not"""


def referenced_slices(
    columns: ObjectColumns, image_rows: np.ndarray, structure_sets: Sequence[ScanObject]
) -> list[np.ndarray]:
    """For each structure set the indices into `image_rows` of the images it references, ascending."""
    uids = [texts(s.facts, "referenced_images") for s in structure_sets]
    if not len(image_rows) or not any(uids):
        return [np.zeros(0, dtype=np.int64) for _ in uids]
    coded = columns.text("sop_instance_uid")
    # by category: the rows' own codes say where each category lies among the image rows
    at = np.full(len(coded.words), -1, dtype=np.int64)
    at[coded.codes[image_rows]] = np.arange(len(image_rows))
    categories = pd.Index(coded.words)
    flat = categories.get_indexer(pd.Index([uid for one in uids for uid in one]))
    found = np.where(flat >= 0, at[flat], -1)
    edges = np.cumsum([len(one) for one in uids])[:-1]
    return [np.unique(piece[piece >= 0]) for piece in np.split(found, edges)]


def image_hits(
    parts: Sequence[ScanObject],
    image_rows: np.ndarray,
    structure_sets: Sequence[ScanObject],
    slices: Sequence[np.ndarray],
) -> ImageHits:
    """What `referenced_slices` found, by image part."""
    part_at = np.full(len(image_rows), -1, dtype=np.int64)
    for part in parts:
        part_at[np.searchsorted(image_rows, part.rows)] = part.number
    hits: dict[int, dict[int, int]] = {}
    for one, indices in zip(structure_sets, slices, strict=True):
        numbers, counts = np.unique(part_at[indices], return_counts=True)
        hits[one.number] = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    return ImageHits(hits, {s.number: len(s.facts.get("referenced_images") or []) for s in structure_sets})


def referenced_uids(thing: ScanObject) -> Iterator[str]:
    """SOP instance UIDs of RT objects that an RT object names as its own."""
    facts = thing.facts
    if thing.kind == "rtplan":
        if is_uid(facts.get("structure_set_uid") or ""):
            yield facts["structure_set_uid"]
        for plan in facts.get("referenced_plans") or []:
            if plan.get("relationship") != EARLIER_TREATMENT and is_uid(plan.get("uid") or ""):
                yield plan["uid"]
        yield from texts(facts, "referenced_doses")
    elif thing.kind == "rtdose":
        yield from texts(facts, "plan_uids")
        yield from texts(facts, "structure_set_uids")
    elif thing.kind in ("rtrecord", "rtimage", "seg"):
        yield from texts(facts, "plan_uids")


def referenced_series(thing: ScanObject) -> Sequence[str]:
    """Series UIDs that an RT object names."""
    return texts(thing.facts, {"rtstruct": "referenced_series"}.get(thing.kind, "series_uids"))


def components(objects: Sequence[ScanObject], hits: ImageHits) -> list[list[int]]:
    """Object numbers that hang together by references, components in order of their smallest number."""
    sets = UnionFind()
    present = {o.uid for o in objects if o.kind != "image"}
    series = {o.uid for o in objects if o.kind == "image"}
    for thing in objects:
        own: Hashable = ("object", thing.number)
        sets.union(own, ("series" if thing.kind == "image" else "sop", thing.uid))
        for uid in referenced_uids(thing):
            sets.union(own, ("sop", uid) if uid in present else ("absent", uid, _stated(thing)))
        for part in hits.parts.get(thing.number, {}):
            sets.union(own, ("object", part))
        if thing.kind in ("rtstruct", "seg"):
            for uid in referenced_series(thing):
                sets.union(own, ("series", uid) if uid in series else ("absent", uid, _stated(thing)))
    return grouped(sets, [o.number for o in objects])


def grouped(sets: UnionFind, numbers: Iterable[int]) -> list[list[int]]:
    """The sets of ("object", number) nodes."""
    found: dict[Hashable, list[int]] = {}
    for number in numbers:
        found.setdefault(sets.find(("object", number)), []).append(number)
    return sorted((sorted(one) for one in found.values()), key=lambda one: one[0])


def _stated(thing: ScanObject) -> Identity:
    return thing.identities[0]
