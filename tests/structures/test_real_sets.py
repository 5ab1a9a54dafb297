"""Derived structures on a real export, whose grids and contours nobody made to fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from rtpipeline.config import Config
from rtpipeline.geometry.mask_margins import LATTICE_SHARE, spacing_zyx_mm
from tests.structures.networks import reader_of
from tests.synthetic.pipeline import Chain, run_chain

DEFINITIONS = """
- {name: CTV_5mm, source_structures: [CTV], margin: 5}
- {name: ring, expression: CTV_5mm - (CTV | Brainstem)}
"""


@pytest.mark.slow
@pytest.mark.data
def test_a_margin_around_the_ctv_of_a_head_is_the_distance_of_centres(shared_data: Path, tmp_path: Path) -> None:
    definitions = tmp_path / "custom.yaml"
    definitions.write_text(DEFINITIONS)
    config = Config(custom_structures=definitions)
    stages = ["prepare_images", "prepare_rt", "structures"]
    whole = run_chain(shared_data / "dcpt_headphantom", tmp_path / "work", config, stages=stages)
    (course,) = [c for c in whole.manifest.courses if c.structure_sets]
    chain = Chain(whole.root, whole.manifest.model_copy(update={"courses": [course]}))
    reader = reader_of(chain)
    found = {r["structure_name"]: reader.mask(r["structure_set_id"], r["structure_id"]) for r in reader.rows}
    ctv, grown, ring, stem = (found[n] for n in ("CTV", "CTV_5mm", "ring", "BrainStem"))
    assert ctv is not None
    assert grown is not None
    assert ring is not None
    assert stem is not None
    edges_mm = np.array(spacing_zyx_mm(ctv.grid))
    around = tuple(slice(max(part.start - 3, 0), part.stop + 3) for part in grown.box)
    drawn, larger = ctv.whole()[around], grown.whole()[around]
    distance = ndimage.distance_transform_edt(~drawn, sampling=edges_mm / (5.0 + LATTICE_SHARE * edges_mm))
    assert np.array_equal(larger, distance <= 1 + 1e-9)
    assert np.array_equal(ring.whole()[around], larger & ~drawn & ~stem.whole()[around])
    assert ring.voxels == np.count_nonzero(ring.whole()[around])
