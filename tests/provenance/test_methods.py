"""The methods text says what was done with which settings, and nothing that was not done."""

from __future__ import annotations

import re

import pytest

from rtpipeline.config import Config, parse_config
from rtpipeline.contracts.manifests import StageRecord
from rtpipeline.provenance.citations import CITATIONS, Bibliography
from rtpipeline.provenance.methods import joined, methods_text, plural
from rtpipeline.provenance.versions import StageUse, libraries, stage_use
from rtpipeline.stages import STAGES

COUNTS = {"patients": 3, "courses": 12, "courses_ok": 1, "phantom_structures": 0}
DONE = {"done": 2}
DECLARED = parse_config(
    {
        "dvh": {
            "alpha_beta_gy": {"SpinalCord": 2, "Lung_L": 3},
            "geud_a": {"PTV": -10},
            "constraints": "/home/x/limits.csv",
        }
    }
)
EVERYTHING = {name: StageUse(name, DONE, {"numpy": ["2.4.1"]}, ["0.1.0"]) for name in STAGES}


def test_every_reference_is_cited_when_everything_ran():
    text = methods_text(DECLARED, EVERYTHING, COUNTS)
    for reference in CITATIONS.values():
        assert reference in text


def test_references_are_numbered_in_the_order_of_their_first_citation():
    body, references = methods_text(DECLARED, EVERYTHING, COUNTS).split("## References")
    cited = [int(n) for group in re.findall(r"\[([\d, ]+)\]", body) for n in group.split(", ")]
    listed = [int(n) for n in re.findall(r"^(\d+)\. ", references, re.MULTILINE)]
    assert list(dict.fromkeys(cited)) == listed == list(range(1, len(listed) + 1))


@pytest.mark.parametrize("status", ["disabled", "not_applicable", "data_error", "missing"])
def test_a_stage_that_gave_no_numbers_is_not_described(status):
    uses = {**EVERYTHING, "segmentation": StageUse("segmentation", {status: 5})}
    text = methods_text(Config(), uses, COUNTS)
    assert "TotalSegmentator" not in text
    assert "Dose-volume histograms" in text


def test_settings_that_differ_from_the_default_are_those_in_the_text():
    config = parse_config(
        {
            "course_gap_days": 17,
            "dvh": {"v_gy": [12.5], "d_pct": [97], "coverage_limit_pct": 98.7},
            "images": {"max_gap_mm": 6.5},
        }
    )
    text = " ".join(methods_text(config, EVERYTHING, COUNTS).split())
    for words in ("within 17 days", "at least 12.5 Gy", "the dose to 97 %", "less than 98.7 %", "up to 6.5 mm"):
        assert words in text


def test_biological_doses_and_constraints_are_told_where_they_are_declared_and_no_folder_is():
    text = " ".join(methods_text(DECLARED, EVERYTHING, COUNTS).split())
    for words in ("(Lung_L 3, SpinalCord 2 Gy)", "a = PTV -10.", "`limits.csv`"):
        assert words in text
    assert "/home/x" not in text
    plain = methods_text(Config(), EVERYTHING, COUNTS)
    assert not [word for word in ("EQD2", "equivalent uniform", "constraints of") if word in plain]


def test_outputs_of_two_versions_are_both_named():
    uses = {**EVERYTHING, "dvh": StageUse("dvh", DONE, {"numpy": ["2.3.0", "2.4.1"]}, ["0.1.0", "0.2.0"])}
    text = methods_text(Config(), uses, COUNTS)
    assert "numpy 2.3.0 and 2.4.1" in text
    assert "RTpipeline 0.1.0 and 0.2.0" in text


def test_it_is_for_research():
    assert "For research, not for treatment decisions." in methods_text(Config(), {}, COUNTS)


def test_counts_read_as_words_and_figures():
    text = " ".join(methods_text(Config(), {}, COUNTS).split())
    assert "of three patients were processed" in text
    assert "12 courses, 1 of which was processed" in text
    assert plural(1, "course") == "one course"
    assert plural(1234, "course") == "1,234 courses"
    assert joined([99, 0.03, "a"]) == "99, 0.03, a"


def test_a_reference_keeps_its_number():
    references = Bibliography()
    assert references.cite("numpy", "scipy") == "[1, 2]"
    assert references.cite("scipy") == "[2]"
    with pytest.raises(KeyError):
        references.cite("nobody 1999")


def record(status: str, numpy: str, wall_s: float, memory_mib: float) -> StageRecord:
    return StageRecord(
        stage="dvh", stage_version=1, stage_key="k", cohort="c", course_id="c", status=status, output_digest="",
        upstream={}, config={}, settings_digest="", versions={"numpy": numpy, "torch": "absent"}, wall_s=wall_s,
        peak_memory_mib=memory_mib, rtpipeline_version="0.1.0",
    )  # fmt: skip


def test_a_stage_is_summed_up_over_courses():
    records = [
        record("done", "2.4.1", 1.5, 200),
        record("partial", "2.3.0", 2.0, 300),
        record("data_error", "1.0", 0.5, 50),
    ]
    use = stage_use("dvh", ["done", "partial", "data_error", "missing"], records)
    assert use.statuses == {"data_error": 1, "done": 1, "missing": 1, "partial": 1}
    assert use.versions["numpy"] == ["2.3.0", "2.4.1"]  # what gave no numbers has no say
    assert (use.wall_s, use.peak_memory_mib) == (4.0, 300)
    assert use.computed


def test_libraries_that_are_absent_are_not_software_of_the_run():
    uses = [stage_use("dvh", ["done"], [record("done", "2.4.1", 1, 1)])]
    assert libraries(uses) == {"numpy": ["2.4.1"]}


@pytest.mark.parametrize(("structures", "said"), [(0, False), (7, True)])
def test_networks_that_know_only_a_phantom_are_said_to(structures, said):
    text = methods_text(
        parse_config({"segmentation": {"fastest": True}}), EVERYTHING, {**COUNTS, "phantom_structures": structures}
    )
    assert ("they know its phantom and no patient" in text) is said
    assert "with the model of 6 mm" in text


def test_features_come_with_lattice_bins_and_filters(tmp_path):
    own = tmp_path / "mine.yaml"
    own.write_text("setting: {binCount: 32, normalize: true}\nimageType: {Original: {}, Wavelet: {}}\n")
    config = parse_config({"radiomics": {"mr_params_file": str(own)}})
    text = " ".join(methods_text(config, EVERYTHING, COUNTS).split())
    assert "CT: settings `seed-ct`, resampled to 1 × 1 × 1 mm (sitkBSpline), bins of width 25, images Orig" in text
    assert "MR: settings `mine`, normalised, on the voxels of the image, 32 bins, images Original, Wavelet" in text
    assert str(tmp_path) not in text
