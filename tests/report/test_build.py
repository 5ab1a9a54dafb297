"""The page: one file, worst first, nothing that identifies, bounded in size."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from rtpipeline.aggregation.stage import run
from rtpipeline.errors import UsageError
from rtpipeline.report import build
from rtpipeline.report.build import num, plain, report_html, signed, write_report
from rtpipeline.report.course import null_reason, worst_first
from rtpipeline.report.tables import ResultTables
from tests.aggregation.fabricate import EVIL_NAME, ROIS, FabricatedCourse, fabricate, standard_courses

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Checks that every tag is closed in order, and collects texts and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    context = fabricate(tmp_path_factory.mktemp("store"))
    run(context)
    return context.out


@pytest.fixture(scope="module")
def html(results) -> str:
    return (results / "report/index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def test_the_page_is_well_formed(page):
    assert page.open == []


def test_the_page_needs_no_other_file_and_runs_nothing(html, page):
    assert not [a for a in page.attributes if a[1] in ("src", "srcset", "data", "action") or a[1].startswith("on")]
    assert all(value.startswith("#") for _, name, value in page.attributes if name in ("href", "xlink:href"))
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    styles += "".join(value for _, name, value in page.attributes if name == "style")
    assert "--ink" in styles
    assert not re.search(r"url\(|@import", styles)
    assert "script" not in page.tags
    assert "link" not in page.tags


def test_every_link_leads_somewhere(page):
    targets = {value for _, name, value in page.attributes if name == "id"}
    assert {value[1:] for _, name, value in page.attributes if name == "href"} <= targets


def test_a_hostile_structure_name_is_text(page):
    assert any(EVIL_NAME in text for text in page.texts)


def test_findings_stand_before_courses_with_title_and_remedy(html):
    assert html.index('id="findings"') < html.index('id="courses"')
    for words in ("Memory ran out on every rung of the ladder", "RES_MEMORY", "rtpipeline retry on a machine"):
        assert words in html


def test_it_says_that_it_is_for_research(page):
    assert any("For research, not for treatment decisions" in text for text in page.texts)


def test_failed_courses_come_first_then_errors_then_warnings():
    def course(name, status, e, w):
        return {"course_id": name, "course_status": status, "findings_e": e, "findings_w": w}

    rows = [
        course("e", "ok", 0, 0),
        course("d", "ok", 0, 3),
        course("c", "ok", 1, 0),
        course("b", "excluded", 2, 0),
        course("a", "failed", 0, 0),
    ]
    assert [r["course_id"] for r in worst_first(rows)] == list("abcde")


def test_every_course_stands_in_the_list_with_its_stages(html):
    for course in standard_courses():
        assert f'href="#{course.course_id}"' in html
    assert "dvh: failed" in html


def test_the_reasons_for_null_are_given(page):
    text = " ".join(page.texts)
    assert "no contours" in text
    assert "42.0 % inside the dose grid: maximum only" in text
    assert "dvh failed" in text


@pytest.mark.parametrize(
    ("structure", "metric", "dvh", "expected"),
    [
        ("empty", {}, "done", "no contours"),
        ("ok", {}, "done", "no dose applies"),
        ("ok", {}, "omitted", "dvh omitted"),
        ("ok", {"dose_status": "ok"}, "done", ""),
        ("ok", {"dose_status": "outside_grid"}, "done", "outside the dose grid"),
        ("ok", {"dose_status": "something_new"}, "done", "something_new"),
    ],
)
def test_a_null_reason_is_never_empty_where_numbers_are_missing(structure, metric, dvh, expected):
    assert null_reason({"status": structure}, metric, dvh) == expected


def test_small_groups_are_flagged(html):
    assert "fewer than 5 patients" in html


def test_groups_of_enough_patients_are_not_flagged(tmp_path):
    context = fabricate(tmp_path, [FabricatedCourse(f"p000000000{n}-c01") for n in range(1, 7)])
    run(context)
    assert "fewer than" not in (context.out / "report/index.html").read_text()


def test_plans_without_image_or_dose_are_listed(tmp_path):
    context = fabricate(
        tmp_path,
        [
            FabricatedCourse(
                "p0000000001-c01", statuses=dict.fromkeys(("prepare_images", "structures", "dvh"), "not_applicable")
            )
        ],
    )
    run(context)
    plans = (context.out / "report/index.html").read_text().split('id="plans"')[1].split("<h2")[0]
    assert "plan-01" in plans
    assert "curative" in plans.lower()


def test_a_cohort_without_dose_has_a_page(tmp_path):
    statuses = {"dvh": "not_applicable", "structures": "not_applicable"}
    context = fabricate(tmp_path, [FabricatedCourse("p0000000001-c01", kind="images_only", statuses=statuses)])
    run(context)
    html = (context.out / "report/index.html").read_text()
    assert Page(html).open == []
    assert "No dose-volume rows" in html
    assert "<svg" not in html


def test_a_single_course_is_open_at_once(tmp_path):
    context = fabricate(tmp_path, [FabricatedCourse("p0000000001-c01")])
    run(context)
    assert '<details class="course" id="p0000000001-c01" open>' in (context.out / "report/index.html").read_text()


def test_a_large_cohort_shows_the_worst_courses_in_full_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "MAX_SECTIONS", 3)
    monkeypatch.setattr(build, "MAX_TARGET_LINES", 4)
    rois = ROIS[:3]
    courses = [FabricatedCourse(f"p00000000{n:02d}-c01", rois=rois) for n in range(12)]
    courses[7] = replace(courses[7], statuses={"dvh": "failed"})
    context = fabricate(tmp_path, courses)
    run(context)
    html = (context.out / "report/index.html").read_text()
    assert html.count('<details class="course"') == 3
    assert "The worst 3 of 12 courses" in html
    assert html.index('id="p0000000007-c01"') < html.index('id="p0000000000-c01"')
    assert html.count('<tr><td class="id">p00000000') + html.count('<tr><td class="id"><a href="#p00000000') >= 12
    assert "median, 10 to 90 %" in html


def test_the_page_is_made_from_the_tables_alone(results, html, tmp_path):
    """Without the store: a copy of the tables and run.json gives the same page."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in [*results.glob("*.parquet"), results / "run.json"]:
        (copy / path.name).write_bytes(path.read_bytes())
    assert write_report(copy).read_text(encoding="utf-8") == html


def test_a_folder_without_results_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="holds no results"):
        write_report(tmp_path)


def test_a_finding_code_that_this_version_does_not_know_is_shown(results):
    tables = ResultTables.load(results)
    strange = {**tables.findings[0], "code": "FROM_ANOTHER_VERSION", "severity": "W"}
    assert "FROM_ANOTHER_VERSION" in report_html(replace(tables, findings=[*tables.findings, strange]))


def test_numbers_are_written_for_people():
    assert num(None) == "–"
    assert num(21471.044, 2) == "21,471.04"
    assert signed(-0.04) == "0.0"
    assert signed(-1.26) == "−1.3"
    assert signed(1.26) == "+1.3"
    assert plain(True) == "yes"
    assert plain(50.0) == "50"
    assert plain("") == "–"
