"""The Workflow objects that a submission creates: a reference to a template, its arguments, and labels. Data only, so
that they pass where the cluster lets people start installed templates and nothing else (`templateReferencing: Strict`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rtpipeline import __version__
from rtpipeline.store.bucket import Bucket
from workflows.kube import API_VERSION, GROUP, Object
from workflows.names import (
    AGGREGATE,
    ANNOTATION_TITLE,
    ANNOTATION_VERSION,
    COHORT,
    COURSES,
    LABEL_COHORT,
    LABEL_RUN,
)

LABEL_REQUEST = "rtpipeline/request"
ORGANIZE = "organize"


@dataclass(frozen=True)
class Run:
    """What all workflows of a run have in common."""

    cohort: str
    run_id: str
    request: str
    configuration: str
    store: str
    """s3://bucket/prefix"""
    source: str
    namespace: str

    @property
    def arguments(self) -> dict[str, str]:
        """Of every template."""
        return {
            "cohort": self.cohort,
            "configuration": self.configuration,
            "run": self.run_id,
            "prefix": Bucket.open(self.store).prefix,
            "store": self.store,
        }


@dataclass(frozen=True)
class Piece:
    """One Workflow that is to be created."""

    template: str
    part: str
    """what its name says besides cohort and request: '', 'organize', 's000', 'aggregate'"""
    arguments: Mapping[str, str]
    title: str
    entrypoint: str = ""

    def body(self, run: Run, name: str) -> Object:
        """The object."""
        spec: Object = {
            "workflowTemplateRef": {"name": self.template},
            "arguments": {"parameters": [{"name": n, "value": v} for n, v in self.arguments.items()]},
        }
        return {
            "apiVersion": f"{GROUP}/{API_VERSION}",
            "kind": "Workflow",
            "metadata": {
                "name": name,
                "namespace": run.namespace,
                "labels": {LABEL_COHORT: run.cohort, LABEL_RUN: run.run_id, LABEL_REQUEST: run.request},
                "annotations": {ANNOTATION_VERSION: __version__, ANNOTATION_TITLE: self.title},
            },
            "spec": {"entrypoint": self.entrypoint, **spec} if self.entrypoint else spec,
        }


def whole_cohort(run: Run) -> Piece:
    """Everything in one Workflow, planned by organize's pod."""
    return Piece(COHORT, "", {**run.arguments, "source": run.source}, f"{run.cohort}: whole cohort")


def organize_alone(run: Run) -> Piece:
    """The first step of the same template."""
    arguments = {**run.arguments, "source": run.source}
    return Piece(COHORT, "organize", arguments, f"{run.cohort}: find the courses", entrypoint=ORGANIZE)


def shard(run: Run, number: int, total: int, items: Sequence[str], keys: Mapping[str, str]) -> Piece:
    """A list of courses.

    Parameters
    ----------
    number: from 0. keys: `organize_key` and `settings`, as the template takes them.
    """
    listed = json.dumps(list(items), separators=(",", ":"))
    arguments = {**run.arguments, "source": run.source, **keys, "items": listed}
    return Piece(COURSES, f"s{number:03d}", arguments, f"{run.cohort}: courses, part {number + 1} of {total}")


def aggregate(run: Run, organize_key: str, aggregation_key: str) -> Piece:
    """The tables of the cohort."""
    arguments = {**run.arguments, "organize_key": organize_key, "aggregation_key": aggregation_key}
    return Piece(AGGREGATE, "aggregate", arguments, f"{run.cohort}: results")


def course_keys(organize_key: str, settings: Mapping[str, str]) -> dict[str, str]:
    """The arguments that are the same for every course."""
    return {
        "organize_key": organize_key,
        "settings": json.dumps(dict(settings), separators=(",", ":")),
    }
