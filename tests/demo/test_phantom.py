from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from rtpipeline.demo.anatomy import build_anatomy
from rtpipeline.demo.labels import LABEL_IDS, LUNG_IDS
from rtpipeline.demo.phantom import Phantom, make_phantom

ORIGINAL = Path(__file__).resolve().parents[3] / "shared" / "phantom" / "phantom.py"
SEED = 7


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(build_anatomy(SEED), (4.0, 4.0, 5.0))


@pytest.mark.parametrize(
    ("seed", "spacing", "z_range"), [(7, (2.5, 2.5, 3.0), (0.0, 510.0)), (7001, (4.0, 4.0, 5.0), (150.0, 510.0))]
)
def test_it_equals_the_phantom_on_which_the_tiny_networks_were_trained(
    seed: int, spacing: tuple[float, float, float], z_range: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not ORIGINAL.is_file():
        pytest.skip("the phantom that the networks were trained on is not beside this project")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_file_location("original_phantom", ORIGINAL)
    assert spec is not None and spec.loader is not None
    original = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(original)
    expected = original.make_phantom(seed, spacing, z_range)
    ours = make_phantom(build_anatomy(seed), spacing, z_range)
    np.testing.assert_array_equal(ours.hu, expected["ct"])
    np.testing.assert_array_equal(ours.labels, expected["labels"])
    np.testing.assert_array_equal(ours.lesion, expected["gtv"].astype(bool))
    np.testing.assert_allclose(ours.lower_mm, expected["origin_lps"])
    assert {name: LABEL_IDS[name] for name in original.LABELS} == original.LABELS


def test_all_classes_are_there(phantom: Phantom) -> None:
    assert set(np.unique(phantom.labels)) == {0, *LABEL_IDS.values()}


def test_left_organs_lie_at_positive_x(phantom: Phantom) -> None:
    x = phantom.lower_mm[0] + phantom.spacing_mm[0] * np.arange(phantom.hu.shape[0])
    for name, label in LABEL_IDS.items():
        if name.endswith(("_left", "_right")):
            mean_x = (x[:, None, None] * (phantom.labels == label)).sum() / (phantom.labels == label).sum()
            assert (mean_x > 0) == name.endswith("_left"), name


@pytest.mark.parametrize(
    ("name", "low_hu", "high_hu"), [("heart", 130, 160), ("spleen", 115, 150), ("lung_upper_lobe_left", -850, -800)]
)
def test_organs_have_the_density_of_a_portal_venous_ct(
    phantom: Phantom, name: str, low_hu: float, high_hu: float
) -> None:
    assert low_hu < np.median(phantom.hu[phantom.labels == LABEL_IDS[name]]) < high_hu


def test_the_lesion_is_soft_tissue_where_there_was_lung(phantom: Phantom) -> None:
    assert phantom.lesion.any()
    assert np.isin(phantom.labels[phantom.lesion], LUNG_IDS).all()
    assert -50 < np.median(phantom.hu[phantom.lesion]) < 80


def test_an_anatomy_does_not_depend_on_how_it_is_sampled() -> None:
    fine, coarse = (make_phantom(build_anatomy(SEED), (s, s, s), (280.0, 440.0)) for s in (4.0, 8.0))
    heart_cc = [np.sum(p.labels == LABEL_IDS["heart"]) * np.prod(p.spacing_mm) / 1000 for p in (fine, coarse)]
    assert heart_cc[0] == pytest.approx(heart_cc[1], rel=0.03)  # what voxels of 8 mm leave of its surface


def test_seeds_differ_in_anatomy_and_equal_seeds_do_not() -> None:
    first, again, other = (make_phantom(build_anatomy(s), (8.0, 8.0, 10.0)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.hu, again.hu)
    assert (first.labels != other.labels).mean() > 0.01
