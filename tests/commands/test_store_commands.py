"""Commands on a store, after a real run of two small patients."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rtpipeline.cli import main
from rtpipeline.contracts.manifests import StageRecord
from rtpipeline.demo.small import small_patient

FAST = (
    "segmentation: {enabled: false}\ncustom_models: {enabled: false}\nradiomics_robustness: {enabled: false}\n"
    "radiomics: {profile: original, structures: [GTV]}\n"
)
"""Settings of every run here: what is left out takes longest."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `export` and `store`, one run old."""
    root = tmp_path_factory.mktemp("cohort")
    for number in (1, 2):
        small_patient(seed=number, patient_id=f"DEMO-90{number}").save(root / "export" / str(number))
    arguments = ["run", "--input", str(root / "export"), "--output", str(root / "store"), *map(str, configured(root))]
    assert main(arguments) == 0
    return root


def configured(root: Path, settings: str = "") -> tuple[object, ...]:
    """`--config` with settings besides those of every run here."""
    (root / "c.yaml").write_text(FAST + settings)
    return "--config", root / "c.yaml"


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change; times are kept, so that the listing is the same."""
    shutil.copytree(made, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def answer(capsys, *arguments: object) -> dict:
    """What a command prints with --json."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def identities(root: Path) -> dict[str, str]:
    """PatientID to pseudonym."""
    table = pq.read_table(root / "store" / "cohort" / "private" / "identity.parquet").to_pandas()
    return dict(zip(table["patient_key"], table["patient_id"], strict=True))


def test_status_shows_every_course_and_stage(root, capsys):
    seen = answer(capsys, "status", "--output", root / "store")
    assert seen["state"] == "done"
    assert {c["course_id"].rpartition("-")[0] for c in seen["courses"]} == set(identities(root).values())
    assert all(c["stages"]["dvh"]["status"] == "done" for c in seen["courses"])
    assert main(["status", "--output", str(root / "store")]) == 0
    table = capsys.readouterr().out
    assert "2 courses, 0 failed" in table
    assert "prepare_images" in table


def test_plan_after_a_run_is_empty_and_names_a_changed_setting(root, capsys):
    place = ("--input", root / "export", "--output", root / "store")
    assert answer(capsys, "plan", *place, *configured(root))["would_run"] == []
    would = answer(capsys, "plan", *place, *configured(root, "images: {max_gap_mm: 5}\n"))["would_run"]
    images = [w for w in would if w["stage"] == "prepare_images"]
    assert [(w["why"], w["detail"]) for w in images] == [("changed setting", "images.max_gap_mm 10.0 -> 5.0")] * 2
    assert not [w for w in would if w["stage"] == "prepare_rt"]


def test_gc_removes_what_no_current_key_names_after_showing_it(root, capsys):
    place = ("--output", root / "store")
    assert answer(capsys, "gc", *place, "--yes")["outputs"] == []
    before = set((root / "store").glob("cohort/courses/*/*/*"))
    config = configured(root, "dvh: {coverage_limit_pct: 98}\n")
    answer(capsys, "run", "--input", root / "export", "--output", root / "store", *config)
    added = set((root / "store").glob("cohort/courses/*/*/*")) - before
    assert {p.parent.name for p in added} == {"dvh", "qc"}

    capsys.readouterr()
    assert main(["gc", *map(str, place)]) == 2, "nobody to ask"
    out, err = capsys.readouterr()
    assert "Give --yes" in err
    assert "4 folders" in out
    assert answer(capsys, "gc", *place, "--keep-runs", 2, "--yes")["outputs"] == []

    removed = answer(capsys, "gc", *place, "--yes")["outputs"]
    assert {Path(o["path"]).parent.name for o in removed} == {"dvh", "qc"}
    kept = set((root / "store").glob("cohort/courses/*/*/*"))
    assert added <= kept
    assert len(before - kept) == 4
    assert (root / "store" / "cohort" / "results" / "latest" / "dvh_metrics.parquet").is_file()


def test_gc_removes_what_killed_processes_have_left(root, capsys):
    left = next((root / "store").glob("cohort/courses/*/dvh")) / ".partial-key-abc"
    left.mkdir()
    (outputs,) = [answer(capsys, "gc", "--output", root / "store", "--yes")["outputs"]]
    assert [Path(o["path"]) for o in outputs] == [left]
    assert not left.exists()


