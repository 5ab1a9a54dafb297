"""One enhanced multi-frame object gives the volume that its frames give as single slices."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage

from rtpipeline.dicom.enhanced import headers_of_frames
from rtpipeline.prepare.image_files import load_template

Slices = Callable[..., list[Dataset]]

OF_FRAME = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
}
"""Functional group macros and what moves into them from a slice (PS3.3 C.7.6.16.2)."""


def enhanced(slices: list[Dataset], shared: tuple[str, ...] = ()) -> Dataset:
    """The slices as frames of one object; the macros in `shared` stand once for all frames."""
    ds = copy.deepcopy(slices[0])
    ds.SOPClassUID, ds.SOPInstanceUID, ds.NumberOfFrames = EnhancedCTImageStorage, "1.2.3.4", len(slices)
    for keywords in OF_FRAME.values():
        for keyword in keywords:
            del ds[keyword]

    def macro(source: Dataset, name: str) -> Sequence:
        item = Dataset()
        for keyword in OF_FRAME[name]:
            item.add(copy.deepcopy(source[keyword]))
        return Sequence([item])

    def group(source: Dataset, names: set[str]) -> Dataset:
        made = Dataset()
        for name in sorted(names):
            setattr(made, name, macro(source, name))
        return made

    ds.SharedFunctionalGroupsSequence = Sequence([group(slices[0], set(shared))])
    ds.PerFrameFunctionalGroupsSequence = Sequence([group(s, OF_FRAME.keys() - set(shared)) for s in slices])
    ds.PixelData = b"".join(s.PixelData for s in slices)
    return ds


@pytest.mark.parametrize("shared", [(), ("PlaneOrientationSequence", "PixelMeasuresSequence")])
def test_frames_give_the_same_volume_as_slices(prepare: Any, slices: Slices, shared: tuple[str, ...]) -> None:
    singles = slices(position="FFS")
    expected = prepare(singles)
    mixed = [singles[k] for k in np.random.default_rng(2).permutation(len(singles))]
    image = prepare([enhanced(mixed, shared)])
    assert image.codes == []
    assert image.files()["image.nii.gz"] == expected.files()["image.nii.gz"]
    assert image.files()["geometry.json"] == expected.files()["geometry.json"]
    assert len({h.SOPInstanceUID for h in load_template(image.folder)}) == 1


def test_a_rescale_of_its_own_for_each_frame_is_applied(prepare: Any, slices: Slices) -> None:
    singles = slices()
    for k, ds in enumerate(singles):
        ds.RescaleIntercept = str(-k)
        ds.PixelData = (np.frombuffer(ds.PixelData, "<i2") + k).astype("<i2").tobytes()
    image = prepare([enhanced(singles)])
    assert image.codes == ["IMG_RESCALE"]
    assert np.array_equal(image.values, prepare(slices()).values)


def test_an_enhanced_object_without_functional_groups_has_no_geometry(prepare: Any, slices: Slices) -> None:
    ds = enhanced(slices())
    del ds.PerFrameFunctionalGroupsSequence, ds.SharedFunctionalGroupsSequence
    assert len(headers_of_frames(ds)) == 20
    image = prepare([ds])
    assert (image.row["status"], image.codes) == ("refused", ["IMG_NO_GEOMETRY"])
