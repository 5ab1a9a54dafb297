from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.contracts.tables import AGREEMENT
from rtpipeline.geometry.grid import Grid
from rtpipeline.structures.agreement import agreement_rows, on_union
from rtpipeline.structures.masks import boxed

OBLIQUE = np.array([[0.8, 0.6, 0.0], [-0.6, 0.8, 0.0]])


def grid(planes=20):
    return Grid(
        origin_xyz_mm=(-30.0, 10.0, 5.0),
        row_direction=OBLIQUE[0],
        column_direction=OBLIQUE[1],
        column_spacing_mm=1.25,
        row_spacing_mm=1.0,
        plane_offsets_mm=-3.0 * np.arange(planes),  # descending
        rows=24,
        columns=28,
    )


def cube(first_zyx, size_zyx=(6, 8, 10), on=None):
    on = on or grid()
    mask = np.zeros(on.shape_zyx, bool)
    mask[tuple(slice(f, f + n) for f, n in zip(first_zyx, size_zyx, strict=True))] = True
    return boxed(mask, on)


def structure(source, number, name="Heart", *, structure_set="rs-01", image_id="ct-01", status="ok"):
    return {
        "cohort": "demo",
        "patient_id": "p0123456789",
        "course_id": "p0123456789-c01",
        "image_id": image_id,
        "structure_set_id": structure_set,
        "structure_source": source,
        "structure_id": f"{source}-{structure_set}-{number:04d}",
        "structure_name_tg263": name,
        "status": status,
    }


def agreement(pairs, **options):
    """Rows and findings of (structure, mask) pairs; every row has to fit the table."""
    masks = {(s["structure_set_id"], s["structure_id"]): mask for s, mask in pairs}
    rows, findings = agreement_rows(
        [s for s, _ in pairs], lambda *key: masks[key], stage_key="0123456789ab-0123456789ab", **options
    )
    assert set(AGREEMENT.frame(rows).columns) == {c.name for c in AGREEMENT.columns}
    return rows, findings


def test_two_sources_of_one_name_are_compared_in_mm_of_an_oblique_grid():
    manual, network = (
        structure("manual", 3),
        structure("totalsegmentator", 1, structure_set="totalsegmentator-ct-01-total"),
    )
    (row,), findings = agreement([(network, cube((4, 6, 8))), (manual, cube((3, 6, 8)))])
    assert (row["structure_id_a"], row["structure_id_b"]) == (manual["structure_id"], network["structure_id"])
    assert (row["structure_source_a"], row["structure_source_b"]) == ("manual", "totalsegmentator")
    assert (row["status"], row["image_id"], row["structure_name_tg263"]) == ("ok", "ct-01", "Heart")
    assert row["volume_a_cc"] == row["volume_b_cc"] == pytest.approx(6 * 8 * 10 * 3.0 * 1.0 * 1.25 / 1000)
    assert row["dice"] == pytest.approx(5 / 6)
    assert row["hd95_mm"] == pytest.approx(3.0)  # one plane
    assert (row["surface_dice"], row["surface_dice_tolerance_mm"]) == (1.0, 3.0)
    assert findings == []


def test_the_tolerance_of_surface_dice_is_a_parameter():
    pair = [(structure("manual", 1), cube((3, 6, 8))), (structure("custom", 1), cube((4, 6, 8)))]
    (row,), _ = agreement(pair, tolerance_mm=1.0)
    assert row["surface_dice"] < 1.0 and row["surface_dice_tolerance_mm"] == 1.0


def test_sources_that_disagree_are_told_but_for_targets():
    far = [(structure("manual", 1), cube((0, 0, 0))), (structure("custom", 1), cube((4, 6, 8)))]
    (row,), (found,) = agreement(far)
    assert (found.code, found.severity) == ("SS_SOURCES_DISAGREE", "W")
    assert found.object == f"{row['structure_id_a']} and {row['structure_id_b']}, both Heart"
    assert found.measured.startswith(f"Dice {row['dice']:.3f}, HD95 {row['hd95_mm']:.1f} mm")
    assert agreement(far, least_dice=row["dice"])[1] == []
    targets = [(structure("manual", 1, "PTV_High"), far[0][1]), (structure("custom", 1, "PTV_High"), far[1][1])]
    (row,), findings = agreement(targets)
    assert row["status"] == "ok" and row["dice"] < 0.5 and findings == []


def test_only_other_sets_or_sources_of_the_same_name_on_the_same_image_are_pairs():
    mask = cube((3, 6, 8))
    alone = [
        structure("manual", 1),
        structure("manual", 2),  # the same name twice in one set
        structure("custom", 1, "Liver"),
        structure("custom", 2, image_id="mr-01"),
        structure("custom", 3, None),
        structure("cropped", 4),  # a part of another by intention
        structure("custom", 5, image_id=None),
    ]
    assert agreement([(s, mask) for s in alone]) == ([], [])
    rows, _ = agreement([(structure("manual", 1), mask), (structure("manual", 1, structure_set="rs-02"), mask)])
    assert [(r["structure_id_a"], r["structure_id_b"]) for r in rows] == [("manual-rs-01-0001", "manual-rs-02-0001")]


def test_every_pair_has_one_row_whatever_the_order():
    mask = cube((3, 6, 8))
    sources = [structure("totalsegmentator", 1), structure("manual", 1), structure("custom", 1), structure("manual", 2),
               structure("derived", 1)]  # fmt: skip
    rows, _ = agreement([(s, mask) for s in sources])
    assert rows == agreement([(s, mask) for s in reversed(sources)])[0]
    keys = [(r["structure_id_a"], r["structure_id_b"]) for r in rows]
    assert keys == sorted(set(keys)) and len(keys) == 10 - 1  # all pairs but that of one set


@pytest.mark.parametrize(
    ("structure_status", "mask", "status", "volume_cc"),
    [
        ("empty", None, "empty", None),
        ("ok", boxed(np.zeros(grid().shape_zyx, bool), grid()), "empty", 0.0),
        ("ok", None, "no_mask", None),
        ("nonplanar", None, "no_mask", None),
    ],
)
def test_without_two_masks_there_are_no_numbers_but_a_reason(structure_status, mask, status, volume_cc):
    pair = [(structure("manual", 1, status=structure_status), mask), (structure("custom", 1), cube((3, 6, 8)))]
    (row,), findings = agreement(pair)
    assert row["status"] == status and row["volume_a_cc"] == volume_cc and row["volume_b_cc"] > 0
    assert {row[c] for c in ("dice", "hd95_mm", "surface_dice", "surface_dice_tolerance_mm")} == {None}
    assert findings == []


def test_a_single_plane_has_no_thickness_to_measure_with():
    one = grid(1)
    pair = [(structure(s, 1), cube((0, 6, 8), (1, 8, 10), one)) for s in ("manual", "custom")]
    (row,), _ = agreement(pair)
    assert (row["status"], row["volume_a_cc"], row["dice"]) == ("no_thickness", None, None)


def test_boxes_keep_their_places_on_the_image():
    a, b = cube((1, 2, 3)), cube((9, 12, 15))
    on_a, on_b = on_union(a, b)
    assert on_a.shape == (14, 18, 22)
    assert np.array_equal(on_a, a.whole()[1:15, 2:20, 3:25]) and np.array_equal(on_b, b.whole()[1:15, 2:20, 3:25])
    with pytest.raises(ValueError, match="different grids"):
        on_union(a, cube((1, 2, 3), on=grid(19)))
