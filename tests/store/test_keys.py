from __future__ import annotations

import pytest

from rtpipeline.config import parse_config
from rtpipeline.errors import ConfigError
from rtpipeline.stages import STAGES, dependants
from rtpipeline.store import keys
from rtpipeline.store.keys import output_digest, settings_digest, stage_key, stage_path


def digests(raw: dict | None = None) -> dict[str, str]:
    config = parse_config(raw)
    return {name: settings_digest(name, config) for name in STAGES}


def changed(raw: dict) -> set[str]:
    base, other = digests(), digests(raw)
    return {name for name in STAGES if base[name] != other[name]}


@pytest.mark.parametrize(
    "raw",
    [
        {"workers": 7},
        {"segmentation": {"workers": 3, "threads_per_worker": 2, "device": "cpu", "force": True}},
        {"radiomics": {"thread_limit": 3, "sequential": True}},
        {"aggregation": {"threads": 2}},
        {"timeouts": {"radiomics_roi_s": 10}},
        {"execution": {"memory_limit_mib": 1000}},
    ],
)
def test_what_cannot_change_a_number_changes_no_digest(raw):
    assert changed(raw) == set()


@pytest.mark.parametrize(
    ("raw", "stage"),
    [
        ({"images": {"max_gap_mm": 3}}, "prepare_images"),
        ({"dvh": {"coverage_limit_pct": 98}}, "dvh"),
        ({"segmentation": {"fast": True}}, "segmentation"),
        ({"course_gap_days": 30}, "organize"),
    ],
)
def test_a_setting_changes_its_stage_and_the_stages_behind_it(raw, stage):
    assert changed(raw) == {stage} | dependants(stage)


def test_a_setting_of_radiomics_changes_what_reads_it():
    assert changed({"radiomics": {"min_voxels": 10}}) == {"radiomics", "robustness", "qc", "aggregation"}


def test_a_parameter_file_counts_by_its_content(tmp_path):
    first, second, third = (tmp_path / n for n in ("a.yaml", "b.yaml", "c.yaml"))
    first.write_text("x: 1\n")
    second.write_text("x: 1\n")
    third.write_text("x: 2\n")
    one, two, three = (digests({"radiomics": {"params_file": str(p)}})["radiomics"] for p in (first, second, third))
    assert one == two != three


def test_another_version_of_a_library_changes_the_stages_that_compute_with_it(monkeypatch):
    base, real = digests(), keys.library_version
    monkeypatch.setattr(keys, "library_version", lambda d: "99" if d == "TotalSegmentator" else real(d))
    other = digests()
    assert {n for n in STAGES if base[n] != other[n]} == {"segmentation"} | dependants("segmentation")


def test_paths_of_a_store():
    assert str(stage_path("c", "organize", "k")) == "c/organize/k"
    assert str(stage_path("c", "dvh", "k", "p1-c01")) == "c/courses/p1-c01/dvh/k"
    assert stage_key("a" * 64, "b" * 64) == "a" * 12 + "-" + "b" * 12


def test_the_output_digest_sees_content_and_names_but_not_the_record(tmp_path):
    def folder(name: str, files: dict[str, str]):
        root = tmp_path / name
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        return output_digest(root)

    base = folder("a", {"x/y": "1", "z": "2"})
    assert base == folder("b", {"z": "2", "x/y": "1", "stage.json": "anything", "stage.log": "t"})
    assert base != folder("c", {"x/y": "2", "z": "1"})
    assert base != folder("d", {"x/q": "1", "z": "2"})


def test_versions_of_what_another_image_holds_come_from_the_pins(tmp_path, monkeypatch):
    pins = tmp_path / "constraints.txt"
    pins.write_text("# pins\nNo_such.Library==1.2.3 ; python_version > '3'\nnumpy==0.0.1\nother>=2\n")
    assert keys.library_version("no-such-library") == "absent"
    monkeypatch.setenv("RTPIPELINE_PINS", str(pins))
    assert keys.library_version("no-such-library") == "1.2.3"
    assert keys.library_version("other") == "absent"
    assert keys.library_version("numpy") == keys.installed_version("numpy") != "0.0.1"


def test_pins_that_cannot_be_read_are_no_silent_absence(tmp_path, monkeypatch):
    monkeypatch.setenv("RTPIPELINE_PINS", str(tmp_path / "none.txt"))
    with pytest.raises(ConfigError, match="RTPIPELINE_PINS"):
        keys.library_version("no-such-library")
