"""Label maps are laid over the phantom by patient coordinates, whatever the order of their voxels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import SimpleITK

from rtpipeline.demo.anatomy import build_anatomy
from rtpipeline.demo.compare_networks import ORGAN_DICE, dice, network_overlaps, read_on_phantom
from rtpipeline.demo.grid import ORIENTATION_OF_POSITION, axial_grid, store
from rtpipeline.demo.patients import DemoPatient
from rtpipeline.demo.phantom import Phantom, make_phantom

SEED = 7


def small_phantom() -> Phantom:
    """A phantom whose three axes differ in number and distance of voxels, with a number of its own in each voxel."""
    labels = (np.arange(4 * 5 * 6) % 251).astype(np.uint8).reshape(4, 5, 6)
    lower, spacing = np.array([-11.0, 3.0, 40.0]), np.array([2.0, 2.5, 3.0])
    return Phantom(labels.astype(np.int16), labels, labels > 100, lower, spacing)


def write(path, values_xyz, phantom: Phantom, position: str) -> None:
    grid = axial_grid(
        lower_mm=phantom.lower_mm,
        shape_xyz=values_xyz.shape,
        spacing_xyz_mm=phantom.spacing_mm.tolist(),
        position=position,
    )
    image = SimpleITK.GetImageFromArray(store(values_xyz, grid).values)
    image.SetOrigin(grid.origin_mm)
    image.SetSpacing((grid.pixel_spacing_mm[1], grid.pixel_spacing_mm[0], float(phantom.spacing_mm[2])))
    image.SetDirection(np.column_stack([grid.row_direction, grid.column_direction, grid.normal]).ravel().tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))


@pytest.mark.parametrize("position", ORIENTATION_OF_POSITION)
def test_every_position_gives_the_same_voxels(position, tmp_path):
    phantom = small_phantom()
    write(tmp_path / "map.nii.gz", phantom.labels, phantom, position)
    np.testing.assert_array_equal(read_on_phantom(tmp_path / "map.nii.gz", phantom), phantom.labels)


def test_a_map_that_is_shifted_by_a_voxel_is_refused(tmp_path):
    phantom = small_phantom()
    moved = Phantom(
        phantom.hu, phantom.labels, phantom.lesion, phantom.lower_mm + np.array([2.0, 0, 0]), phantom.spacing_mm
    )
    write(tmp_path / "map.nii.gz", phantom.labels, moved, "HFS")
    with pytest.raises(ValueError, match="phantom"):
        read_on_phantom(tmp_path / "map.nii.gz", phantom)


def test_dice_of_half_an_overlap():
    left, right = np.zeros(8, bool), np.zeros(8, bool)
    left[:4], right[2:6] = True, True
    assert dice(left, right) == 0.5


def test_the_phantom_against_itself_agrees_and_against_its_mirror_image_does_not(tmp_path):
    kind = DemoPatient(1).kind
    phantom = make_phantom(build_anatomy(SEED * 1000 + 1), kind.spacing_xyz_mm, kind.z_range_mm)
    row = {"patient_id": "p", "course_id": "p-c01", "image_id": "ct-01", "model": "total", "stage_key": "key"}
    table = pd.DataFrame([{**row, "structure_source": "totalsegmentator"}])
    path = tmp_path / "courses" / "p-c01" / "segmentation" / "key" / "segmentations" / "ct-01" / "total"
    found = {}
    for name, labels in (("same", phantom.labels), ("mirrored", phantom.labels[::-1])):
        write(path / "label_map.nii.gz", labels, phantom, "FFS")
        found[name] = {o.structure: o.dice for o in network_overlaps(SEED, {"DEMO-001": "p"}, table, tmp_path)}
    assert set(found["same"].values()) == {1.0}
    assert {"liver", "heart", "lungs", "kidney_left", "femur_right"} <= set(found["same"])
    assert max(found["mirrored"][name] for name in ("liver", "kidney_left", "femur_left")) < ORGAN_DICE
