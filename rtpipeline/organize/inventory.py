"""The usable objects of an export, and the components they form by their references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.organize.components import ImageHits, components, image_hits, referenced_slices
from rtpipeline.organize.ledger import REASONS, Ledger
from rtpipeline.organize.objects import RT_KINDS, ObjectColumns, ScanObject, content_order, is_uid, rt_objects
from rtpipeline.organize.series import image_parts


@dataclass(frozen=True)
class Inventory:
    """What an export holds."""

    columns: ObjectColumns
    ledger: Ledger
    objects: Mapping[int, ScanObject]
    components: Sequence[list[int]]
    """numbers of objects that reference each other"""
    hits: ImageHits
    findings: Sequence[Finding]


def take_inventory(table: pa.Table, use: Sequence[str] | None) -> Inventory:
    """Objects of the table, after what cannot be linked or is of no use has been set aside.

    use: what de-duplication decided for each row; `used`, '' or None leave it open.
    """
    order = content_order(table)
    columns = ObjectColumns(table, order)
    decided = np.full(len(order), "", dtype=object)
    if use is not None:
        decided[:] = np.array(list(use), dtype=object)[order]
        decided[decided == "used"] = ""
    ledger = Ledger(columns, decided, np.array([REASONS.get(u, "") for u in decided], dtype=object))
    findings = _refuse(columns, ledger)
    kinds, is_open = columns.text("kind"), ledger.use == ""
    rt_rows = np.flatnonzero(is_open & kinds.mask(lambda k: k in RT_KINDS))
    image_rows = np.flatnonzero(is_open & kinds.mask(lambda k: k == "image"))
    rt = rt_objects(columns, rt_rows, 0)
    sets = [o for o in rt if o.kind == "rtstruct"]
    slices = referenced_slices(columns, image_rows, sets)
    parts = image_parts(columns, image_rows, slices, len(rt))
    hits = image_hits(parts, image_rows, sets, slices)
    every = [*rt, *parts]
    return Inventory(columns, ledger, {o.number: o for o in every}, components(every, hits), hits, findings)


def _refuse(columns: ObjectColumns, ledger: Ledger) -> list[Finding]:
    """Set rows aside. The scan has reported them, but for identifiers that are there and are no UIDs."""
    is_open = ledger.use == ""
    kinds, sop, series = (columns.text(name) for name in ("kind", "sop_instance_uid", "series_uid"))
    images = kinds.mask(lambda k: k == "image")
    supported = kinds.mask(lambda k: k == "image" or k in RT_KINDS)
    unlinked = ~sop.mask(is_uid) | (images & ~series.mask(is_uid))
    burned = columns.text("burned_in").mask(lambda b: b.strip().upper() == "YES") & images
    ledger.refuse(np.flatnonzero(is_open & ~supported), "not_used", "FILE_UNSUPPORTED")
    ledger.refuse(np.flatnonzero(is_open & supported & unlinked), "not_used", "FILE_MISSING_UID")
    ledger.refuse(np.flatnonzero(is_open & supported & ~unlinked & burned), "not_used", "BURNED_IN")
    invalid = (sop.mask(bool) & ~sop.mask(is_uid)) | (images & series.mask(bool) & ~series.mask(is_uid))
    codes, numbers = np.unique(kinds.codes[is_open & supported & invalid], return_counts=True)
    return [
        finding("FILE_MISSING_UID", kinds.words[c], f"{n} objects whose UID is no UID", scope="cohort")
        for c, n in zip(codes.tolist(), numbers.tolist(), strict=True)
    ]
