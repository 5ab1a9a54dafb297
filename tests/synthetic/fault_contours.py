"""Faults of contours: no polygons, not in a plane, not on a slice, missing, nested, tiny."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from rtpipeline.demo.rois import area_mm2
from rtpipeline.demo.solids import Box, Cylinder, Shell, sphere
from rtpipeline.demo.write_rtstruct import contour_item
from tests.synthetic.consequences import (
    assert_same_rows,
    dvh,
    is_missing,
    numbers_of_others,
    structures,
)
from tests.synthetic.edits import (
    add_roi,
    drop_slices,
    put_points,
    redraw,
    roi_contour,
    shifted,
)
from tests.synthetic.pipeline import Chain
from tests.synthetic.registry import Consequence, I, W, fault, oddity, patient

STEP_MM = 3.0
"""Slice spacing of the small patient."""


ROUNDED = 1e-5
"""Of the area of a circle of 15 mm whose points are written with 0.1 micrometre."""


def cc(area: float, planes: int) -> float:
    """Volume of prisms of one area on planes of the small patient's spacing."""
    return area * STEP_MM * planes / 1000.0


def no_number(name: str, status: str) -> Consequence:
    """A row with a status and without a volume, and no dose; the other structures as before."""

    def then(chain: Chain, clean: Chain) -> None:
        row, metrics = structures(chain)[name], dvh(chain)[name]
        assert row["status"] == status and is_missing(row["volume_cc"])
        assert metrics["dose_status"] == "no_volume"
        assert is_missing(metrics["dmean_gy"]) and is_missing(metrics["v5gy_cc"]) and is_missing(metrics["volume_cc"])
        assert_same_rows(dvh(chain), dvh(clean), dvh(clean).keys() - {name})

    return then


def volume_is(name: str, volume_cc: float, *, rel: float = 1e-6) -> Consequence:
    """The structure has this volume in both tables; the others are as before."""

    def then(chain: Chain, clean: Chain) -> None:
        for found in (structures(chain)[name]["volume_cc"], dvh(chain)[name]["volume_cc"]):
            assert abs(found - volume_cc) <= rel * volume_cc, f"{found} cc, expected {volume_cc} cc"
        assert_same_rows(dvh(chain), dvh(clean), dvh(clean).keys() - {name})

    return then


@fault("SS_ROI_EMPTY", "no contours", measured="no contours", then=no_number("SpinalCord", "empty"))
def a_structure_never_drawn(folder: Path) -> None:
    """A template has more structures than were drawn."""
    made = patient()
    del roi_contour(made, "SpinalCord").ContourSequence
    made.save(folder)


def point_is_kept(chain: Chain, clean: Chain) -> None:
    """No volume, and the coordinates in the points table; all others as before."""
    row = structures(chain)["ISO"]
    assert row["status"] == "points_only" and is_missing(row["volume_cc"])
    folder = chain.folder(chain.course.course_id, "prepare_rt") / "structure_sets"
    (point,) = pq.read_table(folder / "rs-01.points.parquet").to_pylist()
    assert point["geometric_type"] == "POINT" and point["points_xyz_mm"] == [5.0, -12.0, 40.0]
    assert_same_rows(dvh(chain), dvh(clean), dvh(clean))


@fault("SS_CONTOUR_POINT", "isocentre", measured="1 POINT", then=point_is_kept)
def an_isocentre(folder: Path) -> None:
    """The planning system stores the isocentre as a structure with one point."""
    made = add_roi(patient(), "ISO", sphere((5.0, -12.0, 40.0), 6.0), kind="ISOCENTER")
    roi_contour(made, "ISO").ContourSequence = [contour_item(np.array([[5.0, -12.0, 40.0]]), None, "POINT")]
    made.save(folder)


