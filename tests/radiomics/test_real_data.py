"""Soft-tissue sarcomas: each patient has a CT, an MR and a PET with a structure set of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtpipeline.config import parse_config
from tests.synthetic.pipeline import run_chain

VOXELISED = 0.02
"""relative; volume of a solid of 30 cc and more against its voxels of 1 mm"""


@pytest.mark.data
def test_ct_and_mr_have_features_of_their_own_image_and_pet_a_row_without(shared_data: Path, tmp_path: Path) -> None:
    config = parse_config({"radiomics": {"profile": "original", "mr_profile": "original-mr"}})
    source = shared_data / "mirp_sts" / "STS_003"
    chain = run_chain(source, tmp_path, config, stages=["prepare_images", "prepare_rt", "structures", "radiomics"])
    rows = {row["modality"]: row for row in chain.rows("radiomics", "radiomics")}
    assert {modality: row["status"] for modality, row in rows.items()} == {"CT": "ok", "MR": "ok", "PT": "not_computed"}
    assert {m: rows[m]["profile"] for m in ("CT", "MR")} == {"CT": "original", "MR": "original-mr"}
    assert len({row["image_id"] for row in rows.values()}) == 3
    volumes = {row["modality"]: row["volume_cc"] for row in chain.rows("structures", "structures")}
    for modality in ("CT", "MR"):
        assert rows[modality]["original_shape_VoxelVolume"] / 1000 == pytest.approx(volumes[modality], rel=VOXELISED)
    assert 0 < rows["CT"]["original_firstorder_Mean"] < 80, "soft tissue, HU"
    assert [f.code for f in chain.findings if f.stage == "radiomics"] == ["RAD_NO_SUV"]
