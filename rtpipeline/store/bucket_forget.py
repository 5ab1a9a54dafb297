"""Removing a withdrawn patient from a cohort whose store is a bucket.

What is small (private files, organize's outputs, plans) is fetched and changed here by what does it in a folder, and
sent back; outputs of courses, results and uploaded files are removed where they are. The order: first what makes other
things count (the mark of organize, records, lists), last the identity by which the patient is found. So after a
cut-off nothing half removed passes for whole, and the same command finds the patient again and goes on.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pyarrow.parquet as pq

from rtpipeline.store.bucket import Bucket
from rtpipeline.store.configuration import FILES as CONFIGURATION_FILES
from rtpipeline.store.folder import CohortFolder, passing_folder
from rtpipeline.store.forget import Originals, courses_among, find_patient, forget, originals
from rtpipeline.store.mirror import THREADS, get, mirror_outputs
from rtpipeline.store.packing import OBJECTS, RECORD, members, pack, removal_order
from rtpipeline.store.private_mark import FILES, MARKER
from rtpipeline.store.transfers import in_order
from rtpipeline.store.withdrawals import WITHDRAWALS, with_another
from rtpipeline.store.withdrawn_uploads import UploadsToGo, Withdrawn, uploads_to_go

log = logging.getLogger(__name__)

INDEX, IDENTITY, REGISTRY = FILES
RUN_FILES = frozenset({"plan.json", "ledger.jsonl"})
CONFIGURATIONS = "private/configurations"
WORDS = re.compile(rb"[,;\t\r\n\"]")
"""What separates the cells of a CSV."""


@dataclass
class Removed:
    """What a withdrawal has removed from a bucket."""

    results: list[str] = field(default_factory=list)
    """runs whose tables are gone"""
    uploaded_files: int = 0
    shared_archives: int = 0
    """of the uploaded files: those that hold other patients too"""
    unnamed_files: int = 0
    """of the uploaded files: those that name no patient"""
    new_sources: list[str] = field(default_factory=list)
    """URLs of the lists of what remains of uploads"""
    configurations: list[str] = field(default_factory=list)
    """configurations whose files name the patient"""


class BucketWithdrawal:
    """One withdrawal of patients from one cohort."""

    def __init__(self, store: Bucket, folder: CohortFolder, given: str) -> None:
        """Fetch what is needed to find the patients; nothing is changed.

        Parameters
        ----------
        folder: an empty one, for copies. given: pseudonym or PatientID.

        Raises
        ------
        UsageError: the cohort has no such patient, or the bucket cannot be used. TransientError: the bucket failed.
        """
        self._store, self._folder = store, folder
        self._cohort = store.child(folder.cohort)
        folder.make()
        for name in FILES:
            content = get(self._cohort, f"private/{name}")
            if content is not None:
                (folder.private / name).write_bytes(content)
        self.patients = find_patient(folder, given)
        self.courses = courses_among(self._cohort.child("courses").folders(), self.patients)
        self.removed = Removed()

    def remove(self) -> None:
        """Remove the patients from everything but the private tables, by which they are found.

        Raises
        ------
        UsageError, TransientError: as every call of a bucket; the same withdrawal again goes on from there.
        """
        theirs = originals(self._folder, self.patients)
        uploads = uploads_to_go(self._cohort, self._folder.private / INDEX, self._withdrawn(theirs))
        self.removed.configurations = self._configurations_with(theirs)
        run_files = self._fetch_runs()
        organized = self._fetch_organized()
        forget(self._folder, self.patients)
        withdrawals = f"private/{WITHDRAWALS}"
        self._cohort.put(withdrawals, with_another(get(self._cohort, withdrawals)))
        self._cohort.delete([f"private/{MARKER}"])
        self._remove_results()
        self._remove_below("private/requests/")
        for course in self.courses:
            self._remove_below(f"courses/{course}/")
        self._send_organized(organized)
        self._send_runs(run_files)
        self._cohort.delete(f"{CONFIGURATIONS}/{name}.tgz" for name in self.removed.configurations)
        self._replace_uploads(uploads)

    def finish(self) -> None:
        """Remove them from the private tables. Whoever organizes next makes these anew."""
        for name in (INDEX, REGISTRY, IDENTITY):
            path = self._folder.private / name
            if path.is_file():
                self._cohort.upload(path, f"private/{name}")

    def _withdrawn(self, theirs: Originals) -> Withdrawn:
        path = self._folder.private / IDENTITY
        table = pq.read_table(path, columns=["patient_id", "patient_key"]).to_pylist() if path.is_file() else []
        others = {row["patient_key"] for row in table if row["patient_id"] not in self.patients}
        return Withdrawn(self.patients, theirs.keys, others)

    def _remove_below(self, prefix: str) -> None:
        self._cohort.delete(removal_order(entry.key for entry in self._cohort.list(prefix)))

    def _remove_results(self) -> None:
        keys = [entry.key for entry in self._cohort.list("results/")]
        self.removed.results = sorted({key.split("/")[1] for key in keys if key.count("/") > 1})
        # what says that there are newest tables goes before them
        self._cohort.delete(sorted(keys, key=lambda key: (key.count("/"), PurePosixPath(key).name != RECORD, key)))

    def _fetch_organized(self) -> dict[PurePosixPath, bytes | None]:
        """Fetch organize's outputs; the record of each, None of one that is not whole."""
        entries = self._store.list(f"{self._folder.cohort}/organize/")
        paths = sorted({PurePosixPath(entry.key).parent for entry in entries})
        half = mirror_outputs(self._store, self._folder, paths, tables_only=False)
        return {path: None if path in half else self._record(path) for path in paths}

    def _record(self, path: PurePosixPath) -> bytes | None:
        record = self._folder.store / path / RECORD
        return record.read_bytes() if record.is_file() else None

    def _send_organized(self, before: dict[PurePosixPath, bytes | None]) -> None:
        """Replace the outputs that have changed; those that nobody can use go."""
        for path, content in before.items():
            now = self._record(path)
            if now is None:
                self._store.delete(removal_order(entry.key for entry in self._store.list(f"{path}/")))
            elif now != content:
                with passing_folder(self._folder.root / "sending") as scratch:
                    pack(self._folder.store / path, scratch / "out")
                    for name in OBJECTS:
                        self._store.upload(scratch / "out" / name, str(path / name))

    def _fetch_runs(self) -> dict[str, bytes]:
        """Plans and ledgers by their keys below the cohort, which now lie here too."""
        keys = [e.key for e in self._cohort.list("runs/") if PurePosixPath(e.key).name in RUN_FILES]
        found: dict[str, bytes] = {}
        for key, content in zip(keys, in_order(self._content, keys, threads=THREADS), strict=True):
            if content is not None:
                target = self._folder.root / key
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
                found[key] = content
        return found

    def _content(self, key: str) -> bytes | None:
        return get(self._cohort, key)

    def _send_runs(self, before: dict[str, bytes]) -> None:
        for key, content in before.items():
            now = (self._folder.root / key).read_bytes()
            if now != content:
                self._cohort.put(key, now)

    def _configurations_with(self, theirs: Originals) -> list[str]:
        """Names of the configurations with a file, such as the user's manifest, that has one of these ids in a cell."""
        sought = {text.encode() for text in (*theirs.ids, *theirs.uids, *self.patients)}
        found = []
        for entry in self._cohort.list(f"{CONFIGURATIONS}/"):
            with passing_folder(self._folder.root / "configuration") as scratch:
                archive = scratch / PurePosixPath(entry.key).name
                self._cohort.download(entry.key, archive)
                if _cells(archive) & sought:
                    found.append(archive.stem)
        return sorted(found)

    def _replace_uploads(self, uploads: UploadsToGo) -> None:
        """New lists are there before those go that they take the place of, and lists go before what they name."""
        for key, content in uploads.new_lists.items():
            self._cohort.put(key, content)
        self._cohort.delete(key for key in uploads.lists if key not in uploads.new_lists)
        self._cohort.delete(uploads.objects)
        removed = self.removed
        removed.new_sources = [f"{self._cohort.url}/{key}" for key in sorted(uploads.new_lists)]
        removed.uploaded_files = len(uploads.objects)
        removed.shared_archives, removed.unnamed_files = uploads.shared, uploads.nobodys


def _cells(archive: Path) -> set[bytes]:
    """The words between the separators of the files that a configuration carries."""
    found: set[bytes] = set()
    with members(archive) as files:
        for info, content in files:
            if content is not None and info.name.startswith(f"{CONFIGURATION_FILES}/"):
                found.update(cell.strip() for cell in WORDS.split(content.read()))
    return found
