from __future__ import annotations

import pytest

from rtpipeline.demo.headers import UID_ROOT, UidMaker, decimal_text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (-0.00001, "0"), (12.5, "12.5"), (-178.75, "-178.75"), (1e-4, "0.0001")]
)
def test_decimal_texts_have_no_exponent_and_no_negative_zero(value: float, text: str) -> None:
    assert decimal_text(value) == text


def test_decimal_texts_fit_into_sixteen_characters_up_to_a_hundred_kilometres() -> None:
    assert len(decimal_text(-99_999_999.99999)) <= 16


def test_uids_depend_on_seed_patient_and_object_alone() -> None:
    first = UidMaker(1, "DEMO-001")("slice", 1)
    assert first == UidMaker(1, "DEMO-001")("slice", 1)
    others = {
        UidMaker(2, "DEMO-001")("slice", 1),
        UidMaker(1, "DEMO-002")("slice", 1),
        UidMaker(1, "DEMO-001")("slice", 2),
    }
    assert len(others | {first}) == 4
    assert first.is_valid and first.startswith(UID_ROOT)
