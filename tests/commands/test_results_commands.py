"""`rtpipeline report` and `rtpipeline export` on a store."""

from __future__ import annotations

import hashlib
import json
import shutil

import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rtpipeline.aggregation.stage import run
from rtpipeline.cli import main
from rtpipeline.errors import ExitCode
from rtpipeline.report import build
from tests.aggregation.fabricate import COHORT, RUN_ID, FabricatedCourse, fabricate


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    context = fabricate(folder, [FabricatedCourse("p0000000001-c01")])
    run(context)
    (folder / COHORT / "private").mkdir(mode=0o700)
    (folder / COHORT / "results" / "latest").symlink_to(RUN_ID, target_is_directory=True)
    return folder


def test_report_writes_the_page_again(store, capsys):
    page = store / COHORT / "results" / RUN_ID / "report" / "index.html"
    before = page.read_bytes()
    page.unlink()
    assert main(["report", "--output", str(store), "--cohort", COHORT, "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out) == {"report": str(page.resolve())}
    assert page.read_bytes() == before


def test_a_page_that_was_written_anew_keeps_the_crate_true(store, monkeypatch):
    monkeypatch.setattr(build, "FIRST_COURSES", 0)
    results = store / COHORT / "results" / RUN_ID
    assert main(["report", "--output", str(store), "--cohort", COHORT]) == ExitCode.DONE
    graph = json.loads((results / "ro-crate-metadata.json").read_text())["@graph"]
    entry = next(e for e in graph if e["@id"] == "report/index.html")
    assert entry["sha256"] == hashlib.sha256((results / "report/index.html").read_bytes()).hexdigest()
    assert len(graph) == len({e["@id"] for e in graph})


@pytest.mark.parametrize(
    ("kind", "suffix", "files"),
    [("csv", ".csv", 14), ("csv-comma", ".csv", 14), ("xlsx", ".xlsx", 1), ("parquet", ".parquet", 15)],
)
def test_export_writes_each_format_with_the_data_dictionary(store, tmp_path, capsys, kind, suffix, files):
    to = tmp_path / "out"
    code = main(["export", "--output", str(store), "--cohort", COHORT, "--to", str(to), "--format", kind, "--json"])
    assert code == ExitCode.DONE
    assert sorted(json.loads(capsys.readouterr().out)["files"]) == sorted(str(p) for p in to.iterdir())
    assert len(list(to.glob(f"*{suffix}"))) == files
    assert (to / "data_dictionary.md").is_file()


def test_all_formats_hold_the_same_mean_dose(store, tmp_path):
    for kind in ("csv", "csv-comma", "xlsx", "parquet"):
        assert (
            main(["export", "--output", str(store), "--cohort", COHORT, "--to", str(tmp_path / kind), "--format", kind])
            == 0
        )
    sheet = openpyxl.load_workbook(tmp_path / "xlsx" / "rtpipeline_results.xlsx")["dvh_metrics"]
    header = [c.value for c in sheet[1]]
    found = [
        pq.read_table(tmp_path / "parquet/dvh_metrics.parquet")["dmean_gy"].to_pylist(),
        pd.read_csv(tmp_path / "csv/dvh_metrics.csv")["dmean_gy"]
        .astype(object)
        .where(lambda s: s.notna(), None)
        .tolist(),
        pd.read_csv(tmp_path / "csv-comma/dvh_metrics.csv", sep=";", decimal=",")["dmean_gy"]
        .astype(object)
        .where(lambda s: s.notna(), None)
        .tolist(),
        [row[header.index("dmean_gy")] for row in sheet.iter_rows(min_row=2, values_only=True)],
    ]
    assert found[0] == found[1] == found[2] == found[3]
    assert None in found[0]


@pytest.mark.parametrize("run_id", ["20200101-000000-abcdef", "..", "../results", ""])
def test_a_run_that_does_not_exist_is_refused_with_those_that_do(store, capsys, run_id):
    assert main(["report", "--output", str(store), "--cohort", COHORT, "--run", run_id]) == ExitCode.USAGE
    assert f"there are {RUN_ID}" in capsys.readouterr().err


def test_a_cohort_without_results_is_refused(store, tmp_path, capsys):
    (tmp_path / COHORT / "private").mkdir(parents=True)
    assert (
        main(["export", "--output", str(tmp_path), "--cohort", COHORT, "--to", str(tmp_path / "x")]) == ExitCode.USAGE
    )
    assert "use `rtpipeline run`" in capsys.readouterr().err


def test_export_does_not_write_into_the_results(store, capsys):
    inside = store / COHORT / "results" / RUN_ID / "csv"
    assert main(["export", "--output", str(store), "--cohort", COHORT, "--to", str(inside)]) == ExitCode.USAGE
    assert "outside" in capsys.readouterr().err


def test_export_does_not_write_onto_a_file(store, tmp_path, capsys):
    file = shutil.copyfile(store / COHORT / "results" / RUN_ID / "run.json", tmp_path / "file")
    assert main(["export", "--output", str(store), "--cohort", COHORT, "--to", str(file)]) == ExitCode.USAGE
    assert "is a file" in capsys.readouterr().err
