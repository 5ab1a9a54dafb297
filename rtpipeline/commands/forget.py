"""`rtpipeline forget`: a withdrawn patient leaves the cohort."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from rtpipeline.commands import options
from rtpipeline.errors import ExitCode

if TYPE_CHECKING:
    from rtpipeline.store.folder import CohortFolder


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs,
        "forget",
        "remove a withdrawn patient from store, registry and results",
        "The export is not touched: remove the patient there too, or a later run brings them back.",
    )
    parser.add_argument("patient", metavar="PATIENT_ID", help="pseudonym of the tables, or the original PatientID")
    options.add_store(parser)
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    options.add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Show, ask, remove, write the latest tables again."""
    from rtpipeline.config import Config
    from rtpipeline.execution.environment import limit_threads, stage_threads

    limit_threads(stage_threads("aggregation", Config()))  # the tables are written in this process

    from rtpipeline.store.forget import courses_of, find_patient, forget, remove_results

    folder = options.existing_cohort(args)
    with folder.lock():
        patients = find_patient(folder, args.patient)
        courses = courses_of(folder, patients)
        question = f"Remove {', '.join(patients)} with {len(courses)} courses from cohort {args.cohort}?"
        if not options.confirmed(question, args):
            return int(ExitCode.DONE)
        forget(folder, patients)
        removed = remove_results(folder)
        rebuilt = _rebuild(folder) if removed else None
    message = (
        f"{', '.join(patients)} removed with {len(courses)} courses and the tables of {len(removed)} runs. "
        + (f"Tables without them: {rebuilt}. " if rebuilt else "No tables are left; `rtpipeline run` writes them. ")
        + "Remove the patient from the export too, or a later run brings them back."
    )
    if args.json:
        options.write_json(
            {"patients": patients, "courses": courses, "removed_results": removed, "results": rebuilt and str(rebuilt)}
        )
    else:
        options.write_text(message)
    return int(ExitCode.DONE)


def _rebuild(folder: CohortFolder) -> str | None:
    """Write the tables of the latest run again; None when that fails."""
    from rtpipeline.execution.cohort_run import aggregation_request
    from rtpipeline.execution.run_files import latest_run, read_plan, remembered_inputs
    from rtpipeline.execution.stage_entry import run_stage
    from rtpipeline.execution.stage_log import configure_logging
    from rtpipeline.execution.summary import point_latest

    run_id = latest_run(folder)
    if run_id is None:
        return None
    configure_logging()
    request = aggregation_request(folder, run_id, read_plan(folder, run_id), remembered_inputs(folder).config)
    if run_stage(request) != ExitCode.DONE:
        return None
    point_latest(folder.results, run_id)
    return str(folder.results / run_id)
