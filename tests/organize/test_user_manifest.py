"""The user's CSV: forms that are read, and errors that name the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtpipeline.errors import ConfigError
from rtpipeline.organize.user_manifest import ManifestRow, load_user_manifest, rows_of_course

HEADER = "patient_id,plan_uid,structure,rx_gy,fractions_delivered,alpha_beta_gy,include\n"


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "manifest.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("separator", [",", ";"])
def test_comma_and_semicolon_and_a_byte_order_mark_are_read(tmp_path: Path, separator: str) -> None:
    text = (HEADER + "P1, 1.2.3 ,PTV,50,25,10,YES\n,1.2.4,,,,,no\n").replace(",", separator)
    assert load_user_manifest(written(tmp_path, text, "utf-8-sig")) == [
        ManifestRow("P1", "1.2.3", "PTV", "50", "25", "10", True),
        ManifestRow("", "1.2.4", "", "", "", "", False),
    ]


def test_columns_may_be_left_out(tmp_path: Path) -> None:
    assert load_user_manifest(written(tmp_path, "plan_uid,rx_gy\n1.2,50\n")) == [
        ManifestRow(plan_uid="1.2", rx_gy="50")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plan_uid,dose\n1,2\n", "unknown column 'dose'"),
        ("", "no header"),
        ("plan_uid,include\n1.2,maybe\n", "line 2: include is 'maybe'"),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_user_manifest(written(tmp_path, text))


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="UTF-8"):
        load_user_manifest(written(tmp_path, HEADER + "Müller,,,,,,\n", "latin-1"))


def test_a_course_takes_the_rows_of_its_plans_and_of_its_patient() -> None:
    rows = [
        ManifestRow(plan_uid="1.1", rx_gy="60"),
        ManifestRow(plan_uid="1.2", rx_gy="50"),
        ManifestRow(patient_id="P1", structure="PTV", alpha_beta_gy="3"),
        ManifestRow(structure="nobody's"),
    ]
    found = rows_of_course(rows, ["1.2"])
    assert set(found) == {rows[1], rows[2]}
    assert found == rows_of_course(rows[::-1], ["1.2"])
