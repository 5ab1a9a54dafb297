"""What is printed at the end of a submission."""

from __future__ import annotations

import pytest

from rtpipeline.execution.summary import Failure, RunSummary
from workflows.answer import Answer

RUN = "20260101-000000-abcdef"


def test_workflows_are_listed_with_links_where_the_page_of_argo_is_known(monkeypatch: pytest.MonkeyPatch):
    answer = Answer("submitted", 0, "toys", RUN, "rt", [f"w{n}" for n in range(7)], message="Submitted.")
    monkeypatch.delenv("ARGO_SERVER", raising=False)
    assert answer.text().splitlines() == ["Submitted.", *(f"  w{n}" for n in range(5)), "  and 2 more"]
    monkeypatch.setenv("ARGO_SERVER", "argo.example:2746")
    assert "  w0  https://argo.example:2746/workflows/rt/w0" in answer.text()


def test_json_has_the_counts_and_failures_of_the_run_and_what_was_created():
    failures = [Failure("p1-c01", "dvh", "data_error", "no dose")]
    courses = {"total": 2, "done": 1, "failed": 1, "not_reached": 0}
    summary = RunSummary("some_failed", 1, "toys", RUN, courses=courses, failures=failures)
    found = Answer("some_failed", 1, "toys", RUN, "rt", ["w"], 1, "s3://b/toys/results", summary=summary).as_json()
    assert found["failures"] == [{"course_id": "p1-c01", "stage": "dvh", "status": "data_error", "reason": "no dose"}]
    assert (found["status"], found["exit_code"], found["created"], found["results"]) == (
        "some_failed",
        1,
        1,
        "s3://b/toys/results",
    )


def test_results_come_with_the_command_that_fetches_them():
    answer = Answer("nothing to do", 0, "toys", RUN, "rt", results="s3://b/toys/results", message="Nothing to do.")
    assert f"python -m workflows.fetch {RUN} DIR --cohort toys" in answer.text()
