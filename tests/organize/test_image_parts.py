"""Series that hold more than one stack of slices, and what kind of image a series is."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.contracts.manifests import Course, ImageRef
from rtpipeline.organize.image_class import is_localizer_type

from .rows import CORONAL, CT, DAY_0, MR, PT, Export, Series, codes, day, uid


def images(export: Export, **settings: object) -> list[ImageRef]:
    (course,) = export.organize(**settings).manifest.courses  # type: ignore[arg-type]
    return course.images


def course_of(export: Export) -> Course:
    (course,) = export.organize().manifest.courses
    return course


def test_a_tagged_scout_within_the_series_is_split_off() -> None:
    export = Export()
    ct = export.course()["ct"]
    export.image("scout", slices=2, series="ct", frame="ct", image_type="ORIGINAL\\PRIMARY\\LOCALIZER", days=0)
    found = export.organize()
    (course,) = found.manifest.courses
    assert {i.image_id: (i.image_class, i.instances, i.prepare) for i in course.images} == {
        "ct-01": ("ct", len(ct.rows), True),
        "ct-02": ("localizer", 2, False),
    }
    assert codes(found) == ["I IMG_LOCALIZER_MIXED"]
    refused = [r for r in found.index.to_pylist() if r["use"] == "not_used"]
    assert {r["reason"] for r in refused} == {"IMG_LOCALIZER_MIXED"}
    assert len(refused) == 2


@pytest.mark.parametrize(
    "change", [{"orientation": CORONAL}, {"rows": 512}, {"columns": 888}, {"pixel_spacing": [0.5, 0.5]}]
)
def test_an_untagged_scout_is_told_by_orientation_size_or_spacing(change: dict[str, object]) -> None:
    export = Export()
    export.course()
    export.image("scout", slices=1, series="ct", frame="ct", **change)
    assert [(i.image_class, i.instances) for i in images(export)] == [("ct", 12), ("localizer", 1)]


def test_orientation_noise_of_the_scanner_splits_nothing() -> None:
    export = Export()
    ct = export.course()["ct"]
    noise = np.random.default_rng(3).normal(0, 1e-5, (len(ct.rows), 6))
    for row, error in zip(ct.rows, noise, strict=True):
        row["orientation"] = (np.array(row["orientation"]) + error).tolist()
    assert [i.instances for i in images(export)] == [12]


def test_two_large_stacks_of_other_size_in_one_series_are_two_images() -> None:
    export = Export()
    export.image("a", slices=10, series="s", frame="s", rows=512, columns=512)
    export.image("b", slices=8, series="s", frame="s", rows=256, columns=256)
    assert sorted((i.image_class, i.instances) for i in images(export)) == [("ct", 8), ("ct", 10)]


def test_slices_without_geometry_stay_with_their_series() -> None:
    export = Export()
    ct = export.course()["ct"]
    ct.rows[5].update(orientation=None, position=None, pixel_spacing=None)
    assert [i.instances for i in images(export)] == [12]


@pytest.mark.parametrize("column", ["acquisition_number", "temporal_position", "image_comments", "slice_thickness"])
def test_repeated_positions_are_told_apart_by_an_attribute(column: str) -> None:
    export = Export()
    for number in range(3):
        value = f"pass {number}" if column == "image_comments" else number + 1
        export.image(f"pass {number}", series="one", frame="one", **{column: value})
    found = export.organize()
    assert [i.instances for i in found.manifest.courses[0].images] == [12, 12, 12]
    assert "I IMG_DUPLICATE_POSITION" in codes(found)
    assert "E IMG_DUPLICATE_POSITION" not in codes(found)


def test_two_attributes_together_tell_four_volumes_apart() -> None:
    export = Export()
    for first in (1, 2):
        for second in ("A", "B"):
            export.image(f"{first}{second}", series="s", frame="s", acquisition_number=first, image_comments=second)
    assert [i.instances for i in images(export)] == [12] * 4


def test_a_doubled_slice_that_no_header_tells_apart_is_left_to_the_comparison_of_pixels() -> None:
    export = Export()
    ct = export.ct()
    export.rows.append(dict(ct.rows[6], sop_instance_uid=uid("double")))
    found = export.organize()
    (image,) = found.manifest.courses[0].images
    assert (image.instances, image.prepare) == (13, True)
    assert codes(found) == []


def test_an_image_with_doubled_slices_that_is_not_prepared_says_so() -> None:
    export = Export()
    export.course()
    mr = export.image("mr", sop_class=MR)
    export.rows.append(dict(mr.rows[6], sop_instance_uid=uid("double")))
    assert codes(export.organize()) == ["W IMG_DUPLICATE_POSITION"]


def test_a_whole_series_is_planned_on_rather_than_one_with_doubled_slices() -> None:
    export = Export()
    export.ct("whole", slices=10)
    doubled = export.ct("doubled", slices=20)
    export.rows.append(dict(doubled.rows[6], sop_instance_uid=uid("double")))
    planning = course_of(export).planning_image
    assert planning is not None
    assert planning.instances == 10


def test_a_doubled_slice_that_no_structure_set_references_is_left_over() -> None:
    export = Export()
    ct = export.course()["ct"]
    export.rows.append(dict(ct.rows[6], sop_instance_uid=uid("double")))
    found = export.organize()
    (course,) = found.manifest.courses
    assert [(i.instances, i.role, i.prepare) for i in course.images] == [
        (12, "planning", True),
        (1, "secondary", False),
    ]
    assert codes(found) == ["W IMG_DUPLICATE_POSITION"]


def test_a_doubled_slice_beyond_the_referenced_ones_cannot_be_told_apart() -> None:
    export = Export()
    ct = export.ct()
    export.rows.append(dict(ct.rows[11], sop_instance_uid=uid("double")))
    export.structure_set(Series(ct.uid, ct.frame, ct.study, ct.rows[2:6]))
    assert [i.instances for i in images(export)] == [13]


def test_scans_of_four_thicknesses_under_one_series_uid_are_four_images_with_their_own_sets() -> None:
    """The analytic DVH phantom: four CTs and all their structure sets share study, series and frame of reference."""
    export = Export()
    steps = {0.2: 60, 1.0: 13, 2.0: 7, 3.0: 5}
    for step, slices in steps.items():
        ct = export.image(f"{step}", slices=slices, step_mm=step, series="one", frame="one")
        for shape in ("cone", "sphere"):
            export.structure_set(ct, f"{shape} {step}")
    course = course_of(export)
    assert sorted(i.instances for i in course.images) == sorted(steps.values())
    assert all(i.prepare for i in course.images)
    assert course.planning_image is not None
    assert course.planning_image.instances == 60
    sets_of = {i.image_id: [s for s in course.structure_sets if s.image_id == i.image_id] for i in course.images}
    assert all(len(sets) == 2 for sets in sets_of.values())
    assert all(s.image_link == "images" for s in course.structure_sets)


def test_two_thicknesses_that_interleave_without_a_shared_position_are_two_images() -> None:
    export = Export()
    export.image("fine", slices=30, step_mm=1.0, series="one", frame="one", start_mm=0.25)
    export.image("coarse", slices=10, step_mm=3.0, series="one", frame="one")
    assert sorted(i.instances for i in images(export)) == [10, 30]


def test_two_thicknesses_one_behind_the_other_are_one_image() -> None:
    export = Export()
    export.image("fine", slices=10, step_mm=1.0, series="one", frame="one")
    export.image("coarse", slices=10, step_mm=3.0, series="one", frame="one", start_mm=12.0)
    assert [i.instances for i in images(export)] == [20]


def test_two_thicknesses_that_one_structure_set_uses_together_are_one_image() -> None:
    export = Export()
    a = export.image("fine", slices=30, step_mm=1.0, series="one", frame="one", start_mm=0.25)
    b = export.image("coarse", slices=10, step_mm=3.0, series="one", frame="one")
    export.structure_set(Series(a.uid, a.frame, a.study, [*a.rows, *b.rows]))
    assert [i.instances for i in images(export)] == [40]


def test_the_phases_of_a_4dct_are_one_course_with_one_planning_image() -> None:
    export = Export(patient="", name="", birth="")
    for phase in range(0, 100, 10):
        export.image(f"p{phase}", frame="one", series_description=f"{phase}.0%", image_comments=f"{phase}.0%")
    export.image("average", frame="one", series_description="AVE-IP")
    export.image("mip", frame="one", series_description="MIP")
    found = export.organize()
    (course,) = found.manifest.courses
    classes = [i.image_class for i in course.images]
    assert (classes.count("ct_4d_phase"), classes.count("ct_4d_average"), classes.count("ct_mip")) == (10, 1, 1)
    assert course.planning_image is not None
    assert course.planning_image.image_class == "ct_4d_average"
    (message,) = [f.measured for f in found.findings if f.code == "IMG_4DCT"]
    assert message.startswith("10 phases, 1 averages, 1 projections")


def test_the_phase_that_the_structure_set_references_is_the_planning_image() -> None:
    export = Export()
    phases = [export.image(f"p{n}", frame="one", series_description=f"resp {n}%") for n in (0, 30, 50)]
    export.plan(export.structure_set(phases[1]))
    course = course_of(export)
    planning = [i for i in course.images if i.role == "planning"]
    assert [(i.image_class, i.prepare) for i in planning] == [("ct_4d_phase", True)]
    index = export.organize().index.to_pylist()
    assert {r["series_uid"] for r in index if r["object_id"] == planning[0].image_id} == {phases[1].uid}


def test_a_percentage_alone_makes_no_phase() -> None:
    export = Export()
    export.image("a", series_description="Iodine 50% map")
    assert [i.image_class for i in images(export)] == ["ct"]


@pytest.mark.parametrize(
    ("fields", "image_class"),
    [
        ({"series_description": "Pelvis 3.0 B30f"}, "ct"),
        ({"series_description": "Topogram  0.6  T20s"}, "localizer"),
        ({"series_description": "Patient Protocol"}, "localizer"),
        ({"series_description": "kV CBCT_1a"}, "cbct"),
        ({"manufacturer": "Varian Medical Systems", "model": "On-Board Imager"}, "cbct"),
        ({"manufacturer": "ELEKTA", "model": "XVI"}, "cbct"),
        ({"image_type": "DERIVED\\SECONDARY\\AXIAL\\MIP"}, "ct_mip"),
        ({"image_type": "DERIVED\\SECONDARY\\AVERAGE"}, "ct_4d_average"),
        ({"series_description": "mean liver dose study"}, "ct"),
        ({"sop_class": MR, "series_description": "t2_tse_tra"}, "mr"),
        ({"sop_class": PT, "series_description": "PET AC"}, "pt"),
        ({"sop_class": MR, "series_description": "3-plane localizer"}, "localizer"),
    ],
)
def test_the_class_of_an_image_is_read_from_its_headers(fields: dict[str, str], image_class: str) -> None:
    export = Export()
    export.image("one", **fields)  # type: ignore[arg-type]
    assert [i.image_class for i in images(export)] == [image_class]


def test_only_images_that_nothing_references_need_to_be_volumes_of_a_patient() -> None:
    export = Export()
    export.image("cbct", series_description="CBCT")
    export.image("mip", series_description="MIP")
    assert course_of(export).planning_image is None


def test_the_largest_ct_of_an_export_without_structures_is_the_planning_image() -> None:
    export = Export()
    export.image("pet", sop_class=PT, slices=40)
    export.image("small", slices=5)
    export.image("large", slices=30)
    course = course_of(export)
    assert course.course_kind == "images_only"
    assert course.planning_image is not None
    assert (course.planning_image.modality, course.planning_image.instances) == ("CT", 30)


@pytest.mark.parametrize("fields", [{"orientation": CORONAL}, {"image_type": "DERIVED\\SECONDARY\\MPR"}])
def test_a_larger_reformatted_series_is_not_planned_on(fields: dict[str, object]) -> None:
    export = Export()
    export.image("axial", slices=10)
    export.image("coronal", slices=50, **fields)
    planning = course_of(export).planning_image
    assert planning is not None
    assert planning.instances == 10


def test_all_images_are_prepared_when_configured_but_no_scout() -> None:
    export = Export()
    export.course()
    export.image("mr", sop_class=MR)
    export.image("scout", slices=1, series_description="Scout")
    assert [i.prepare for i in images(export) if i.image_class == "mr"] == [False]
    assert {i.image_class: i.prepare for i in images(export, prepare_images="all")} == {
        "ct": True,
        "mr": True,
        "localizer": False,
    }


def test_axial_slices_of_a_scout_protocol_are_no_scouts() -> None:
    assert is_localizer_type("ORIGINAL\\PRIMARY\\LOCALIZER")
    assert not is_localizer_type("ORIGINAL\\PRIMARY\\LOCALIZER\\AXIAL")


def test_slices_with_burned_in_text_are_not_used() -> None:
    export = Export()
    export.course()
    export.image("report", slices=1, burned_in="YES")
    found = export.organize()
    assert [(r["use"], r["reason"]) for r in found.index.to_pylist() if r["burned_in"] == "YES"] == [
        ("not_used", "BURNED_IN")
    ]
    assert len(found.manifest.courses[0].images) == 1


def test_images_whose_series_uid_is_no_uid_are_refused() -> None:
    export = Export()
    for label in ("a", "b"):
        export.image(label, series_uid="UNKNOWN")
    found = export.organize()
    assert found.manifest.courses == []
    assert codes(found) == ["E FILE_MISSING_UID"]


def test_the_date_of_a_resampled_copy_is_that_of_its_study() -> None:
    export = Export()
    export.image("resampled years later", days=7000, study_date=day(0))
    row = export.organize().identity
    assert row
    export.plan(uid("absent"), days=3)
    (course,) = export.organize().manifest.courses
    assert course.images[0].day == -3
    assert DAY_0.year == 2020


def test_multi_frame_objects_of_one_series_are_images_of_their_own() -> None:
    export = Export()
    export.image("enhanced", slices=2, frames=40, position=None, orientation=None, pixel_spacing=None, sop_class=CT)
    assert [i.instances for i in images(export)] == [1, 1]
