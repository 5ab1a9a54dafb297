"""Structures of networks on the page: their own line, where they are, and the notice of phantom networks."""

from __future__ import annotations

import re

import numpy as np
import pytest

from rtpipeline.contracts.manifests import StageRecord
from rtpipeline.contracts.tables import SEGMENTATION
from rtpipeline.errors import ExitCode
from rtpipeline.execution.stage_entry import StageRequest, run_stage
from tests.qc.conftest import BALL_MM, BALL_RADIUS_MM, two_balls, views_of, without_networks
from tests.structures.networks import ball, chain_with_maps
from tests.synthetic.pipeline import COHORT

VOXEL_MM = 3.0
SHIFT_MM = 6.0
"""Of the network's ball against the drawn one, to the patient's left."""


@pytest.fixture(scope="module", params=["HFS", "FFS"])
def chain(request, tmp_path_factory):
    centre = (BALL_MM[0] + SHIFT_MM, *BALL_MM[1:])
    shapes = {"heart": ball(centre, BALL_RADIUS_MM), "liver": None}
    folder = tmp_path_factory.mktemp("networks")
    return chain_with_maps(two_balls(position=request.param), folder, shapes, stages=("structures", "dvh"))


def page(chain, out, *, phantom: bool) -> str:
    course_id = chain.course.course_id
    segmentation = chain.folder(course_id, "segmentation")
    row = {c.name: "x" for c in SEGMENTATION.columns if c.dtype == "string"}
    row |= {"label": 1, "status": "ok", "phantom_weights": phantom, "laterality": None}
    SEGMENTATION.write(SEGMENTATION.frame([row]), segmentation / "segmentation.parquet")
    record = StageRecord(
        stage="segmentation", stage_version=1, stage_key="k", cohort=COHORT, course_id=course_id, status="done",
        output_digest="", upstream={}, config={}, settings_digest="", versions={}, weights={"total.pth": "ab" * 32},
    )  # fmt: skip
    (segmentation / "stage.json").write_text(record.model_dump_json())
    stages = ("prepare_images", "prepare_rt", "segmentation", "structures", "dvh")
    inputs = {s: chain.folder(course_id, s) for s in stages} | {"organize": chain.root / "organize"}
    request = StageRequest("qc", COHORT, out, without_networks(), "key", course_id=course_id, inputs=inputs)
    assert run_stage(request) is ExitCode.DONE
    return (out / "course.html").read_text(encoding="utf-8")


def test_phantom_networks_are_announced_and_others_are_not(chain, tmp_path):
    notice = "Networks of the demo were used"
    assert notice in page(chain, tmp_path / "phantom", phantom=True)
    assert notice not in page(chain, tmp_path / "real", phantom=False)


def test_weights_stand_with_their_hash(chain, tmp_path):
    assert "total.pth abababababab<" in page(chain, tmp_path / "out", phantom=True)


def test_a_network_has_its_own_line_and_switch_and_lies_where_its_voxels_are(chain, tmp_path):
    html = page(chain, tmp_path / "out", phantom=True)
    assert 'id="show-totalsegmentator" checked' in html
    view = views_of(html)[0]
    assert re.search(r'class="roi src-totalsegmentator"[^>]*><title>heart', view.svg)
    drawn, found = (np.concatenate(view.contour(name)) for name in ("PTV", r"heart \(totalsegmentator\)"))
    shift_mm = (found.mean(axis=0) - drawn.mean(axis=0)) * view.pixel_mm
    assert np.abs(shift_mm - [SHIFT_MM, 0.0]).max() < VOXEL_MM / 2  # of many vertices along voxel borders
    assert "liver" not in view.svg


def test_both_sources_stand_in_the_table_of_structures(chain, tmp_path):
    html = page(chain, tmp_path / "out", phantom=True)
    table = html.split('id="structures"')[1].split("</table>")[0]
    assert ">totalsegmentator<" in table and ">manual<" in table
    assert ">Heart<" in table  # the TG-263 name of `heart`
