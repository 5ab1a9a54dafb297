"""Page and table of whole courses: where things stand in the pictures, and what is there when something is missing."""

from __future__ import annotations

import re

import numpy as np
import pytest

from rtpipeline.contracts.tables import QC
from rtpipeline.demo.small import small_patient
from rtpipeline.errors import ExitCode
from rtpipeline.execution.stage_entry import StageRequest, run_stage
from rtpipeline.qc.pictures import WASH_FROM, WASH_LEVELS
from rtpipeline.qc.scenes import SCALE_OVER_RX, scenes
from rtpipeline.qc.views import views
from tests.qc.conftest import (
    BALL_MM,
    BALL_RADIUS_MM,
    OTHER_MM,
    STAGES,
    outputs_of,
    page_of,
    two_balls,
    views_of,
    without_networks,
)
from tests.synthetic.pipeline import COHORT, run_chain

ONE_PIXEL = 1.0
SLICE_MM = 3.0
"""Contours are drawn on slices: the ends of a ball are known to half a slice."""

MAX_PAGE_BYTES = 1_500_000


def middle_of(pieces) -> np.ndarray:
    """Middle of the box around polylines: the centre of a ball's section, cut between its slices or along them."""
    points = np.concatenate(pieces)
    return 0.5 * (points.min(axis=0) + points.max(axis=0))


def test_contours_stand_where_the_closed_form_says_in_every_position(ball_page):
    _, html = ball_page
    for view, (across, down, sign) in zip(views_of(html), ((0, 1, 1), (0, 2, -1), (1, 2, -1)), strict=True):
        target = view.contour("PTV")
        points = np.concatenate(target)
        size_mm = (points.max(axis=0) - points.min(axis=0)) * view.pixel_mm
        np.testing.assert_allclose(size_mm, 2 * BALL_RADIUS_MM, atol=SLICE_MM)
        if "Ball</title>" not in view.svg:
            continue
        shift_mm = (middle_of(view.contour("Ball")) - middle_of(target)) * view.pixel_mm
        expected = [OTHER_MM[across] - BALL_MM[across], sign * (OTHER_MM[down] - BALL_MM[down])]
        # up and down, each ball ends on a slice
        limits = [ONE_PIXEL * view.pixel_mm + 0.1, SLICE_MM if down == 2 else ONE_PIXEL * view.pixel_mm + 0.1]
        assert (np.abs(shift_mm - expected) <= limits).all(), (shift_mm, expected)
    assert sum("Ball</title>" in v.svg for v in views_of(html)) >= 1


def test_the_centre_of_a_ball_is_where_its_coordinates_say_within_a_pixel(ball_chain):
    """In patient mm: where pixels lie in the patient is held to closed forms in test_views and test_pictures."""
    _, chain = ball_chain
    (scene,), problems = scenes(outputs_of(chain))
    assert not problems
    for view, seen in zip(views(scene.frame, scene.centre_xyz_mm), views_of(page_of(chain)), strict=True):
        assert abs((np.array(BALL_MM) - view.origin_xyz_mm) @ view.normal) <= SLICE_MM / 2 + 1e-6
        off_pixels = np.abs(middle_of(seen.contour("PTV")) - view.to_picture(np.array([BALL_MM]))[0])
        along_slices = ONE_PIXEL if view.name == "axial" else SLICE_MM / 2 / view.pixel_mm + ONE_PIXEL
        assert (off_pixels <= [ONE_PIXEL, along_slices]).all(), off_pixels
        assert seen.columns_rows == (view.columns, view.rows)
        assert seen.pixel_mm == pytest.approx(view.pixel_mm, rel=2e-3)


def test_letters_are_those_of_the_patient_in_every_position(ball_page):
    _, html = ball_page
    assert [v.letters() for v in views_of(html)] == [list("RLAP"), list("RLSI"), list("APSI")]


def test_contours_lie_on_the_anatomy(ball_page):
    """The ball of 40 HU in a body of 20 HU: the gray pixels themselves, which contours have no part in."""
    _, html = ball_page
    for view in views_of(html):
        gray = np.asarray(view.pictures()[0]).astype(float)
        points = np.concatenate(view.contour("PTV"))
        centre = middle_of([points])
        radius = BALL_RADIUS_MM / view.pixel_mm
        y, x = np.indices(gray.shape) + 0.5
        distance = np.hypot(x - centre[0], y - centre[1])
        inside, around = gray[distance < 0.8 * radius], gray[(distance > 1.3 * radius) & (distance < 1.6 * radius)]
        body = around[around > 100]  # air is black
        assert inside.mean() > body.mean() + 6  # 20 HU are 12.75 gray levels, the texture averages out
        box = np.abs(np.stack([x, y]) - centre[:, None, None]).max(axis=0) < 1.25 * radius
        # the centre of what is brighter than the mean of both: within one voxel's share of the noise
        weight = np.clip(gray - body.mean(), 0, None) * box * (gray < 200)
        found = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
        assert np.abs(found - centre).max() < 2.0 / view.pixel_mm


