"""What may come of a fault, as assertions that faults share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from tests.synthetic.pipeline import Chain
from tests.synthetic.registry import Consequence

SAME = 1e-6
"""Relative difference of numbers that a fault must not change, and absolute in Gy and cc; of percentages the absolute
one is that part of the whole. Doses are stored in float32 (4e-6 Gy at 50 Gy), which is why it is not less."""

NO_MEASURE = frozenset(
    [
        *("cohort", "patient_id", "course_id", "image_id", "modality", "structure_set_id", "structure_source"),
        *("structure_id", "structure_name", "structure_name_tg263", "dose_id", "roi_type", "prescription_source"),
        *("dose_basis", "dose_link", "dose_registrations", "stage_key", "rtpipeline_version", "end_cap"),
    ]
)
"""Columns of `dvh_metrics` that may differ between two exports of the same truth."""

RX_COLUMNS = ("rx_gy", "v95rx_pct", "v100rx_pct", "v107rx_pct", "hi_icru83", "ci_paddick", "gi_paddick")
"""Columns of `dvh_metrics` that a target without a prescription has empty."""

Rows = dict[str, dict[str, Any]]


def dvh(chain: Chain, dose_id: str = "plan-01", course_id: str | None = None) -> Rows:
    """Rows of one dose in `dvh_metrics`, by structure name."""
    table = chain.table("dvh", "dvh_metrics", course_id)
    rows = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    return {row["structure_name"]: row for row in rows if row["dose_id"] == dose_id}


def structures(chain: Chain) -> Rows:
    """Rows of `structures`, by structure name."""
    return {row["structure_name"]: row for row in chain.rows("structures", "structures")}


def image(chain: Chain, image_id: str = "ct-01") -> dict[str, Any]:
    """Row of `images`."""
    return next(row for row in chain.rows("prepare_images", "images") if row["image_id"] == image_id)


def is_missing(value: object) -> bool:
    """Null in any of its forms."""
    return bool(pd.isna(value))  # type: ignore[call-overload]


def assert_same_row(row: Mapping[str, Any], other: Mapping[str, Any], tolerance: float = SAME) -> None:
    """Equal measures: numbers within the tolerance, everything else exactly."""
    for name in sorted((set(row) | set(other)) - NO_MEASURE):
        a, b = row.get(name), other.get(name)
        if isinstance(a, float) and isinstance(b, float) and not (is_missing(a) or is_missing(b)):
            absolute = 100 * tolerance if name.endswith("_pct") else tolerance
            assert math.isclose(a, b, rel_tol=tolerance, abs_tol=absolute), f"{name}: {a!r} against {b!r}"
        else:
            assert (is_missing(a) and is_missing(b)) or a == b, f"{name}: {a!r} against {b!r}"


def assert_same_rows(found: Rows, expected: Rows, names: Iterable[str] | None = None, tolerance: float = SAME) -> None:
    """Equal measures of these structures (all of the expected ones, and no others, unless given)."""
    if names is None:
        assert found.keys() == expected.keys()
    for name in expected if names is None else names:
        assert_same_row(found[name], expected[name], tolerance)


def same_numbers(chain: Chain, clean: Chain) -> None:
    """Every DVH row as without the fault."""
    assert_same_rows(dvh(chain), dvh(clean))


def no_dose(chain: Chain, clean: Chain) -> None:
    """No DVH row at all, and the structures as without the fault."""
    assert chain.table("dvh", "dvh_metrics").empty
    assert structures(chain).keys() == structures(clean).keys()
    assert all(row["volume_cc"] == structures(clean)[name]["volume_cc"] for name, row in structures(chain).items())


def nothing_computed(chain: Chain, clean: Chain) -> None:
    """The course is left out: no structure and no DVH row."""
    for course in chain.manifest.courses:
        assert chain.table("structures", "structures", course.course_id).empty
        assert chain.table("dvh", "dvh_metrics", course.course_id).empty


def numbers_of_others(*changed: str) -> Consequence:
    """Every structure but these has its DVH as without the fault."""

    def then(chain: Chain, clean: Chain) -> None:
        expected = dvh(clean)
        assert_same_rows(dvh(chain), expected, expected.keys() - set(changed))

    return then


def every(*consequences: Consequence) -> Consequence:
    """All of them."""

    def then(chain: Chain, clean: Chain) -> None:
        for one in consequences:
            one(chain, clean)

    return then


TURNED = 1e-5
"""Relative difference after a rotation: contours are written with 0.1 micrometre."""


def same_when_turned(chain: Chain, clean: Chain) -> None:
    """Every DVH row as without the fault, but for the rounding of turned coordinates."""
    assert_same_rows(dvh(chain), dvh(clean), tolerance=TURNED)


def assert_image(chain: Chain, column: str, expected: object) -> None:
    """A column of the planning image's row in `images`."""
    value = image(chain)[column]
    assert value == expected, f"{column} is {value!r}"


def refused(code: str) -> Consequence:
    """The image is refused for a reason; the stage ends well all the same, since the DVH needs no image."""

    def then(chain: Chain, clean: Chain) -> None:
        assert_image(chain, "status", "refused")
        assert_image(chain, "reason", code)
        assert chain.record(chain.course.course_id, "prepare_images").status == "done"
        assert not (chain.folder(chain.course.course_id, "prepare_images") / "images").exists()
        same_numbers(chain, clean)

    return then


def slice_filled(chain: Chain, clean: Chain) -> None:
    """One slice is interpolated; the numbers, which come from contours, are as before."""
    assert image(chain)["interpolated_planes"] == 1
    same_numbers(chain, clean)