@fault("SS_CONTOUR_NONPLANAR", "crooked", measured="1 contours, up to", then=no_number("SpinalCord", "nonplanar"))
def a_crooked_contour(folder: Path) -> None:
    """A contour was warped by a deformable registration and left its plane."""
    made = patient()
    item = roi_contour(made, "SpinalCord").ContourSequence[7]
    points = made.roi("SpinalCord").contours[7].copy()
    points[::24, 2] += np.array([2.0, -2.0, 2.0, -2.0])
    put_points(item, points)
    made.save(folder)


def taken_where_it_is(chain: Chain, clean: Chain) -> None:
    """The mean dose follows the shift along the dose's gradient (0.08 Gy/mm); the volume stays."""
    found, before = dvh(chain)["SpinalCord"], dvh(clean)["SpinalCord"]
    assert abs(found["dmean_gy"] - before["dmean_gy"] - 1.3 * 0.08) < 1e-6
    assert abs(found["volume_cc"] - before["volume_cc"]) < 1e-9
    numbers_of_others("SpinalCord")(chain, clean)


@fault("SS_CONTOUR_OFF_SLICE", "shifted", measured="16 of 16 contour planes, up to 1.30 mm", severity=I,
       then=taken_where_it_is)  # fmt: skip
def contours_between_slices(folder: Path) -> None:
    """Contours were copied from a scan whose slices lie elsewhere."""
    made = patient()
    redraw(made, "SpinalCord", shifted(made.roi("SpinalCord").contours, 0.0, 0.0, 1.3)).save(folder)


def volume_of_the_tube(chain: Chain, clean: Chain) -> None:
    """A structure drawn on coronal planes has the volume of its prisms."""
    assert abs(structures(chain)["Tube"]["volume_cc"] - 20.0 * 30.0 * 21.0 / 1000.0) < 1e-9
    assert_same_rows(dvh(chain), dvh(clean), dvh(clean))


@fault("SS_CONTOUR_OFF_SLICE", "coronal", measured="90.00 degrees to the image planes", severity=W,
       then=volume_of_the_tube)  # fmt: skip
def contours_on_coronal_planes(folder: Path) -> None:
    """A structure was drawn in the coronal view."""
    made = add_roi(patient(), "Tube", sphere((5.0, -12.0, 40.0), 6.0))
    corners = np.array([[-5.0, 0.0, 25.0], [15.0, 0.0, 25.0], [15.0, 0.0, 55.0], [-5.0, 0.0, 55.0]])
    redraw(made, "Tube", [corners + np.array([0.0, y, 0.0]) for y in np.arange(-21.0, 0.0, 3.0)]).save(folder)


def cord_without_one_plane(chain: Chain, clean: Chain) -> None:
    """The two points enclose nothing: the plane below is the last, and the volume is that of 15 planes."""
    before = structures(clean)["SpinalCord"]["volume_cc"]
    volume_is("SpinalCord", before * 15 / 16)(chain, clean)


@fault("SS_CONTOUR_DEGENERATE", "two points", measured="1 of fewer than 3 points", then=cord_without_one_plane)
def two_points(folder: Path) -> None:
    """A click on the last slice left a contour of two points."""
    made = patient()
    put_points(roi_contour(made, "SpinalCord").ContourSequence[15], made.roi("SpinalCord").contours[15][:2])
    made.save(folder)


def both_halves(chain: Chain, clean: Chain) -> None:
    """Half the box: the two triangles that the even-odd rule leaves on each plane."""
    volume_is("PTV", structures(clean)["PTV"]["volume_cc"] / 2)(chain, clean)


@fault("SS_CONTOUR_DEGENERATE", "bow-tie", measured="12 crossing themselves", then=both_halves)
def bow_ties(folder: Path) -> None:
    """Points were stored in the wrong order, so that the contour crosses itself."""
    made = patient()
    redraw(made, "PTV", [c[[0, 2, 1, 3]] for c in made.roi("PTV").contours]).save(folder)


RING = Shell(Cylinder((5.0, -12.0, 40.0), (15.0, 15.0), 20.0), Cylinder((5.0, -12.0, 40.0), (9.0, 9.0), 20.0))