def test_the_dose_wash_has_the_colour_of_the_closed_form_dose(ball_page):
    patient, html = ball_page
    top_gy = SCALE_OVER_RX * 50.0
    for view, axes in zip(views_of(html), ((0, 1, 1), (0, 2, -1), (1, 2, -1)), strict=True):
        across, down, sign = axes
        wash = np.asarray(view.pictures()[1])  # palette numbers
        centre = middle_of(view.contour("PTV"))
        checked = 0
        for right, below in ((0, 0), (10, 0), (-10, 0), (0, 8), (0, -8)):
            column, row = (int(v) for v in centre + np.array([right, below]) / view.pixel_mm)
            point = np.array(BALL_MM)
            point[across] += (column + 0.5 - centre[0]) * view.pixel_mm
            point[down] += sign * (row + 0.5 - centre[1]) * view.pixel_mm
            share = float(patient.dose.at(point[None])[0]) / top_gy
            level = 1 + np.floor(min(share, 1 - 1e-9) * WASH_LEVELS) if share >= WASH_FROM else 0
            # the plane runs through the voxel nearest to the centre: half a voxel of each axis is open
            assert abs(int(wash[row, column]) - level) <= 1
            checked += 1
        assert checked == 5


def test_a_clean_patient_passes(clean):
    rows = clean.rows("qc", "qc")
    assert {r["status"] for r in rows} == {"pass", "not_evaluated"}
    assert all(r["measured"] and r["expected"] for r in rows)
    record = clean.record(clean.course.course_id, "qc")
    assert record.status == "done"
    assert record.counts["rows"] == len(rows)
    assert record.counts["pictures"] == 3
    assert record.findings == []


def test_the_page_says_what_the_tables_say(clean):
    html = page_of(clean)
    for metric in clean.rows("dvh", "dvh_metrics"):
        assert f">{metric['dmean_gy']:.2f}<" in html
    assert 'class="dvh"' in html
    assert "For research, not for treatment decisions" in html
    assert all(f">{stage}<" in html for stage in STAGES[:-1])
    key = clean.record(clean.course.course_id, "structures").stage_key
    assert f">{key}<" in html


def test_the_page_needs_nothing_from_outside_and_no_script(clean):
    html = page_of(clean)
    assert len(html.encode()) < MAX_PAGE_BYTES
    assert "<script" not in html
    references = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\'\s)>]+)', html)
    assert references
    assert all(r.startswith(("data:", "#")) for r in references)
    assert "http" not in html


def test_nothing_that_identifies_stands_on_the_page(clean):
    html = page_of(clean)
    for secret in ("DEMO-900", "Demo^Small", "Demo", "20240311", "2024", "1.2.826", "2.25."):
        assert secret not in html.replace("Demo phantom", ""), secret


