"""What a run would do, without doing it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rtpipeline.contracts.manifests import CohortManifest
from rtpipeline.dicom.sources import absolute, listing_digest
from rtpipeline.execution.cohort_run import RunOptions, check_inputs, organized
from rtpipeline.execution.plan import CohortPlan, Prediction, forced_stages, make_plan, organize_key, select
from rtpipeline.execution.reasons import Demands, Kind, Reason
from rtpipeline.execution.run_files import earlier_failures
from rtpipeline.store.folder import CohortFolder


@dataclass(frozen=True)
class Foresight:
    """The plan of a run; without `plan` organize has to run first."""

    organize_reason: Reason | None
    plan: CohortPlan | None = None
    predictions: list[Prediction] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        runs = [
            {"course_id": p.course_id, "stage": p.stage, "why": str(p.reason.kind), "detail": p.reason.detail}
            for p in self.predictions
        ]
        return {
            "organize": str(self.organize_reason) if self.organize_reason else None,
            "course_stages": len(self.plan.items) if self.plan else None,
            "would_run": runs,
        }


def foresee(options: RunOptions) -> Foresight:
    """What `run_cohort` would do with the same options.

    Raises
    ------
    UsageError: a source, course or stage does not exist.
    """
    check_inputs(options.inputs, options.store)
    folder = CohortFolder(options.store.absolute(), options.cohort)
    forced = forced_stages(options.force, options.config)
    sources = [absolute(source) for source in options.inputs]
    key = organize_key(listing_digest(sources), options.config)
    done = organized(folder, key)
    if done is None or "organize" in forced:
        return Foresight(Reason(Kind.FORCED if "organize" in forced else Kind.NEW_INPUT))
    manifest = CohortManifest.load(done.folder)
    plan = make_plan(
        manifest,
        options.config,
        folder,
        key,
        selection=select(manifest, options.courses, options.only),
        demands=Demands(forced, options.redo),
        earlier=earlier_failures(folder),
    )
    return Foresight(None, plan, plan.predict())
