"""Pages of real exports: pictures of every kind of course, and nothing of the files' identity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from rtpipeline.qc.scenes import MAX_SCENES
from tests.qc.conftest import STAGES, views_of, without_networks
from tests.synthetic.pipeline import run_chain

pytestmark = pytest.mark.data

MAX_PAGE_BYTES = 1_500_000

IDENTIFYING = (
    "PatientName", "PatientID", "PatientBirthDate", "StudyDate", "SeriesDate", "StudyInstanceUID", "SeriesInstanceUID",
    "SOPInstanceUID", "FrameOfReferenceUID", "AccessionNumber", "InstitutionName", "ReferringPhysicianName",
    "OperatorsName",
)  # fmt: skip

SHORTEST = 5
"""Shorter values stand in any text."""


def identifiers(folder: Path) -> set[str]:
    found = set()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in (".dcm", ""):
            try:
                ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(IDENTIFYING))
            except pydicom.errors.InvalidDicomError:
                continue
            found |= {str(ds.get(name, "")).strip() for name in IDENTIFYING}
    return {value for value in found if len(value) >= SHORTEST}


@pytest.mark.parametrize(
    ("name", "kind", "pictures", "gray"),
    [
        ("dicompyler-core", "planned", 3, False),  # one slice of its CT: contours on the dose
        ("brachy_hdr_prostate", "planned", 3, False),
        ("mirp_sts", "structures_only", 9, True),  # CT, MR and PET, each with its own structure set
    ],
)
def test_pages_of_real_courses(shared_data, tmp_path, name, kind, pictures, gray):
    source = shared_data / name
    chain = run_chain(source, tmp_path, without_networks(), stages=STAGES)
    secrets = identifiers(source)
    assert len(secrets) >= 3
    for course in chain.manifest.courses:
        html = (chain.folder(course.course_id, "qc") / "course.html").read_text(encoding="utf-8")
        views = views_of(html)
        assert course.course_kind == kind
        assert 0 < len(views) <= 3 * MAX_SCENES
        assert len(html.encode()) < MAX_PAGE_BYTES
        assert not [s for s in secrets if s in html]
        for view in views[::3]:
            assert view.letters() == list("RLAP")
            assert len(view.pictures()) >= 1
            assert ('class="ground"' in view.svg) and view.svg.count("<image") >= 1
        if gray:
            assert all(np.asarray(v.pictures()[0]).std() > 10 for v in views)  # something to see
    assert max(len(views_of(_html(chain, c.course_id))) for c in chain.manifest.courses) == pictures


def _html(chain, course_id: str) -> str:
    return (chain.folder(course_id, "qc") / "course.html").read_text(encoding="utf-8")
