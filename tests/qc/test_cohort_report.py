"""The report of the cohort leads to the pages of its courses, worst checks first."""

from __future__ import annotations

import json
import re

from rtpipeline.aggregation.stage import run
from rtpipeline.contracts.tables import QC
from rtpipeline.report.build import write_report
from tests.aggregation.fabricate import COHORT, FabricatedCourse, fabricate

FINE, BAD, WITHOUT = "p0000000001-c01", "p0000000002-c01", "p0000000003-c01"


def qc_files(folder, course):
    (folder / "course.html").write_text(f"<p>page of {course.course_id}</p>")
    status = "fail" if course.course_id == BAD else "pass"
    row = {"cohort": COHORT, "patient_id": course.patient_id, "course_id": course.course_id, "check": "images",
           "object": "course", "status": status, "measured": "x", "expected": "y", "findings_e": 0, "findings_w": 0,
           "stage_key": "k", "rtpipeline_version": "0"}  # fmt: skip
    QC.write(QC.frame([row]), folder / "qc.parquet")


def cohort(tmp_path):
    done = {"qc": "done"}
    courses = [FabricatedCourse(FINE, statuses=done), FabricatedCourse(BAD, statuses=done), FabricatedCourse(WITHOUT)]
    context = fabricate(tmp_path, courses, qc=qc_files)
    run(context)
    return context.out


def test_pages_are_carried_under_the_name_of_their_course(tmp_path):
    out = cohort(tmp_path)
    assert sorted(p.name for p in (out / "report/courses").iterdir()) == [f"{FINE}.html", f"{BAD}.html"]
    assert (out / f"report/courses/{BAD}.html").read_text() == f"<p>page of {BAD}</p>"
    crate = json.loads((out / "ro-crate-metadata.json").read_text())
    entry = next(e for e in crate["@graph"] if e["@id"] == f"report/courses/{FINE}.html")
    assert entry["description"] == f"page of course {FINE}"


def test_each_course_with_a_page_is_linked_and_the_worst_comes_first(tmp_path):
    out = cohort(tmp_path)
    table = (out / "report/index.html").read_text().split('id="courses"')[1].split("</table>")[0]
    assert re.findall(r'href="(courses/[^"]+)"', table) == [f"courses/{BAD}.html", f"courses/{FINE}.html"]
    assert all((out / "report" / link).is_file() for link in re.findall(r'href="(courses/[^"]+)"', table))
    order = re.findall(r'href="#(p\d{10}-c01)"', table)
    assert order == [BAD, FINE, WITHOUT]
    assert "1 fail" in table


def test_links_stay_when_the_report_is_written_again(tmp_path):
    out = cohort(tmp_path)
    before = (out / "report/index.html").read_text()
    write_report(out)
    assert (out / "report/index.html").read_text() == before
    assert f"courses/{BAD}.html" in before
