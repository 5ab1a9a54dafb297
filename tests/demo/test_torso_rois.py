from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.demo.anatomy import build_anatomy
from rtpipeline.demo.labels import LABEL_IDS, LUNG_IDS
from rtpipeline.demo.patients import ENGLISH, SIB
from rtpipeline.demo.phantom import Phantom, make_phantom
from rtpipeline.demo.prism_stack import PrismStack
from rtpipeline.demo.rois import Roi, inside_polygon
from rtpipeline.demo.torso_rois import draw_structures

from .even_odd import even_odd

SEED = 7001
SPACING_MM = (4.0, 4.0, 5.0)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(build_anatomy(SEED), SPACING_MM)


@pytest.fixture(scope="module")
def rois(phantom: Phantom) -> dict[str, Roi]:
    z = phantom.lower_mm[2] + SPACING_MM[2] * np.arange(phantom.hu.shape[2])
    return draw_structures(build_anatomy(SEED), {**ENGLISH, **SIB}, z.tolist())


def _voxels_inside(phantom: Phantom, roi: Roi) -> np.ndarray:
    """Mask of the voxels whose centres an ROI contains."""
    mask = np.zeros(phantom.hu.shape, bool)
    x, y = (phantom.lower_mm[i] + SPACING_MM[i] * np.arange(phantom.hu.shape[i]) for i in (0, 1))
    for points in roi.contours:
        k = round((points[0, 2] - phantom.lower_mm[2]) / SPACING_MM[2])
        mask[:, :, k] ^= even_odd([points[:, :2]], x, y)
    return mask


@pytest.mark.parametrize(
    ("key", "labels", "share"),
    [
        ("HEART", [LABEL_IDS["heart"]], 0.95),
        ("BLADDER", [LABEL_IDS["urinary_bladder"]], 0.95),
        ("KIDNEY_LEFT", [LABEL_IDS["kidney_left"]], 0.85),  # the spleen lies over its upper pole
        ("KIDNEY_RIGHT", [LABEL_IDS["kidney_right"]], 0.60),  # and the liver over this one's
        ("LUNG_LEFT", [*LUNG_IDS, LABEL_IDS["heart"]], 0.85),  # of an ellipsoid that also holds vessels and diaphragm
        ("LUNG_RIGHT", [*LUNG_IDS, LABEL_IDS["heart"]], 0.85),
        ("CORD", [LABEL_IDS["spinal_cord"]], 0.80),
    ],
)
def test_contours_enclose_the_organ_whose_name_they_bear(
    phantom: Phantom, rois: dict[str, Roi], key: str, labels: list[int], share: float
) -> None:
    inside = phantom.labels[_voxels_inside(phantom, rois[key])]
    assert np.isin(inside, labels).mean() > share


def test_the_gross_tumour_volume_encloses_the_lesion(phantom: Phantom, rois: dict[str, Roi]) -> None:
    inside = _voxels_inside(phantom, rois["GTV"])
    assert (phantom.lesion & inside).sum() > 0.8 * phantom.lesion.sum()
    assert (phantom.lesion & _voxels_inside(phantom, rois["PTV"])).sum() == phantom.lesion.sum()


def test_targets_are_nested(rois: dict[str, Roi]) -> None:
    for order in (("GTV", "CTV", "PTV"), ("GTV", "PTV_HIGH", "PTV_MIDDLE", "PTV_LOW")):
        volumes = [PrismStack.from_contours(rois[key].contours).volume_cc() for key in order]
        assert volumes == sorted(volumes)


def test_every_structure_lies_within_the_body(rois: dict[str, Roi]) -> None:
    body = {points[0, 2]: points[:, :2] for points in rois["BODY"].contours}
    for key, roi in rois.items():
        if key != "BODY":
            for points in roi.contours:
                assert inside_polygon(points[:, :2], body[points[0, 2]]).all(), key


def test_numbers_and_names_do_not_repeat() -> None:
    z = np.arange(152.5, 510, 5.0).tolist()
    rois = draw_structures(build_anatomy(SEED), SIB, z, number_step=3)
    assert [roi.number for roi in rois.values()] == list(range(1, 1 + 3 * len(SIB), 3))
    assert len({roi.name.casefold() for roi in rois.values()}) == len(SIB)
