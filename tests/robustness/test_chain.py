"""Laws of the chain: what is not perturbed stays, whole voxels change nothing, realisations are the same everywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rtpipeline.radiomics.extract import extract_features
from rtpipeline.radiomics.profiles import Profile, load_profile
from rtpipeline.robustness.chain import Dropped, Perturbed, Subject
from rtpipeline.robustness.item import Item, compute
from rtpipeline.robustness.states import FIELDS_OF_MODE, State, states_of
from tests.radiomics.phantoms import Phantom, phantom, worst_difference

SAME = 1e-9
"""relative; a crop changes the last bits"""
PLAIN = replace(load_profile("original"), settings={"binWidth": 25}, name="as it is")
FEW = {"firstorder": ["Mean", "Variance"], "glcm": ["JointEntropy"]}


def subject(p: Phantom, *states: State, profile: Profile | None = None, correlation_mm: float = 10.0) -> Subject:
    filled = np.argwhere(p.mask_zyx)
    low, high = filled.min(axis=0), filled.max(axis=0) + 1
    box = p.mask_zyx[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    z, y, x = (int(v) for v in low)
    return Subject(
        p.values_zyx, box, (z, y, x), p.frame, profile or load_profile("original"), states or (State(),), correlation_mm
    )


def features(s: Subject, part: Perturbed) -> dict[str, float]:
    return extract_features(part.values_zyx, part.mask_zyx, s.frame, s.profile, offset_zyx=part.offset_zyx)


def whole_mask(s: Subject, part: Perturbed) -> np.ndarray:
    mask = np.zeros(s.values_zyx.shape, bool)
    mask[tuple(slice(o, o + n) for o, n in zip(part.offset_zyx, part.mask_zyx.shape, strict=True))] = part.mask_zyx
    return mask


@pytest.fixture(scope="module")
def isotropic() -> Phantom:
    """Voxels that hold whole cells of the 1 mm grid of features; 20 voxels to the image's end, where mirrors begin."""
    return phantom(shape_zyx=(52, 56, 60), spacing_xyz_mm=(2.0, 2.0, 3.0), radius_mm=12.0)


def test_no_perturbation_gives_the_features_of_the_structure_as_it_is() -> None:
    p = phantom()
    s = subject(p)
    part = s.perturbed(State(), 1, 2)
    assert np.array_equal(whole_mask(s, part), p.mask_zyx) and part.noise_sd == 0.0
    assert features(s, part) == extract_features(p.values_zyx, p.mask_zyx, p.frame, s.profile)


@pytest.mark.parametrize("profile", [PLAIN, load_profile("original")], ids=lambda p: p.name)
def test_the_way_through_every_step_with_nothing_to_do_gives_the_same_features(profile: Profile) -> None:
    """A turn by 360 degrees is a motion, and takes every value through the interpolation."""
    p = phantom(seed=4)
    turned = State(rotation_deg=360.0, volume_pct=1e-9, contour_offset_mm=1e-9)
    s = subject(p, turned, profile=profile)
    part = s.perturbed(turned, 1, 2)
    assert part.values_zyx.dtype == np.float64 and np.array_equal(whole_mask(s, part), p.mask_zyx)
    expected = extract_features(p.values_zyx, p.mask_zyx, p.frame, profile)
    assert worst_difference(features(s, part), expected) < SAME


@pytest.mark.parametrize("profile", [PLAIN, load_profile("original")], ids=lambda p: p.name)
@pytest.mark.parametrize("shift", [(1.0, 0.0, 0.0), (-2.0, 1.0, -1.0)])
def test_whole_voxels_give_the_same_features(isotropic: Phantom, profile: Profile, shift: tuple[float, ...]) -> None:
    moved = State(shift_voxels_xyz=shift)  # type: ignore[arg-type]
    s = subject(isotropic, moved, profile=profile)
    part = s.perturbed(moved, 1, 2)
    went = np.argwhere(whole_mask(s, part)).mean(axis=0) - np.argwhere(isotropic.mask_zyx).mean(axis=0)
    assert went[::-1] == pytest.approx([-v for v in shift]), "the anatomy goes where the grid came from"
    expected = extract_features(isotropic.values_zyx, isotropic.mask_zyx, isotropic.frame, profile)
    assert worst_difference(features(s, part), expected) < SAME


def test_a_shift_in_mm_is_the_same_shift_in_voxels(isotropic: Phantom) -> None:
    states = (State(shift_xyz_mm=(0.5, -0.5, 1.2)), State(shift_voxels_xyz=(0.25, -0.25, 0.4)))
    s = subject(isotropic, *states)
    one, two = (s.perturbed(state, 1, 2) for state in states)
    assert np.allclose(one.values_zyx, two.values_zyx, atol=1e-5) and np.array_equal(one.mask_zyx, two.mask_zyx)


def test_the_part_that_is_resampled_is_what_the_whole_image_would_give(isotropic: Phantom) -> None:
    """By another route: every value of the part on the whole image, without a crop."""
    from scipy import ndimage

    state = State(shift_voxels_xyz=(0.25, -0.4, 0.25), rotation_deg=5.0)
    small = subject(isotropic, state, profile=PLAIN)
    part = small.perturbed(state, 1, 2)
    centre = small.centre_zyx
    angle = np.deg2rad(5.0)
    spots = np.indices(part.values_zyx.shape).reshape(3, -1).T + part.offset_zyx
    mm = (spots - centre) * [3.0, 2.0, 2.0]
    z, y, x = mm.T
    turned = np.c_[z, y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)]
    at = centre + turned / [3.0, 2.0, 2.0] + [0.25, -0.4, 0.25]
    expected = ndimage.map_coordinates(isotropic.values_zyx.astype(float), at.T, order=3, mode="mirror")
    assert np.abs(part.values_zyx.ravel() - expected).max() < 1e-5


