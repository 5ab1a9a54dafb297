"""Spatial registrations: rigid links between frames of reference, or a reason why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from rtpipeline.dicom.registration import parse_registration

TURN = np.array([[0.0, -1.0, 0.0, 5.0], [1.0, 0.0, 0.0, -7.0], [0.0, 0.0, 1.0, 2.5], [0.0, 0.0, 0.0, 1.0]])
SHIFT = np.array([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 2.0], [0.0, 0.0, 1.0, 3.0], [0.0, 0.0, 0.0, 1.0]])


def item(frame: str, *matrices: np.ndarray, kind: str = "RIGID") -> Dataset:
    ds, registration = Dataset(), Dataset()
    if frame:
        ds.FrameOfReferenceUID = frame
    registration.MatrixSequence = []
    for matrix in matrices:
        one = Dataset()
        one.FrameOfReferenceTransformationMatrixType = kind
        one.FrameOfReferenceTransformationMatrix = [float(v) for v in matrix.ravel()]
        registration.MatrixSequence.append(one)
    ds.MatrixRegistrationSequence = [registration]
    return ds


def registration(*items: Dataset, frame: str = "1.1") -> Dataset:
    ds = Dataset()
    if frame:
        ds.FrameOfReferenceUID = frame
    ds.RegistrationSequence = list(items)
    return ds


def test_an_item_links_its_frame_to_the_frame_of_the_object():
    found = parse_registration(registration(item("1.1", np.eye(4)), item("1.2", TURN)))
    (link,) = found.links
    assert (link.from_uid, link.to_uid, link.is_identity) == ("1.2", "1.1", False)
    assert (link.matrix @ [1, 2, 3, 1]).tolist() == [3, -6, 5.5, 1]
    assert found.findings == []


def test_matrices_of_one_item_apply_in_their_order():
    (link,) = parse_registration(registration(item("1.2", TURN, SHIFT))).links
    assert np.allclose(link.matrix, SHIFT @ TURN)
    assert not np.allclose(link.matrix, TURN @ SHIFT)


def test_a_matrix_that_moves_nothing_is_the_identity():
    (link,) = parse_registration(registration(item("1.2", np.eye(4)))).links
    assert link.is_identity


def test_a_rotation_is_no_identity_whatever_point_it_leaves_in_place():
    """x to y, y to z, z to x leaves (1, 1, 1) and all points on that diagonal where they are."""
    cycle = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    about_a_corner = TURN.copy()
    corner = np.array([1000.0, 1000.0, 1000.0])
    about_a_corner[:3, 3] = corner - TURN[:3, :3] @ corner
    for matrix in (cycle, about_a_corner):
        (link,) = parse_registration(registration(item("1.2", matrix))).links
        assert not link.is_identity


MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
SCALED = np.diag([1.1, 1.0, 1.0, 1.0])
PERSPECTIVE = np.eye(4) + np.array([[0] * 4] * 3 + [[0.1, 0, 0, 0]])
INVALID = {
    "mirrored": (registration(item("1.2", MIRROR)), "not rigid"),
    "scaled": (registration(item("1.2", SCALED)), "not rigid"),
    "last row": (registration(item("1.2", PERSPECTIVE)), "not rigid"),
    "own frame moved": (registration(item("1.1", SHIFT), item("1.2", TURN)), "item 1 moves the object's own frame"),
    "affine": (registration(item("1.2", np.eye(4), kind="AFFINE")), "AFFINE"),
    "12 numbers": (registration(item("1.2", np.eye(4)[:3])), "16 numbers"),
    "no matrix": (registration(item("1.2")), "no matrix"),
    "no frame in the item": (registration(item("", np.eye(4))), "item 1 without frame"),
    "no frame of its own": (registration(item("1.2", np.eye(4)), frame=""), "of its own"),
    "one frame only": (registration(item("1.1", np.eye(4))), "only one frame"),
    "nothing": (registration(), "no RegistrationSequence"),
}


@pytest.mark.parametrize("case", INVALID)
def test_what_is_no_rigid_link_between_two_frames_is_refused(case):
    ds, words = INVALID[case]
    found = parse_registration(ds, "reg-01")
    assert found.links == ()
    assert [(f.code, f.object) for f in found.findings] == [("REG_INVALID", "reg-01")]
    assert words in found.findings[0].measured


def test_a_deformable_registration_is_not_applied():
    ds = Dataset()
    ds.DeformableRegistrationSequence = [Dataset()]
    found = parse_registration(ds)
    assert found.links == ()
    assert "deformable" in found.findings[0].measured


def test_one_bad_item_costs_that_link_only():
    found = parse_registration(registration(item("1.2", TURN), item("1.3", MIRROR)))
    assert [link.from_uid for link in found.links] == ["1.2"]
    assert [f.code for f in found.findings] == ["REG_INVALID"]


@pytest.mark.data
def test_real_registrations(shared_data: Path):
    (file,) = (shared_data / "eclipse_phantom_registered" / "explicit").glob("RE.*.dcm")
    (link,) = parse_registration(pydicom.dcmread(file)).links
    assert link.is_identity
    home_made = parse_registration(pydicom.dcmread(shared_data / "onkodicom_reg" / "spatial_reg.dcm", force=True))
    assert home_made.links == ()
    assert home_made.findings[0].code == "REG_INVALID"
