"""What pods read from and write to the bucket: key-only artifacts, every key made by the store's own function.

Argo uploads the outputs of failed containers too, in the order given here. All are optional: they appear in the pod by
one rename when the stage has ended, and the record comes last.
"""

from __future__ import annotations

from rtpipeline.stages import Stage
from rtpipeline.store.keys import key, stage_path
from rtpipeline.store.packing import DATA, RECORD, TABLES
from rtpipeline.store.private_mark import FILES, MARKER
from workflows import expressions as ex
from workflows.strict import hera, models

PARTS = {"data": DATA, "tables": TABLES, "record": RECORD}
"""The objects of a stage's output, in the order of upload."""

IN, OUT, WORK = "/work/in", "/work/out", "/work"
COHORT = ex.parameter("cohort")
RUN = ex.value(ex.RUN)


def bucket_key(*parts: str) -> str:
    """Key below the prefix and the cohort."""
    return ex.parameter("prefix") + str(key(COHORT, *parts))


def _artifact(name: str, path: str, key_: str) -> hera.S3Artifact:
    # without `archive: none` Argo would unpack what looks like a tar on the way in, and pack again on the way out
    return hera.S3Artifact(name=name, path=path, key=key_, archive=hera.NoneArchiveStrategy(), optional=True)


def _stage_folder(stage: Stage, stage_key: str) -> str:
    course_id = ex.input_parameter("course") if stage.scope == "course" else None
    return ex.parameter("prefix") + str(stage_path(COHORT, stage.name, stage_key, course_id))


def stage_input(stage: Stage, stage_key: str, name: str = "") -> hera.S3Artifact:
    """The objects of a stage's output, as the folder `/work/in/<name>`; it does not appear where the bucket has none.

    One artifact and not one for each object: the status of a workflow, a megabyte at most, repeats every artifact twice
    or more for each course. Its key has no slash at its end: SeaweedFS answers such a request with an empty object.
    """
    name = name or stage.name
    return _artifact(name, f"{IN}/{name}", _stage_folder(stage, stage_key))


def configuration_input() -> hera.S3Artifact:
    """The bundle of the configuration that the workflow names."""
    source = bucket_key("private", "configurations", ex.parameter("configuration") + ".tgz")
    return _artifact("configuration", f"{IN}/config.tgz", source)


def stage_outputs(stage: Stage, stage_key: str) -> list[hera.S3Artifact]:
    """The output of a course's stage, the record last."""
    folder = _stage_folder(stage, stage_key)
    return [_artifact(part, f"{OUT}/{file}", f"{folder}/{file}") for part, file in PARTS.items()]


def planner_outputs(stage: Stage) -> list[hera.S3Artifact]:
    """The output of the stage that finds the courses, the plan of the run, and the private files, their key last.

    Its own key and that of the facts are known only when it has run. So they are folders:
    `/work/out/data/<key>/data.tgz` goes to `<cohort>/organize/<key>/data.tgz`.
    """
    own = bucket_key(stage.name) + "/"
    parts = [_artifact(part, f"{OUT}/{part}", own) for part in PARTS]
    private = (*FILES, MARKER)
    return [
        *parts,
        _artifact("facts", f"{OUT}/facts", bucket_key("runs", "facts") + "/"),
        _artifact("plan", f"{OUT}/plan.json", bucket_key("runs", RUN, "plan.json")),
        *(
            _artifact(f"private_{file.partition('.')[0]}", f"{OUT}/private/{file}", bucket_key("private", file))
            for file in private
        ),
    ]


def collector_outputs() -> list[hera.S3Artifact]:
    """The results as plain files, the plan with how each stage ended, and the pointer to the newest results, last."""
    return [
        _artifact("results", f"{OUT}/results", bucket_key("results", RUN) + "/"),
        _artifact("plan", f"{OUT}/plan.json", bucket_key("runs", RUN, "plan.json")),
        _artifact("latest", f"{OUT}/latest.json", bucket_key("results", "latest.json")),
    ]


def parameter_outputs(*names: str) -> list[hera.Parameter]:
    """Output parameters from files below `/work/out/parameters`; empty where the pod failed before it wrote them."""
    return [
        hera.Parameter(name=name, value_from=models.ValueFrom(path=f"{OUT}/parameters/{name}", default=""))
        for name in names
    ]