@pytest.mark.parametrize("volume_pct", [-30.0, -15.0, 15.0, 30.0])
def test_a_volume_is_met_to_a_voxel_also_after_a_motion(isotropic: Phantom, volume_pct: float) -> None:
    moved = State(rotation_deg=4.0)
    states = (moved, replace(moved, volume_pct=volume_pct))
    s = subject(isotropic, *states)
    before, after = (s.perturbed(state, 1, 2).voxels for state in states)
    assert abs(after - before * (1 + volume_pct / 100)) <= 1


def test_noise_is_added_at_the_level_of_the_image_and_in_its_units(isotropic: Phantom) -> None:
    states = (State(noise_levels=1.0, noise_realisation=1), State(noise_sd=20.0, noise_realisation=1))
    s = subject(isotropic, *states)
    for state, expected in zip(states, (s.noise_level, 20.0), strict=True):
        part = s.perturbed(state, 5, 2)
        own = s.values_zyx[s.source]
        assert part.noise_sd == expected > 0
        assert np.std(part.values_zyx - own) == pytest.approx(expected, rel=0.02)


def test_a_realisation_of_noise_and_outline_is_the_same_in_every_state(isotropic: Phantom) -> None:
    drawn = {"noise_levels": 1.0, "noise_realisation": 1, "contour_sd_mm": 1.5, "contour_realisation": 1}
    plain, moved = State(**drawn), State(**drawn, shift_voxels_xyz=(1.0, -1.0, 0.0))  # type: ignore[arg-type]
    s = subject(isotropic, plain, moved)
    one, two = s.perturbed(plain, 5, 6), s.perturbed(moved, 5, 6)
    noise = one.values_zyx - s.values_zyx[s.source]
    z, y, x = (t - o + 2 for t, o in zip(two.offset_zyx, one.offset_zyx, strict=True))
    there = one.values_zyx[z : z + 20, y - 1 : y + 19, x + 1 : x + 21]
    assert np.allclose(two.values_zyx[2:22, 2:22, 2:22], there, atol=1e-5) and np.abs(noise).max() > 0
    assert abs(one.voxels - two.voxels) < 0.05 * one.voxels


def test_outlines_of_two_seeds_differ_and_those_of_one_do_not(isotropic: Phantom) -> None:
    state = State(contour_sd_mm=1.5, contour_realisation=1)
    s = subject(isotropic, state)
    masks = [whole_mask(s, s.perturbed(state, 1, seed)) for seed in (3, 3, 4)]
    assert np.array_equal(masks[0], masks[1]) and not np.array_equal(masks[0], masks[2])
    assert not np.array_equal(masks[0], isotropic.mask_zyx)


@pytest.mark.parametrize("profile", ["mild", "standard", "ntcv-seed"])
def test_the_rim_holds_the_structure_in_every_state(profile: str) -> None:
    p = phantom(shape_zyx=(40, 60, 60), spacing_xyz_mm=(1.0, 1.0, 1.5), radius_mm=9.0)
    states = states_of(profile, FIELDS_OF_MODE)
    s = subject(p, *states)
    first, last = np.array(s.offset_zyx) - s.rim, np.array(s.offset_zyx) + s.mask_zyx.shape + s.rim
    for state in states[:: max(1, len(states) // 12)]:
        at = np.argwhere(whole_mask(s, s.perturbed(state, 1, 2)))
        assert (at.min(axis=0) > first).all() and (at.max(axis=0) < last - 1).all()


def shifted(p: Phantom, axis: int) -> Phantom:
    """The structure at the first plane, row or column."""
    first = int(np.argwhere(p.mask_zyx).min(axis=0)[axis])
    return replace(p, mask_zyx=np.roll(p.mask_zyx, -first, axis))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    "state", [State(shift_voxels_xyz=(-0.25, -0.25, -0.25)), State(volume_pct=80.0), State(contour_offset_mm=4.0)]
)
def test_what_leaves_the_image_is_dropped_with_the_distance(isotropic: Phantom, axis: int, state: State) -> None:
    edge = subject(shifted(isotropic, axis), state)
    with pytest.raises(Dropped, match=r"reaches \d+\.\d mm beyond") as dropped:
        edge.perturbed(state, 1, 2)
    assert dropped.value.status == "scan_edge"
    assert edge.perturbed(State(), 1, 2).voxels == edge.perturbed(State(noise_sd=3.0), 1, 2).voxels


def test_what_vanishes_is_dropped(isotropic: Phantom) -> None:
    state = State(contour_offset_mm=-20.0)
    with pytest.raises(Dropped) as dropped:
        subject(isotropic, state).perturbed(state, 1, 2)
    assert dropped.value.status == "vanished"


def test_a_work_item_gives_features_or_the_reason(tmp_path: Path, isotropic: Phantom) -> None:
    states = (State(), State(contour_offset_mm=-20.0), State(volume_pct=-99.5))
    profile = replace(load_profile("original"), feature_classes=FEW)
    s = subject(isotropic, *states, profile=profile)
    np.save(tmp_path / "v.npy", s.values_zyx)
    found = [
        compute(Item(tmp_path / "v.npy", s.mask_zyx, s.offset_zyx, s.frame, profile, None, states, state, 10.0, 1, 2))
        for state in states
    ]
    assert [f.status for f in found] == ["ok", "vanished", "one_dimensional"]
    assert found[0].values == features(s, s.perturbed(State(), 1, 2))
    assert found[1].voxels is None and found[2].voxels == 3 and found[2].reason
