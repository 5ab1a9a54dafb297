"""One stage in one folder: what is published, what is recorded, and the exit code."""

from __future__ import annotations

import errno
import json

import pytest

from rtpipeline.config import parse_config
from rtpipeline.contracts.findings import finding
from rtpipeline.contracts.manifests import CohortManifest, Course, StageRecord
from rtpipeline.errors import DataError, ExitCode, OutOfMemoryError, TransientError, UsageError
from rtpipeline.execution import stage_entry
from rtpipeline.execution.context import StageOutcome
from rtpipeline.execution.stage_entry import StageRequest, run_stage, upstream_state
from rtpipeline.stages import STAGES, Resources, Stage
from rtpipeline.store.keys import output_digest

COURSE = "p0123456789-c01"


@pytest.fixture
def stage_of(monkeypatch, tmp_path):
    """Run a function as the stage `prepare_rt`; the exit code and its folder."""
    organize = tmp_path / "organize"
    organize.mkdir()
    course = Course(
        course_id=COURSE,
        patient_id=COURSE[:-4],
        course_order=1,
        course_kind="planned",
        image_digest="0" * 12,
        course_digest="1" * 12,
    )
    CohortManifest(cohort="c", patients=[], courses=[course], counts={}).save(organize)

    def run(function, stage: str = "prepare_rt", **changes):
        monkeypatch.setattr(stage_entry, "import_module", lambda name: type("M", (), {"run": staticmethod(function)}))
        request = StageRequest(
            **{
                "stage": stage,
                "cohort": "c",
                "out": tmp_path / "out" / "key",
                "config": parse_config({"manifest": None}),
                "stage_key": "key",
                "course_id": COURSE,
                "inputs": {"organize": organize},
                **changes,
            }
        )
        return run_stage(request), request.out

    return run


def leftovers(out):
    return [p for p in out.parent.glob("*") if p != out] if out.parent.is_dir() else []


def test_a_stage_that_is_done_leaves_its_files_and_its_record(stage_of):
    def stage(context):
        (context.out / "numbers.txt").write_text("7")
        context.report(finding("RES_SHM", "shm", "64 MiB"))
        return StageOutcome(counts={"numbers": 1})

    code, out = stage_of(stage)
    record = StageRecord.load(out)
    assert code == ExitCode.DONE
    assert (record.status, record.counts, record.course_id) == ("done", {"numbers": 1}, COURSE)
    assert record.output_digest == output_digest(out)
    assert [(f["code"], f["course_id"], f["stage"]) for f in record.findings] == [("RES_SHM", COURSE, "prepare_rt")]
    assert {p.name for p in out.iterdir()} == {"numbers.txt", "findings.parquet", "stage.json"}
    assert leftovers(out) == []


def test_the_output_appears_only_at_the_end(stage_of, tmp_path):
    seen = []

    def stage(context):
        seen.append((tmp_path / "out" / "key").exists())
        assert context.out.parent == tmp_path / "out"
        return StageOutcome()

    stage_of(stage)
    assert seen == [False]


def test_unusable_data_is_recorded_and_ends_with_its_code(stage_of):
    def stage(context):
        raise DataError("no contour has points", [finding("RES_DATA", "rs-01", "0 points")])

    code, out = stage_of(stage)
    record = StageRecord.load(out)
    assert (code, record.status, record.reason) == (ExitCode.DATA, "data_error", "no contour has points")
    assert [f["code"] for f in record.findings] == ["RES_DATA"]


def test_a_fault_is_recorded_without_the_text_of_the_error(stage_of):
    def stage(context):
        try:
            raise KeyError("Doe^John")
        except KeyError:
            raise ValueError("1.2.840.113619") from None

    code, out = stage_of(stage)
    record = StageRecord.load(out)
    assert (code, record.status) == (ExitCode.FAULT, "fault")
    assert [f["code"] for f in record.findings] == ["STAGE_FAULT"]
    assert "test_stage_entry.py" in record.traceback
    assert record.traceback.endswith("ValueError")
    text = (out / "stage.json").read_text()
    assert "Doe^John" not in text
    assert "1.2.840.113619" not in text


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (MemoryError(), "memory"),
        (OutOfMemoryError("one worker is not enough"), "memory"),
        (TransientError("throttled"), "transient"),
        (OSError(errno.ENOSPC, "full"), "transient"),
    ],
)
def test_what_may_pass_leaves_no_output_and_a_note(stage_of, tmp_path, error, note):
    def stage(context):
        (context.out / "half.txt").write_text("half")
        raise error

    code, out = stage_of(stage, note=tmp_path / "note")
    assert code == ExitCode.TRANSIENT
    assert not out.exists()
    assert leftovers(out) == []
    assert (tmp_path / "note").read_text() == note


def test_a_disk_that_fills_up_while_the_record_is_written_is_transient_too(stage_of, monkeypatch):
    def full(scratch, folder):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(stage_entry, "publish", full)
    code, out = stage_of(lambda context: StageOutcome())
    assert code == ExitCode.TRANSIENT
    assert leftovers(out) == []


def test_a_file_that_is_missing_is_a_fault_not_a_transient(stage_of):
    def stage(context):
        raise FileNotFoundError(errno.ENOENT, "gone", "/data/Doe_John/ct.dcm")

    code, out = stage_of(stage)
    assert code == ExitCode.FAULT
    assert "Doe_John" not in (out / "stage.json").read_text()


