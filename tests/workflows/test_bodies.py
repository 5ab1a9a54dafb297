"""What the client fills in is what the installed templates ask for."""

from __future__ import annotations

import json

import pytest

from rtpipeline.stages import COURSE_STAGES
from tests.workflows.simulated_cohort import FACTS, course
from workflows import kube
from workflows.bodies import (
    Piece,
    Run,
    aggregate,
    course_keys,
    organize_alone,
    shard,
    whole_cohort,
)
from workflows.record import MOST_IN_ONE

LARGEST_BODY_BYTES = 1024 * 1024
"""What Argo takes as one Workflow."""

RUN = Run("toys", "20260101-000000-abcdef", "0" * 12, "c-000000000000", "s3://b/p/q", "s3://b/x", "rt")


def pieces() -> list[Piece]:
    keys = course_keys("0" * 12 + "-" + "1" * 12, dict.fromkeys(COURSE_STAGES, "2" * 12))
    items = [f"{course(n).course_id}:{'a' * 12}:{'b' * 12}:{'1' * len(COURSE_STAGES)}" for n in range(MOST_IN_ONE)]
    return [whole_cohort(RUN), organize_alone(RUN), shard(RUN, 0, 1, items, keys), aggregate(RUN, "k", "a")]


@pytest.mark.parametrize("piece", pieces(), ids=lambda piece: piece.part or "whole")
def test_each_argument_is_one_of_the_template_and_none_is_lacking(piece: Piece, rendered: dict[str, kube.Object]):
    template = rendered[piece.template]["spec"]
    asked = {p["name"]: p.get("value") for p in template["arguments"]["parameters"]}
    assert set(piece.arguments) <= set(asked)
    assert {name for name, value in asked.items() if value is None} <= set(piece.arguments)
    body = piece.body(RUN, "rt-toys")
    entrypoint = body["spec"].get("entrypoint", template["entrypoint"])
    assert entrypoint in {t["name"] for t in template["templates"]}


def test_the_largest_workflow_is_far_from_what_argo_takes():
    sizes = [len(json.dumps(piece.body(RUN, "rt-toys")).encode()) for piece in pieces()]
    assert max(sizes) < LARGEST_BODY_BYTES / 50


def test_every_course_stage_has_its_settings_digest():
    from rtpipeline.config import parse_config

    settings = FACTS.settings(parse_config({}))
    text = course_keys("k", {name: settings[name] for name in COURSE_STAGES})["settings"]
    assert set(json.loads(text)) == set(COURSE_STAGES)


def test_prefix_and_store_say_the_same():
    assert RUN.arguments["prefix"] == "p/q/"
    assert Run("c", "r", "q", "d", "s3://b", "s3://b/x", "rt").arguments["prefix"] == ""
