"""The user's CSV: forms that are read, and errors that name the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtpipeline.contracts.manifests import ManifestRow
from rtpipeline.errors import ConfigError
from rtpipeline.organize.user_manifest import UserRow, load_user_manifest, rows_of_course, rows_of_patient

HEADER = "patient_id,plan_uid,structure,rx_gy,fractions_delivered,alpha_beta_gy,include\n"


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "manifest.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("separator", [",", ";"])
def test_comma_and_semicolon_and_a_byte_order_mark_are_read(tmp_path: Path, separator: str) -> None:
    text = (HEADER + "P1, 1.2.3 ,PTV,50,25,10,YES\n,1.2.4,,,,,no\n").replace(",", separator)
    assert load_user_manifest(written(tmp_path, text, "utf-8-sig")) == [
        UserRow("P1", "1.2.3", "PTV", 50.0, 25, 10.0, True),
        UserRow("", "1.2.4", include=False),
    ]


def test_rows_that_complete_or_repeat_each_other_are_no_contradiction(tmp_path: Path) -> None:
    text = "plan_uid,structure,rx_gy,include\n1.2,,50,\n1.2,,,yes\n1.2,,50,yes\n1.2,PTV2,66,\n"
    assert len(load_user_manifest(written(tmp_path, text))) == 4


def test_columns_may_be_left_out(tmp_path: Path) -> None:
    assert load_user_manifest(written(tmp_path, "plan_uid,rx_gy\n1.2,50\n")) == [UserRow(plan_uid="1.2", rx_gy=50.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plan_uid,dose\n1,2\n", "unknown column 'dose'"),
        ("", "no header"),
        ("plan_uid,rx_gy\n1.2,50\n1.3,60\n1.2,66\n", "lines 2 and 4 give different values of rx_gy"),
        ("plan_uid,rx_gy,include\n1.2,50,yes\n1.2,,no\n", "lines 2 and 3 give different values of include"),
        ("plan_uid,include\n1.2,maybe\n", "line 2: include is 'maybe'"),
        ("plan_uid,rx_gy\n1.2,50\n1.3,much\n", "line 3: rx_gy is 'much'"),
        ("plan_uid,rx_gy\n1.2,-3\n", "line 2: rx_gy is '-3'"),
        ("plan_uid,rx_gy\n1.2,nan\n", "rx_gy is 'nan'"),
        ("plan_uid,fractions_delivered\n1.2,2.5\n", "a whole number"),
        ("plan_uid,rx_gy\n1.2,50,4\n", "more values than columns"),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_user_manifest(written(tmp_path, text))


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="UTF-8"):
        load_user_manifest(written(tmp_path, HEADER + "Müller,,,,,,\n", "latin-1"))


def test_no_fraction_delivered_is_a_statement_and_no_prescription_is_none(tmp_path: Path) -> None:
    (row,) = load_user_manifest(written(tmp_path, "plan_uid;fractions_delivered;rx_gy\n1.2;0;\n"))
    assert (row.fractions_delivered, row.rx_gy) == (0, None)


def test_a_course_takes_the_rows_of_its_plans_of_its_patient_and_of_everybody() -> None:
    rows = [
        UserRow(plan_uid="1.1", rx_gy=60.0),
        UserRow(plan_uid="1.2", rx_gy=50.0),
        UserRow(patient_id="P1", structure="PTV", alpha_beta_gy=3.0),
        UserRow(patient_id="P2", structure="PTV", alpha_beta_gy=4.0),
        UserRow(structure="Heart", alpha_beta_gy=2.0),
    ]
    mine = rows_of_patient(rows, "P1", "p0123456789")
    found = rows_of_course(mine, {"1.2": "plan-01"})
    assert sorted(found, key=lambda r: r.structure or "") == [
        ManifestRow(plan_id="plan-01", rx_gy=50.0),
        ManifestRow(structure="Heart", alpha_beta_gy=2.0),
        ManifestRow(structure="PTV", alpha_beta_gy=3.0),
    ]
    assert found == rows_of_course(mine[::-1], {"1.2": "plan-01"})