def ring_volume(chain: Chain, clean: Chain) -> None:
    """Outer minus inner area, by the shoelace formula, on 14 planes."""
    outer, inner = (abs(area_mm2(polygon)) for polygon in RING.section(40.0))
    volume_is("Ring", cc(outer - inner, 14), rel=ROUNDED)(chain, clean)


@fault("SS_HOLE", "ring", measured="14 contours inside another one", then=ring_volume)
def a_ring(folder: Path) -> None:
    """A ring around the target, drawn as an outer and an inner contour."""
    add_roi(patient(), "Ring", RING).save(folder)


@oddity(then=ring_volume)
def a_ring_with_a_keyhole(folder: Path) -> None:
    """A ring around the target, drawn as one contour that goes in and out through a cut of no width."""
    add_roi(patient(), "Ring", Shell(RING.outer, RING.inner, keyhole=True)).save(folder)


def solid_ends_at_the_gap(chain: Chain, clean: Chain) -> None:
    """15 of 16 planes of equal area, each half a spacing to both sides."""
    volume_is("SpinalCord", structures(clean)["SpinalCord"]["volume_cc"] * 15 / 16)(chain, clean)
    assert structures(chain)["SpinalCord"]["gaps"] == 1


@fault("SS_SLICE_GAP", "middle", measured="1 gaps, the largest 6.00 mm", then=solid_ends_at_the_gap)
def a_contour_missing(folder: Path) -> None:
    """A contour in the middle was forgotten or deleted."""
    made = patient()
    del roi_contour(made, "SpinalCord").ContourSequence[8]
    made.save(folder)


def part_outside(chain: Chain, clean: Chain) -> None:
    """The part outside is told; the DVH is that of the whole structure, which the dose covers."""
    row = structures(chain)["Skin"]
    # x from 58.5 to 70.5 mm; the image ends at 5 + 58.5 + 1.5 = 65 mm
    assert abs(row["outside_image_pct"] - 100 * 5.5 / 12) < 0.05
    assert abs(dvh(chain)["Skin"]["volume_cc"] - row["volume_cc"]) < 1e-9
    assert dvh(chain)["Skin"]["dose_coverage_pct"] == 100.0
    assert_same_rows(dvh(chain), dvh(clean), dvh(clean))


@fault("SS_OUTSIDE_IMAGE", "skin", measured="45.83 % of the volume outside", then=part_outside)
def a_structure_beyond_the_image(folder: Path) -> None:
    """A margin around the skin reaches beyond the scanned field."""
    add_roi(patient(), "Skin", Box((64.5, -12.0, 40.0), (6.0, 10.0, 10.0))).save(folder)


def tiny_is_measured(chain: Chain, clean: Chain) -> None:
    """A volume and a dose all the same."""
    row = dvh(chain)["Seed"]
    assert 0.08 < row["volume_cc"] < 0.09 and row["dose_status"] == "ok"
    assert abs(row["dmean_gy"] - (50.0 + 0.08 * 1.5)) < 1e-3  # its only plane lies 1.5 mm from the centre
    assert_same_rows(dvh(chain), dvh(clean), dvh(clean))


@fault("SS_TINY", "3 mm", measured="cc", then=tiny_is_measured)
def a_fiducial(folder: Path) -> None:
    """A gold marker of a few millimetres is a structure, too."""
    made = patient()
    z = float(made.ct[10].ImagePositionPatient[2])
    add_roi(made, "Seed", sphere((5.0, -12.0, z), 3.0)).save(folder)


@fault("SS_NO_VOLUME", "no image", measured="contours in one plane", then=no_number("SpinalCord", "no_volume"),
       also=("COURSE_NO_PLANNING_IMAGE",))  # fmt: skip
def one_contour_and_no_image(folder: Path) -> None:
    """A structure was drawn on one slice, and the image that would tell its thickness was not exported."""
    made = patient()
    redraw(made, "SpinalCord", made.roi("SpinalCord").contours[:1])
    drop_slices(made, range(20)).save(folder)
