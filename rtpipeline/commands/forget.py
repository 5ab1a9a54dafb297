"""`rtpipeline forget`: a withdrawn patient leaves the cohort."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtpipeline.commands import options
from rtpipeline.errors import ExitCode

if TYPE_CHECKING:
    from rtpipeline.store.bucket_forget import Removed
    from rtpipeline.store.folder import CohortFolder

IN_BUCKET = """\
of a store in a bucket:
  No run, submission or upload of the cohort may be under way, here or on another machine or cluster. A run that has
  written within 15 minutes is noticed, others are not: `python -m workflows.status` lists those of a cluster.
  Outputs, tables, plans, requests, the patient's uploaded files and configurations whose files name the patient go.
  A list of an upload that names the patient is replaced by one of the rest, whose URL is told. The next run organizes
  anew and computes nothing else again. When it is cut off, the same command goes on. A folder of `run --cache` drops
  what the bucket has no more: that of this machine at once, others with their next run.
"""


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(
        verbs,
        "forget",
        "remove a withdrawn patient from store, registry and results",
        "The export is not touched: remove the patient there too, or a later run brings them back.",
        epilog=IN_BUCKET,
    )
    parser.add_argument("patient", metavar="PATIENT_ID", help="pseudonym of the tables, or the original PatientID")
    options.add_bucket_store(parser)
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    options.add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Show, ask, remove, write the latest tables again."""
    from rtpipeline.config import Config
    from rtpipeline.execution.environment import limit_threads, stage_threads

    limit_threads(stage_threads("aggregation", Config()))  # the tables are written in this process
    return _in_folder(args) if isinstance(args.output, Path) else _in_bucket(args)


def _in_folder(args: argparse.Namespace) -> int:
    from rtpipeline.store.forget import courses_of, find_patient, forget, remove_results

    options.refuse_bucket_options(args)
    folder = options.existing_cohort(args)
    with folder.lock():
        patients = find_patient(folder, args.patient)
        courses = courses_of(folder, patients)
        if not _agreed(patients, courses, args):
            return int(ExitCode.DONE)
        forget(folder, patients)
        removed = remove_results(folder)
        rebuilt = _rebuild(folder) if removed else None
    _say(patients, courses, removed, rebuilt, args)
    return int(ExitCode.DONE)


def _in_bucket(args: argparse.Namespace) -> int:
    from rtpipeline.execution.bucket_cohort import BucketCohort
    from rtpipeline.execution.bucket_tables import write_latest_again
    from rtpipeline.execution.stage_log import configure_logging
    from rtpipeline.store.bucket_forget import BucketWithdrawal
    from rtpipeline.store.folder import CohortFolder

    cohort = BucketCohort.existing(args.output, args.cohort, args.cache)
    with cohort.held(stopped=args.stopped), tempfile.TemporaryDirectory(prefix="rtpipeline-") as copies:
        folder = CohortFolder(Path(copies), args.cohort)
        withdrawal = BucketWithdrawal(cohort.store, folder, args.patient)
        if not _agreed(withdrawal.patients, withdrawal.courses, args):
            return int(ExitCode.DONE)
        configure_logging()
        withdrawal.remove()
        rebuilt = write_latest_again(cohort.store, folder)
        withdrawal.finish()
        cohort.drop_withdrawn()
        versions = cohort.old_versions()
    removed = withdrawal.removed
    _say(withdrawal.patients, withdrawal.courses, removed.results, rebuilt, args, removed, versions)
    return int(ExitCode.DONE)


def _agreed(patients: list[str], courses: list[str], args: argparse.Namespace) -> bool:
    question = f"Remove {', '.join(patients)} with {len(courses)} courses from cohort {args.cohort}?"
    return options.confirmed(question, args)


def _say(
    patients: list[str],
    courses: list[str],
    results: list[str],
    rebuilt: str | None,
    args: argparse.Namespace,
    removed: Removed | None = None,
    versions: str = "",
) -> None:
    """What has gone, and what the user has to do besides."""
    notes = [*_notes(removed), *filter(None, [versions])] if removed else []
    if args.json:
        found: dict[str, Any] = {
            "patients": patients,
            "courses": courses,
            "removed_results": results,
            "results": rebuilt,
        }
        if removed is not None:
            found |= {
                "uploaded_files": removed.uploaded_files,
                "new_sources": removed.new_sources,
                "removed_configurations": removed.configurations,
                "notes": notes,
            }
        options.write_json(found)
        return
    lines = [
        f"{', '.join(patients)} removed with {len(courses)} courses and the tables of {len(results)} runs. "
        + (f"Tables without them: {rebuilt}." if rebuilt else "No tables are left; the next run writes them."),
        *notes,
        "Remove the patient from the export (folder, archive or s3:// prefix) too, or a later run brings them back.",
    ]
    options.write_text("\n".join(lines) if notes else " ".join(lines))


def _notes(removed: Removed) -> list[str]:
    """What has gone from a bucket besides outputs and tables."""
    notes = []
    if removed.uploaded_files:
        notes.append(
            f"{removed.uploaded_files} uploaded files removed, {removed.unnamed_files} of them such as name no patient "
            "(a DICOMDIR, notes)."
        )
    if removed.shared_archives:
        notes.append(
            f"{removed.shared_archives} of them were archives that hold other patients too: make them anew without the "
            "patient and upload them, or the others lack what was in them."
        )
    if removed.new_sources:
        notes.append(f"What remains of the upload: {', '.join(removed.new_sources)}")
    if removed.configurations:
        notes.append(
            f"Configurations removed because a file of them names the patient: {', '.join(removed.configurations)}. "
            "Take the patient out of the file, then submit again."
        )
    return notes


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
