"""The order in which ready stages start."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtpipeline.config import parse_config
from rtpipeline.execution.plan import CohortPlan, Item, course_stages
from rtpipeline.execution.ready_queue import ReadyQueue


@pytest.fixture
def plan() -> CohortPlan:
    """Two courses of the real table, the large one first."""
    items = {
        (course, stage.name): Item(course, course[:-4], stage, "key", Path("out"))
        for course in ("p2-c01", "p1-c01")
        for stage in course_stages()
    }
    return CohortPlan(parse_config({}), "key", {}, items)


def queue_of(plan: CohortPlan, *tasks: tuple[str, str]) -> ReadyQueue:
    queue = ReadyQueue(plan)
    for task in tasks:
        queue.add(plan.items[task])
    return queue


def test_a_course_is_worked_on_to_its_end_before_the_next(plan):
    queue = queue_of(plan, ("p1-c01", "prepare_rt"), ("p2-c01", "dvh"), ("p2-c01", "prepare_rt"))
    assert list(queue.in_order(feed=False)) == [("p2-c01", "prepare_rt"), ("p2-c01", "dvh"), ("p1-c01", "prepare_rt")]


def test_the_stage_with_most_behind_it_comes_first(plan):
    queue = queue_of(plan, ("p1-c01", "qc"), ("p1-c01", "structures"), ("p1-c01", "prepare_images"))
    assert [stage for _, stage in queue.in_order(feed=False)] == ["prepare_images", "structures", "qc"]


def test_stages_of_a_pool_come_first_and_what_feeds_a_hungry_one_next(plan):
    queue = queue_of(plan, ("p2-c01", "dvh"), ("p1-c01", "prepare_images"), ("p1-c01", "segmentation"))
    pool, image, dvh = ("p1-c01", "segmentation"), ("p1-c01", "prepare_images"), ("p2-c01", "dvh")
    assert list(queue.in_order(feed=True)) == [pool, image, dvh]
    assert list(queue.in_order(feed=False)) == [pool, dvh, image]
    assert queue.queued("seg_workers") == 1
    assert queue.queued("custom_seg_workers") == 0


def test_the_order_does_not_depend_on_the_order_of_arrival(plan):
    tasks = [(course, stage.name) for course in ("p1-c01", "p2-c01") for stage in course_stages()]
    forwards, backwards = queue_of(plan, *tasks), queue_of(plan, *reversed(tasks))
    assert list(forwards.in_order(feed=False)) == list(backwards.in_order(feed=False))
    assert len(forwards) == len(tasks)
    for task in tasks:
        forwards.remove(plan.items[task])
    assert list(forwards.in_order(feed=True)) == []


def test_stages_with_processes_of_their_own_are_counted(plan):
    queue = queue_of(
        plan, ("p1-c01", "radiomics"), ("p2-c01", "robustness"), ("p1-c01", "dvh"), ("p1-c01", "segmentation")
    )
    assert queue.waiting_with_processes() == 2
