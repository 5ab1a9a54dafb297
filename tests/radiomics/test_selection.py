from __future__ import annotations

import pytest

from rtpipeline.config import RadiomicsConfig
from rtpipeline.radiomics.selection import refusal


def row(name: str, tg263: str | None = None, source: str = "manual") -> dict[str, str | None]:
    return {"structure_name": name, "structure_name_tg263": tg263, "structure_source": source}


@pytest.mark.parametrize(
    "name", ["Couch_Surface", "couch interior", "CouchSurface (1)", "Bones", "TABLE", "BODY", "m1"]
)
def test_couch_and_body_are_left_out_however_they_are_written(name: str) -> None:
    assert refusal(row(name), RadiomicsConfig()) == ("skipped", "left out by name")


@pytest.mark.parametrize("name", ["GTV", "Bone_Mandible", "Bodywall", "Lung_L", "Supportive"])
def test_a_name_that_only_resembles_them_is_not(name: str) -> None:
    assert refusal(row(name), RadiomicsConfig()) is None


def test_names_of_the_configuration_are_compared_without_case_and_signs() -> None:
    config = RadiomicsConfig(skip_rois=["Lung-L"])
    assert refusal(row("LUNG_L"), config) == ("skipped", "left out by name")
    assert refusal(row("li Lunge", "Lung_L"), config) == ("skipped", "left out by name")
    assert refusal(row("Lung_R"), config) is None


def test_structures_are_chosen_by_their_name_in_the_file_or_of_tg263_and_nothing_else() -> None:
    config = RadiomicsConfig(structures=["GTV", "Lung_L", "Bones"])
    assert [refusal(r, config) for r in (row("GTV"), row("li Lunge", "Lung_L"), row("Bones"))] == [None, None, None]
    assert refusal(row("gtv"), config) == ("not_selected", "not in radiomics.structures")


def test_a_name_to_skip_is_left_out_of_the_structures_to_use() -> None:
    config = RadiomicsConfig(structures=["GTV", "Lung_L"], skip_rois=["old left lung"])
    assert refusal(row("Old Left Lung", "Lung_L"), config) == ("skipped", "left out by name")
    assert refusal(row("GTV"), config) is None


def test_sources_are_chosen_by_name() -> None:
    config = RadiomicsConfig(sources=["manual"])
    assert refusal(row("GTV"), config) is None
    assert refusal(row("liver", source="totalsegmentator"), config) == (
        "not_selected",
        "source totalsegmentator is not in radiomics.sources",
    )