def test_wrong_usage_leaves_nothing(stage_of):
    def stage(context):
        return context.input("prepare_images")

    with pytest.raises(UsageError, match="give --in prepare_images=DIR"):
        stage_of(stage)


def test_a_stage_is_refused_without_what_it_needs_or_with_what_a_fault_has_left(stage_of, tmp_path):
    with pytest.raises(UsageError, match="needs the output of prepare_images, prepare_rt"):
        stage_of(lambda context: StageOutcome(), stage="structures")

    def fault(context):
        raise ValueError

    _, broken = stage_of(fault, out=tmp_path / "broken")
    _, fine = stage_of(lambda context: StageOutcome(), out=tmp_path / "fine")
    inputs = {"organize": tmp_path / "organize", "prepare_rt": broken, "prepare_images": fine}
    with pytest.raises(UsageError, match="needs the output of prepare_rt"):
        stage_of(lambda context: StageOutcome(), stage="structures", inputs=inputs)


def test_what_a_fault_has_left_of_a_soft_dependency_is_not_read_but_recorded(stage_of, tmp_path):
    def fault(context):
        (context.out / "half.txt").write_text("half")
        raise ValueError

    _, broken = stage_of(fault, out=tmp_path / "broken")
    _, fine = stage_of(lambda context: StageOutcome(), out=tmp_path / "fine")
    given = []

    def stage(context):
        given.append(sorted(context.inputs))
        return StageOutcome()

    inputs = {
        "organize": tmp_path / "organize",
        "prepare_rt": fine,
        "prepare_images": fine,
        "segmentation": broken,
        "custom_models": tmp_path / "absent",
    }
    _, out = stage_of(stage, stage="structures", inputs=inputs)
    assert given == [["organize", "prepare_images", "prepare_rt"]]
    upstream = StageRecord.load(out).upstream
    assert upstream["segmentation"] == upstream_state(broken)
    assert upstream["segmentation"].status == "fault"
    assert upstream["custom_models"].status == "absent"


def test_an_older_output_stays_until_the_new_one_is_complete(stage_of):
    stage_of(lambda context: StageOutcome(reason="first"))
    seen = []

    def second(context):
        folder = context.out.parent / "key"
        seen.append(json.loads((folder / "stage.json").read_text())["reason"])
        return StageOutcome(reason="second")

    _, out = stage_of(second)
    assert seen == ["first"]
    assert StageRecord.load(out).reason == "second"
    assert leftovers(out) == []


def test_a_stage_that_is_not_built_ends_disabled(stage_of, monkeypatch):
    small = Resources(cpu=1, threads=1, memory_mib=(512,), timeout_s=1)
    monkeypatch.setitem(STAGES, "later", Stage("later", "course", "course", None, 1, small, needs=("prepare_rt",)))
    code, out = stage_of(lambda context: StageOutcome(), stage="later")
    assert (code, StageRecord.load(out).status) == (ExitCode.DONE, "disabled")


def test_the_record_names_files_of_the_configuration_but_not_their_folders(stage_of, tmp_path):
    folder = tmp_path / "Doe_John"
    folder.mkdir()
    (folder / "manifest.csv").write_text("patient_id\n")
    _, out = stage_of(lambda context: StageOutcome(), config=parse_config({"manifest": str(folder / "manifest.csv")}))
    assert StageRecord.load(out).config == {"manifest": "manifest.csv"}
    assert "Doe_John" not in (out / "stage.json").read_text()


def partial_then(first: dict, second: dict, stage_of):
    """What the second of two attempts at one key is told of the first, which ended `partial`."""
    seen = []

    def stage(context):
        seen.append(context.previous.joinpath("item").read_text() if context.previous else None)
        (context.out / "item").write_text("kept")
        return StageOutcome(status=first.get("status", "partial"))

    fixed = {"stage_key": "in-settings"}
    stage_of(stage, **fixed)
    stage_of(stage, **{**fixed, **second})
    return seen


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({}, {}, "kept"),
        ({"status": "done"}, {}, None),
        ({}, {"fresh": True}, None),
        ({}, {"stage_key": "in-others"}, None),
        ({}, {"stage_key": ""}, None),
    ],
    ids=["the same work", "nothing was missing", "forced", "another key", "no key"],
)
def test_what_succeeded_of_a_partial_output_may_be_used_again(first, second, told, stage_of):
    assert partial_then(first, second, stage_of) == [None, told]


def test_a_partial_output_of_other_inputs_is_not_used_again(stage_of, tmp_path):
    """`prepare_rt` waits for nothing, so a stage that does: its upstream differs in the second attempt."""
    seen = []

    def stage(context):
        seen.append(context.previous)
        return StageOutcome(status="partial")

    def upstream(name):
        folder = tmp_path / name
        _, out = stage_of(lambda context: (context.out / "x").write_text(name) and StageOutcome(), out=folder)
        return {"organize": tmp_path / "organize", "prepare_rt": out, "prepare_images": out}

    left, right = upstream("left"), upstream("right")
    for inputs in (left, left, right):
        _, out = stage_of(stage, stage="structures", inputs=inputs)
    assert seen == [None, out, None]