def test_the_same_course_gives_the_same_bytes(clean, tmp_path):
    folder = clean.folder(clean.course.course_id, "qc")
    inputs = {s: clean.folder(clean.course.course_id, s) for s in STAGES[:-1]} | {"organize": clean.root / "organize"}
    request = StageRequest(
        "qc", COHORT, tmp_path / "again", without_networks(), "key",
        course_id=clean.course.course_id, inputs=inputs, workers=2,
    )  # fmt: skip
    assert run_stage(request) is ExitCode.DONE
    for name in ("qc.parquet", "course.html"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_the_table_is_as_declared(clean):
    path = clean.folder(clean.course.course_id, "qc") / "qc.parquet"
    frame = QC.read(path)
    QC.check(frame)
    assert list(frame.columns) == [c.name for c in QC.columns]
    assert (frame["stage_key"] == "key").all()


def test_switched_off_it_says_so(clean, tmp_path):
    request = StageRequest(
        "qc", COHORT, tmp_path / "off", without_networks(qc={"enabled": False}), "key",
        course_id=clean.course.course_id, inputs={"organize": clean.root / "organize"},
    )  # fmt: skip
    assert run_stage(request) is ExitCode.DONE
    assert not (tmp_path / "off" / "qc.parquet").exists()


def alone(clean, tmp_path, *stages):
    """qc with these stages alone."""
    inputs = {s: clean.folder(clean.course.course_id, s) for s in stages} | {"organize": clean.root / "organize"}
    out = tmp_path / "out"
    request = StageRequest(
        "qc", COHORT, out, without_networks(), "key", course_id=clean.course.course_id, inputs=inputs
    )
    assert run_stage(request) is ExitCode.DONE
    return QC.read(out / "qc.parquet"), (out / "course.html").read_text()


@pytest.mark.parametrize(
    ("stages", "pictures", "contours"),
    [
        ((), 0, False),
        (("prepare_images",), 3, False),
        (("prepare_rt",), 3, False),
        (("prepare_rt", "structures"), 3, True),
        (("prepare_images", "prepare_rt", "structures"), 3, True),
        (("structures",), 3, True),
    ],
)
def test_whatever_is_missing_there_is_a_table_and_a_page(clean, tmp_path, stages, pictures, contours):
    table, html = alone(clean, tmp_path, *stages)
    assert len(views_of(html)) == pictures
    assert ('class="roi' in html) is contours
    absent = table[(table["check"] == "stages") & table["object"].isin([f"stage {s}" for s in STAGES[:-1]])]
    by_stage = dict(zip(absent["object"], absent["status"], strict=True))
    assert all((by_stage[f"stage {s}"] == "pass") == (s in stages) for s in STAGES[:-1])
    if "dvh" not in stages:
        coverage = table[table["check"] == "dose_coverage"]
        assert list(coverage["status"]) == ["not_evaluated"]
        assert coverage["measured"].iloc[0] == "dvh: no output"


def test_an_image_that_cannot_be_read_costs_its_picture_and_nothing_else(tmp_path):
    chain = run_chain(small_patient().save(tmp_path / "in"), tmp_path / "out", without_networks(), stages=STAGES[:-1])
    course_id = chain.course.course_id
    volume = chain.folder(course_id, "prepare_images") / "images/ct-01/image.nii.gz"
    volume.write_bytes(volume.read_bytes()[: volume.stat().st_size // 2])
    inputs = {s: chain.folder(course_id, s) for s in STAGES[:-1]} | {"organize": chain.root / "organize"}
    out = tmp_path / "qc"
    request = StageRequest("qc", COHORT, out, without_networks(), "key", course_id=course_id, inputs=inputs)
    assert run_stage(request) is ExitCode.DONE
    table = QC.read(out / "qc.parquet")
    (row,) = table[table["check"] == "pictures"].to_dict("records")
    assert (row["status"], row["codes"], row["object"]) == ("warn", "QC_PICTURE", "ct-01")
    html = (out / "course.html").read_text()
    assert views_of(html) == []
    assert "QC_PICTURE" in html and 'class="dvh"' in html


def test_a_course_of_images_alone_has_pictures_and_no_dose(tmp_path):
    patient = small_patient()
    patient.rtstruct = patient.rtplan = patient.rtdose = None
    chain = run_chain(patient.save(tmp_path / "in"), tmp_path / "out", without_networks(), stages=STAGES)
    assert chain.course.course_kind == "images_only"
    html = page_of(chain)
    assert [len(v.pictures()) for v in views_of(html)] == [1, 1, 1]
    assert "fail" not in {r["status"] for r in chain.rows("qc", "qc")}


def test_a_course_without_an_image_shows_contours_on_its_dose(tmp_path):
    patient = two_balls()
    patient.ct = []
    chain = run_chain(patient.save(tmp_path / "in"), tmp_path / "out", without_networks(), stages=STAGES)
    html = page_of(chain)
    assert [len(v.pictures()) for v in views_of(html)] == [1, 1, 1]  # the dose alone
    for view in views_of(html):
        points = np.concatenate(view.contour("PTV"))
        size_mm = (points.max(axis=0) - points.min(axis=0)) * view.pixel_mm
        np.testing.assert_allclose(size_mm, 2 * BALL_RADIUS_MM, atol=SLICE_MM)
    assert "COURSE_NO_PLANNING_IMAGE" in set(chain.table("qc", "qc")["codes"].dropna())


def test_hostile_names_stay_text(tmp_path):
    evil = '"><script>alert(1)</script>'
    patient = small_patient(names={"SpinalCord": evil})
    html = page_of(run_chain(patient.save(tmp_path / "in"), tmp_path / "out", without_networks(), stages=STAGES))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
