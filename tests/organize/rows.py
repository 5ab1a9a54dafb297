"""Rows of a scan, made without files: an export of a few objects in a few lines.

    export = Export()
    ct = export.ct(days=0)
    rs = export.structure_set(ct)
    export.dose(export.plan(rs))
    found = export.organize()

Each object belongs to the export's current patient and study unless told otherwise.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from rtpipeline.contracts.index import SCAN_SCHEMA
from rtpipeline.organize.cohort import OrganizeResult, OrganizeSettings, organize
from rtpipeline.organize.user_manifest import UserRow

SECRET = b"secret of the tests, 32 bytes ok"
DAY_0 = dt.date(2020, 3, 1)
CT, MR, PT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128"
SOP_CLASSES = {
    "rtstruct": "1.2.840.10008.5.1.4.1.1.481.3",
    "rtplan": "1.2.840.10008.5.1.4.1.1.481.5",
    "rtdose": "1.2.840.10008.5.1.4.1.1.481.2",
    "reg": "1.2.840.10008.5.1.4.1.1.66.1",
    "rtrecord": "1.2.840.10008.5.1.4.1.1.481.4",
    "rtimage": "1.2.840.10008.5.1.4.1.1.481.1",
    "seg": "1.2.840.10008.5.1.4.1.1.66.4",
    "other": "1.2.840.10008.5.1.4.1.1.7",
}
AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
CORONAL = [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]


def uid(*what: object) -> str:
    """A UID that depends on what it names, in an order that looks random."""
    return "2.25." + str(int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:12], "big"))


def day(days: float | None) -> str:
    """`yyyymmdd`, so many days after day 0; '' for None."""
    return "" if days is None else (DAY_0 + dt.timedelta(days=days)).strftime("%Y%m%d")


def empty_row() -> dict[str, Any]:
    """Every column absent, as the scan writes it."""
    return {f.name: "" if pa.types.is_string(f.type) else None for f in SCAN_SCHEMA}


@dataclass
class Series:
    """An image series of an export."""

    uid: str
    frame: str
    study: str
    rows: list[dict[str, Any]]

    @property
    def sops(self) -> list[str]:
        """SOP instance UIDs of its slices."""
        return [r["sop_instance_uid"] for r in self.rows]


@dataclass
class Export:
    """Rows, and the patient and study that the next ones belong to."""

    patient: str = "PAT1"
    name: str = "Doe^Jane"
    birth: str = "19600504"
    study: str = "study 1"
    rows: list[dict[str, Any]] = field(default_factory=list)

    def row(self, kind: str, sop: str, *, days: float | None = 0, **fields: Any) -> dict[str, Any]:
        """Add one row of the current patient."""
        made = {
            **empty_row(),
            "source": 0,
            "path": f"export/{len(self.rows):05d}.dcm",
            "size": 1000,
            "mtime_ns": 1,
            "kind": kind,
            "sop_class_uid": SOP_CLASSES.get(kind, CT),
            "sop_instance_uid": sop,
            "header_sha256": hashlib.sha256(f"{sop}{fields}".encode()).hexdigest(),
            "content_sha256": "" if kind == "image" else hashlib.sha256(f"content {sop}".encode()).hexdigest(),
            "patient_key": self.patient,
            "patient_name": self.name,
            "birth_date": self.birth,
            "study_uid": uid(self.study),
            "series_uid": uid("series of", sop),
            "date": day(days),
            "study_date": day(days),
            "manufacturer": "ACME",
            "model": "Scan 1",
            **fields,
        }
        self.rows.append(made)
        return made

    def image(self, label: str = "ct", *, slices: int = 12, step_mm: float = 3.0, start_mm: float = 0.0,
              days: float | None = 0, sop_class: str = CT, series: str | None = None, frame: str | None = None,
              **fields: Any) -> Series:  # fmt: skip
        """A series of axial slices named `label`; `series` puts it under another series' UID."""
        series_uid, frame_uid = uid("series", series or label, self.study), uid("frame", frame or label, self.study)
        given = {
            "sop_class_uid": sop_class,
            "modality": {CT: "CT", MR: "MR", PT: "PT"}[sop_class],
            "series_uid": series_uid,
            "frame_uid": frame_uid,
            "orientation": AXIAL,
            "pixel_spacing": [1.0, 1.0],
            "rows": 64,
            "columns": 64,
            "frames": 1,
            "slice_thickness": step_mm,
            "image_type": "ORIGINAL\\PRIMARY\\AXIAL",
            **fields,
        }
        made = [
            self.row(
                "image",
                uid("slice", label, self.study, number),
                days=days,
                **{"position": [-32.0, -32.0, start_mm + number * step_mm], "instance_number": number + 1, **given},
            )
            for number in range(slices)
        ]
        return Series(series_uid, frame_uid, uid(self.study), made)

    ct = image

    def structure_set(self, image: Series | None = None, label: str = "rs", *, days: float | None = 1,
                      status: str = "", **facts: Any) -> str:  # fmt: skip
        """A structure set drawn on a series; its UID."""
        sop = uid("rtstruct", label, self.study)
        given = {
            "label": label,
            "approval_status": status,
            "frame_uids": [image.frame] if image else [],
            "referenced_series": [image.uid] if image else [],
            "referenced_images": image.sops if image else [],
            "rois": 5,
            "rois_with_contours": 5,
            "contours": 60,
            "contour_points": [[0.0, 0.0, r["position"][2]] for r in image.rows] if image else [],
            **facts,
        }
        self.row("rtstruct", sop, days=days, modality="RTSTRUCT", frame_uid=image.frame if image else "",
                 facts=json.dumps(given))  # fmt: skip
        return sop

    def plan(self, structure_set: str = "", label: str = "plan", *, days: float | None = 7, status: str = "APPROVED",
             intent: str = "CURATIVE", **facts: Any) -> str:  # fmt: skip
        """A plan on a structure set; its UID."""
        sop = uid("rtplan", label, self.study)
        given = {
            "label": label,
            "plan_class": "photon",
            "approval_status": status,
            "intent": intent,
            "geometry": "PATIENT",
            "structure_set_uid": structure_set,
            "referenced_plans": [],
            "referenced_doses": [],
            "fraction_groups": [],
            "rx_gy": [50.0],
            **facts,
        }
        self.row("rtplan", sop, days=days, modality="RTPLAN", facts=json.dumps(given))
        return sop

    def dose(
        self, plan: str = "", label: str = "dose", *, days: float | None = 7, frame: str = "", **facts: Any
    ) -> str:
        """A PLAN dose; its UID."""
        sop = uid("rtdose", label, self.study)
        given = {
            "units": "GY",
            "dose_type": "PHYSICAL",
            "summation_type": "PLAN",
            "scaling": 1e-3,
            "plan_uids": [plan] if plan else [],
            "structure_set_uids": [],
            "fraction_group": None,
            "beams": [],
            "has_pixels": True,
            "has_dvh": False,
            "offsets": [0.0, 3.0],
            **facts,
        }
        self.row("rtdose", sop, days=days, modality="RTDOSE", frame_uid=frame, facts=json.dumps(given))
        return sop

    def record(self, plan: str, label: str = "record", *, days: float = 10) -> str:
        """A treatment record; its UID."""
        sop = uid("rtrecord", label, self.study)
        facts = {"plan_uids": [plan], "fraction_numbers": [1], "date": day(days), "time": ""}
        self.row("rtrecord", sop, days=days, modality="RTRECORD", facts=json.dumps(facts))
        return sop

    def registration(self, frames: list[str], label: str = "reg", *, days: float = 2, valid: bool = True) -> str:
        """A spatial registration; its UID."""
        sop = uid("reg", label, self.study)
        facts = {"frame_uids": frames, "matrix_types": ["RIGID"], "valid": valid, "problem": "" if valid else "empty"}
        self.row("reg", sop, days=days, modality="REG", facts=json.dumps(facts))
        return sop

    def course(self, label: str = "", *, days: float = 0) -> dict[str, Any]:
        """A whole treatment: CT, structure set, plan and dose."""
        ct = self.ct(f"ct{label}", days=days)
        rs = self.structure_set(ct, f"rs{label}", days=days + 1)
        plan = self.plan(rs, f"plan{label}", days=days + 7)
        return {
            "ct": ct,
            "rs": rs,
            "plan": plan,
            "dose": self.dose(plan, f"dose{label}", days=days + 7, frame=ct.frame),
        }

    def table(self, shuffle: int | None = None) -> pa.Table:
        """The rows as a table, in an order of that seed."""
        table = pa.Table.from_pylist(self.rows, schema=SCAN_SCHEMA)
        if shuffle is None:
            return table
        return table.take(pa.array(np.random.default_rng(shuffle).permutation(table.num_rows)))

    def organize(self, *, shuffle: int | None = None, registry: dict[str, Any] | None = None, use: Any = None,
                 manifest: list[UserRow] | None = None, secret: bytes = SECRET,
                 **settings: Any) -> OrganizeResult:  # fmt: skip
        """What organize makes of the export."""
        return organize(
            self.table(shuffle),
            cohort="tests",
            secret=secret,
            settings=OrganizeSettings(**settings),
            registry=registry,
            manifest_rows=manifest or (),
            use=use,
        )


def codes(found: OrganizeResult, course_id: str | None = None) -> list[str]:
    """Codes of the findings with their severity, such as `W LINK_WEAK`; of one course when named."""
    return sorted(
        f"{f.severity.value} {f.code}" for f in found.findings if course_id is None or f.course_id == course_id
    )
