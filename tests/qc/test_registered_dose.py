"""A dose that a registration leads to an image is drawn where it lies in the patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rtpipeline.demo.small import small_patient
from rtpipeline.qc.scenes import scenes
from tests.qc.conftest import outputs_of, without_networks
from tests.synthetic.edits import REGISTERED, carried_over, registration
from tests.synthetic.pipeline import run_chain


def test_the_layer_of_a_registered_dose_lies_in_the_frame_of_the_image(tmp_path: Path) -> None:
    patient = small_patient(dose_spacing_xyz_mm=(8.0, 8.0, 10.0))
    frame = patient.study.uids("another scan")
    assert patient.rtdose is not None
    carried_over(patient.rtdose, np.linalg.inv(REGISTERED), frame)
    patient.extra.append(registration(patient, frame, REGISTERED))
    patient.save(tmp_path / "export")
    chain = run_chain(tmp_path / "export", tmp_path / "work", without_networks())
    (scene,), problems = scenes(outputs_of(chain))
    assert not problems
    (layer,) = scene.doses
    index = np.stack(np.meshgrid(*[np.arange(float(n)) for n in layer.grid.shape_zyx], indexing="ij"), axis=-1)
    expected = patient.dose.at(layer.grid.index_zyx_to_patient(index))
    assert np.abs(np.asarray(layer.dose_gy) - expected).max() <= 1e-4  # float32, and decimals of matrix and positions
