"""`python -m workflows.status`: how a run on the cluster stands, from its workflows and from its bucket."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtpipeline.commands import options
from rtpipeline.errors import ExitCode, RTpipelineError, UsageError
from workflows import command, messages

SHOWN_FAILURES = 50


@dataclass
class RunStatus:
    """A run, as far as cluster and bucket know it."""

    run_id: str
    cohort: str
    state: str
    """`running`, `done`, `some courses failed`, `failed`, `without tables`"""
    workflows: dict[str, str] = field(default_factory=dict)
    """name to phase"""
    stages: dict[str, dict[str, int]] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    results: str | None = None
    note: str = ""

    def text(self) -> str:
        """For people."""
        lines = [f"run {self.run_id} of cohort {self.cohort}: {self.state}"]
        lines += [f"  {name} {phase or 'not seen by Argo yet'}" for name, phase in sorted(self.workflows.items())]
        if self.stages:
            words = list(dict.fromkeys(word for counts in self.stages.values() for word in counts))
            rows = [["stage", *(word.replace("_", " ") for word in words)]]
            rows += [[s, *(str(counts.get(word) or "-") for word in words)] for s, counts in self.stages.items()]
            widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
            lines += ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines += [f"waiting for {reason}: {number}" for reason, number in self.waiting.items()]
        for failed in self.failures[:SHOWN_FAILURES]:
            lines.append(f"{failed['course_id']} {failed['stage']} {failed['status']}: {failed['reason']}".strip())
        if len(self.failures) > SHOWN_FAILURES:
            lines.append(f"and {len(self.failures) - SHOWN_FAILURES} more; --json lists all")
        if self.results:
            lines.append(f"Results: {self.results}")
        return "\n".join([*lines, *([self.note] if self.note else [])])


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command.parser_of(
        "status", "Show how a run on the cluster stands: stages, what waits and why, what failed."
    )
    parser.add_argument("run", metavar="RUN", help="a run's id, or `latest` with --cohort")
    parser.add_argument("--cohort", type=options.cohort_name, metavar="NAME", help="cohort of the run")
    command.add_place(parser)
    command.add_json(parser)
    return parser


def handle(args: argparse.Namespace) -> int:
    """Print the status."""
    run_id = command.one_run(args.run)
    if run_id == "latest" and not args.cohort:
        raise UsageError("`latest` of which cohort? Give --cohort NAME.")
    with tempfile.TemporaryDirectory(prefix="rtpipeline-") as mirror:
        status = run_status(run_id, args.cohort or "", args.namespace, args.store, Path(mirror))
    if args.json:
        options.write_json(as_json(status))
    else:
        options.write_text(status.text())
    return int(ExitCode.DONE)


def as_json(status: RunStatus) -> dict[str, Any]:
    """Plain values."""
    return dict(vars(status))


def run_status(run_id: str, cohort: str, namespace: str | None, store: str | None, mirror: Path) -> RunStatus:
    """The status of a run; what one of cluster and bucket does not know, the other may.

    Raises
    ------
    UsageError: neither knows the run.
    """
    from workflows.creating import labels_of
    from workflows.finding_runs import cohort_store, installed_store, run_in_store, workflows_of
    from workflows.kube import connect
    from workflows.names import LABEL_COHORT, LABEL_RUN
    from workflows.nodes import state_of

    cluster = connect(namespace)
    found = workflows_of(cluster, run_id, cohort)
    if found:
        cohort, run_id = labels_of(found[0])[LABEL_COHORT], labels_of(found[0])[LABEL_RUN]
    elif not cohort:
        raise messages.unknown_run(run_id, f"namespace {cluster.namespace}; with --cohort the bucket is asked too")
    states = [state_of(workflow) for workflow in found]
    try:
        bucket = command.store_bucket(store, installed_store(cluster))
        kept = cohort_store(bucket, cohort, mirror)
        if not found:
            run_id = run_in_store(kept, run_id, with_results=False)
        return _joined(run_id, cohort, states, kept)
    except RTpipelineError as error:
        if not found:
            raise
        status = _joined(run_id, cohort, states, None)
        status.note = f"The bucket could not be asked: {error}"
        return status


def _joined(run_id: str, cohort: str, states: Sequence[Any], store: Any) -> RunStatus:
    """What the workflows say, and once the run's tables are there what its plan says."""
    from rtpipeline.execution.run_outcomes import is_settled
    from workflows.nodes import red_nodes, total_counts
    from workflows.outcome import of_plan, results_url

    status = RunStatus(run_id, cohort, "running", {state.name: state.phase for state in states})
    status.stages = {stage: {w: n for w, n in counts.items() if n} for stage, counts in total_counts(states).items()}
    status.failures = [
        {"course_id": f.course_id, "stage": f.stage, "status": "failed", "reason": f.message} for f in red_nodes(states)
    ]
    for state in states:
        for reason, number in state.waiting.items():
            status.waiting[reason] = status.waiting.get(reason, 0) + number
    live = any(not state.has_ended for state in states)
    plan = store.plan_of(run_id) if store is not None and not live else None
    if plan is not None and is_settled(plan) and store.has_results(run_id, plan):
        summary = of_plan(plan)
        status.results, status.stages = results_url(store, run_id), summary.stages
        status.failures = [dict(vars(failure)) for failure in summary.failures]
        status.state = "some courses failed" if summary.failures else "done"
    elif not live:
        status.state = "failed" if status.failures else "without tables: submit again with --wait to go on"
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return command.run_command(handle, build_parser(), list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    sys.exit(main())
