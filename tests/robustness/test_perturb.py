"""Noise, motion, volume and outline held to closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.robustness import perturb

SPACING_ZYX_MM = np.array([2.0, 1.0, 1.0])
HALF_VOXEL_MM = 0.5
"""In the planes; a surface of voxels is known to no more."""
UNTURNED = np.zeros(3)


def ball(radius_mm: float, shape: tuple[int, int, int] = (24, 48, 48), shift_mm: float = 0.3) -> np.ndarray:
    z, y, x = ((np.arange(n) - n / 2 + 0.5) * s + shift_mm for n, s in zip(shape, SPACING_ZYX_MM, strict=True))
    return z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2 < radius_mm**2


def volume_cc(mask: np.ndarray) -> float:
    return float(np.count_nonzero(mask) * SPACING_ZYX_MM.prod() / 1000)


def test_the_noise_of_an_image_is_found_beneath_its_ramps() -> None:
    z, y, x = np.indices((8, 60, 60))
    ramp = 3.0 * x - 2.0 * y + 50.0 * z
    for sd in (1.0, 12.0):
        noise = np.random.default_rng(3).normal(0, sd, ramp.shape)
        assert perturb.noise_level(ramp + noise) == pytest.approx(sd, rel=0.03)
    assert perturb.noise_level(ramp) < 1e-12
    assert perturb.noise_level(ramp[:, :1, :1]) == 0.0


def test_an_edge_through_the_image_is_no_noise() -> None:
    values = np.random.default_rng(3).normal(0, 5, (8, 60, 60))
    values[:, 20:, 33:] += 1000.0
    assert perturb.noise_level(values) == pytest.approx(5.0, rel=0.05)


def test_a_rotation_turns_the_row_direction_towards_the_column_direction_in_mm() -> None:
    spacing, centre = np.array([2.0, 1.5, 0.5]), np.array([3.0, 10.0, 20.0])
    matrix, offset = perturb.motion(spacing, np.array([4.0, 3.0, 1.0]), 90.0, centre)
    # 4 voxels of 0.5 mm along x become 2 mm along y; then the shift of 2, 2 and 2 voxels
    place = matrix @ (centre + np.array([1.0, 0.0, 4.0])) + offset
    assert place == pytest.approx(centre + np.array([1.0 + 2.0, 2.0 / 1.5 + 2.0, 2.0]), abs=1e-12)


def test_a_shift_by_whole_voxels_gives_the_very_values_and_voxels() -> None:
    values = np.random.default_rng(1).integers(-1000, 1000, (12, 16, 16)).astype(float)
    mask = np.random.default_rng(2).random((12, 16, 16)) < 0.4
    spacing = np.array([2.5, 1.25, 0.7])
    matrix, offset = perturb.motion(spacing, np.array([-1, 2, 1]) * spacing, 0.0, UNTURNED)
    moved = perturb.moved_values(values, matrix, offset, values.shape)
    assert np.array_equal(moved[1:, :-2, :-1], values[:-1, 2:, 1:])
    assert np.array_equal(perturb.moved_mask(mask, matrix, offset, mask.shape)[1:, :-2, :-1], mask[:-1, 2:, 1:])
    assert not perturb.moved_mask(mask, matrix, offset, mask.shape)[:, -2:].any(), "beyond the array is nothing"


def test_a_part_of_a_voxel_samples_a_smooth_image_where_it_says() -> None:
    z, y, x = np.indices((20, 40, 40), float)
    matrix, offset = perturb.motion(np.ones(3), np.array([0.25, -0.4, 0.3]), 10.0, np.array([10.0, 20.0, 20.0]))
    wave = lambda z, y, x: 100 * np.sin(z / 6) + 80 * np.cos(y / 7) * np.sin(x / 5)  # noqa: E731
    moved = perturb.moved_values(wave(z, y, x), matrix, offset, (20, 40, 40))
    at = np.einsum("ij,jzyx->izyx", matrix, np.indices((20, 40, 40), float)) + offset[:, None, None, None]
    inner = (slice(4, -4), slice(10, -10), slice(10, -10))
    assert np.abs(moved - wave(*at))[inner].max() < 0.05, "a cubic spline errs with the fourth power of the step"


def test_a_moved_ball_keeps_its_volume_and_goes_where_the_grid_does_not() -> None:
    mask = ball(9.0)
    matrix, offset = perturb.motion(SPACING_ZYX_MM, np.array([0.5, 0.4, -0.25]), 7.0, (np.array(mask.shape) - 1) / 2)
    moved = perturb.moved_mask(mask, matrix, offset, mask.shape)
    assert volume_cc(moved) == pytest.approx(volume_cc(mask), rel=0.02)
    centre = lambda m: np.argwhere(m).mean(axis=0)  # noqa: E731
    # its indices on the moved grid lie in the image where it was; the flat cap along z moves by whole voxels alone
    assert matrix @ centre(moved) + offset == pytest.approx(centre(mask), abs=0.25)


def test_distances_from_a_face_are_exact_on_voxels_of_three_sizes() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[3:6, 2:7, 2:7] = True
    spacing = np.array([3.0, 1.0, 2.0])
    distance = perturb.signed_distance_mm(mask, spacing)
    assert distance[:, 4, 4].tolist() == [7.5, 4.5, 1.5, -1.5, -2.5, -1.5, 1.5, 4.5, 7.5]
    assert distance[4, :, 4].tolist() == [1.5, 0.5, -0.5, -1.5, -2.5, -1.5, -0.5, 0.5, 1.5]


def test_distances_from_a_ball_are_right_on_average() -> None:
    """To a tenth of the largest step, on either side: neither growth nor loss is preferred."""
    mask = ball(12.0)
    z, y, x = ((np.arange(n) - n / 2 + 0.5) * s + 0.3 for n, s in zip(mask.shape, SPACING_ZYX_MM, strict=True))
    true_mm = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2) - 12.0
    error_mm = perturb.signed_distance_mm(mask, SPACING_ZYX_MM) - true_mm
    for side in (mask, ~mask):
        assert abs(error_mm[side & (np.abs(true_mm) < 4)].mean()) < 0.2


@pytest.mark.parametrize("offset_mm", [-3.0, -1.0, 1.0, 3.0])
def test_an_offset_of_a_ball_has_the_radius_of_the_closed_form(offset_mm: float) -> None:
    mask = ball(12.0)
    moved = perturb.displaced(perturb.signed_distance_mm(mask, SPACING_ZYX_MM), offset_mm)
    radius = (volume_cc(moved) * 750 / np.pi) ** (1 / 3)
    assert radius == pytest.approx(12.0 + offset_mm, abs=HALF_VOXEL_MM)


@pytest.mark.parametrize("share", [0.7, 0.85, 1.0, 1.15, 1.3])
def test_a_mask_grows_and_shrinks_to_the_voxel_on_all_sides(share: float) -> None:
    mask = ball(9.0)
    wanted = round(share * np.count_nonzero(mask))
    found = perturb.with_voxels(mask, perturb.signed_distance_mm(mask, SPACING_ZYX_MM), wanted, SPACING_ZYX_MM)
    assert np.count_nonzero(found) == wanted
    assert (found <= mask).all() if share <= 1 else (found >= mask).all()
    shift_mm = (np.argwhere(found).mean(axis=0) - np.argwhere(mask).mean(axis=0)) * SPACING_ZYX_MM
    # the last layer is cut through where the ties end; all of it on one side would be several times as much
    assert np.abs(shift_mm).max() < 0.1


def test_the_random_field_has_the_deviation_and_the_correlation_it_says() -> None:
    spacing, correlation_mm = np.array([2.0, 1.0, 1.0]), 8.0
    fields = np.stack([perturb.random_field((20, 40, 40), spacing, correlation_mm, seed) for seed in range(40)])
    assert fields.mean() == pytest.approx(0.0, abs=0.1)
    assert fields.std() == pytest.approx(1.0, abs=0.05)
    for axis, steps in ((1, 4), (2, 8), (3, 8)):  # 8 mm each
        pairs = (fields * np.roll(fields, steps, axis)).mean() / fields.var()
        assert pairs == pytest.approx(np.exp(-1.0), abs=0.08)


def test_outlines_of_realisations_differ_and_their_mean_volume_is_that_of_the_ball() -> None:
    """A ball whose surface moves by d has the mean volume 4/3 pi (r^3 + 3 r sd^2) to second order."""
    mask, sd_mm = ball(12.0), 1.5
    distance = perturb.signed_distance_mm(mask, SPACING_ZYX_MM)
    volumes = []
    for seed in range(30):
        field = perturb.random_field(mask.shape, SPACING_ZYX_MM, 10.0, seed)
        volumes.append(volume_cc(perturb.displaced(distance, sd_mm * field)))
    expected = volume_cc(mask) * (1 + 3 * sd_mm**2 / 12.0**2)
    standard_error = np.std(volumes) / np.sqrt(len(volumes))
    assert np.mean(volumes) == pytest.approx(expected, abs=3 * standard_error + 0.02 * expected)
    assert len(set(volumes)) > 25


def test_a_seed_gives_the_same_numbers_always() -> None:
    assert np.array_equal(perturb.white_noise((3, 4, 5), 7), perturb.white_noise((3, 4, 5), 7))
    assert not np.array_equal(perturb.white_noise((3, 4, 5), 7), perturb.white_noise((3, 4, 5), 8))