@pytest.mark.parametrize("by", ["pseudonym", "patient id"])
def test_a_forgotten_patient_is_in_no_file_of_the_cohort(root, capsys, by):
    known = identities(root)
    gone, stays = known["DEMO-901"], known["DEMO-902"]
    seen = answer(capsys, "forget", gone if by == "pseudonym" else "DEMO-901", "--output", root / "store", "--yes")
    assert seen["patients"] == [gone]
    assert seen["courses"] == [f"{gone}-c01"]
    cohort = root / "store" / "cohort"
    for path in cohort.rglob("*"):
        assert gone not in path.name
        if path.is_file():
            text = pq.read_table(path).to_pandas().to_csv() if path.suffix == ".parquet" else path.read_text("latin-1")
            assert gone not in text, path
            assert "DEMO-901" not in text, path
    tables = Path(seen["results"])
    assert pq.read_table(tables / "courses.parquet")["patient_id"].unique().to_pylist() == [stays]
    assert (cohort / "results" / "latest").resolve() == tables


def test_the_others_are_not_computed_again_after_a_patient_was_forgotten(root, capsys):
    answer(capsys, "forget", "DEMO-901", "--output", root / "store", "--yes")
    stays = identities(root)["DEMO-902"]
    shutil.rmtree(root / "export" / "1")
    records = {p: p.stat().st_mtime_ns for p in (root / "store").glob(f"cohort/courses/{stays}-c01/*/*/stage.json")}
    summary = answer(capsys, "run", "--input", root / "export", "--output", root / "store", *configured(root))
    assert summary["courses"]["total"] == 1
    assert {p: p.stat().st_mtime_ns for p in records} == records


def test_an_unknown_patient_is_refused(root, capsys):
    assert main(["forget", "NOBODY", "--output", str(root / "store"), "--yes"]) == 2
    assert "no patient of cohort" in capsys.readouterr().err


def test_a_stage_alone_gives_the_output_of_the_run(root, capsys, tmp_path):
    """`rtpipeline stage` is what a pod runs. In a process of its own: the thread limits hold from the start of one.

    Run inside a process whose OpenBLAS had two threads, mean doses differed in the last bit.
    """
    cohort = root / "store" / "cohort"
    course = next((cohort / "courses").iterdir())
    wanted = next((course / "dvh").iterdir())
    inputs = [f"{name}={next((course / name).iterdir())}" for name in ("prepare_rt", "structures")]
    inputs.append(f"organize={next((cohort / 'organize').iterdir())}")
    arguments = [word for given in inputs for word in ("--in", given)]
    out = tmp_path / "dvh"
    command = [sys.executable, "-m", "rtpipeline", "stage", "dvh", "--course", course.name, *arguments]
    subprocess.run([*command, "--out", str(out), "--key", wanted.name], check=True)
    alone, run = StageRecord.load(out), StageRecord.load(wanted)
    assert alone.output_digest == run.output_digest
    assert (alone.upstream, alone.settings_digest, alone.stage_key) == (
        run.upstream,
        run.settings_digest,
        run.stage_key,
    )


def test_retry_remembers_export_and_configuration(root, capsys):
    """Paths of the export are kept under `private/` only."""
    place = ("--output", root / "store")
    config = configured(root, "dvh: {coverage_limit_pct: 98}\n")
    answer(capsys, "run", "--input", root / "export", *place, *config)
    before = set((root / "store").glob("cohort/courses/*/*/*"))
    assert answer(capsys, "retry", *place)["courses"] == {
        "total": 2,
        "done": 2,
        "failed": 0,
        "not_reached": 0,
        "incomplete": 0,
    }
    assert set((root / "store").glob("cohort/courses/*/*/*")) == before


def test_a_cohort_that_does_not_exist_is_refused_with_those_that_do(root, capsys):
    for verb in ("status", "retry", "gc"):
        assert main([verb, "--output", str(root / "store"), "--cohort", "other"]) == 2
        assert "no cohort other" in capsys.readouterr().err
