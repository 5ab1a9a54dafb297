"""A store in a bucket for a run on this machine: what is there comes to a folder first, and what is made goes back.

The folder is a cache, kept from run to run. The bucket has the layout that a cluster writes, so either can go on where
the other ended. Outputs are sent as they end, private files, plan and results when the run has ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from rtpipeline.errors import RTpipelineError
from rtpipeline.execution.run_files import latest_run
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.folder import CohortFolder, passing_folder, write_atomically
from rtpipeline.store.mirror import THREADS, get, mirror_outputs
from rtpipeline.store.packing import OBJECTS, RECORD, pack
from rtpipeline.store.private_mark import FILES, MARKER, is_whole
from rtpipeline.store.transfers import in_order
from rtpipeline.store.withdrawals import WITHDRAWALS

log = logging.getLogger(__name__)

SEND_EVERY_S = 10.0
RUN_FILES = ("plan.json", "config.yaml", "ledger.jsonl")


def cache_folder(url: str) -> Path:
    """Where the store of a bucket is kept on this machine unless another folder is given."""
    below = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return below / "rtpipeline" / "stores" / hashlib.sha256(url.encode()).hexdigest()[:12]


class BucketStore:
    """One cohort of a store in a bucket, and its folder here."""

    def __init__(self, store: Bucket, folder: CohortFolder) -> None:
        self._store = store
        self._folder = folder
        self._cohort = store.child(folder.cohort)
        self._there: dict[PurePosixPath, bytes] = {}
        """`stage.json` in the bucket, by output folder below the store"""

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Fetches before its block, sends while it lasts and after it, however it ends.

        Raises
        ------
        UsageError: the bucket cannot be used, or another run holds the folder.
        TransientError: the bucket failed. What was not sent is in the folder, and sent by the next run.
        """
        self._store.check()
        with self._folder.lock("bucket.lock"):
            self.fetch()
            ended = threading.Event()
            sender = threading.Thread(target=self._send_meanwhile, args=(ended,), name="sender", daemon=True)
            sender.start()
            try:
                yield
            finally:
                ended.set()
                sender.join()
                self.send_outputs()
                self._send_private()
                self._send_run()

    def fetch(self) -> None:
        """Outputs, private files and the newest plan that the bucket has and the folder has not, or has older."""
        self._read_records()
        self.drop_withdrawn()
        lacking = [path for path, content in self._there.items() if self._is_newer(content, self._record(path))]
        for path in mirror_outputs(self._store, self._folder, lacking, tables_only=False):
            log.info("an output in the bucket is half replaced and not used")
            del self._there[path]
        self._fetch_private()
        self._fetch_plan()

    def drop_withdrawn(self) -> bool:
        """Removes from the folder what the bucket has not, where a patient was removed from the bucket since.

        Else the patient would be sent there again. Results and runs go whole, and the bucket's index and registry come
        without its mark, so that organize runs anew and gives the other patients the names they have.
        """
        private, name = self._folder.private, f"private/{WITHDRAWALS}"
        withdrawals = get(self._cohort, name)
        if withdrawals is None or withdrawals == _content(private / WITHDRAWALS):
            return False
        if not self._there:
            self._read_records()
        log.info("a patient was removed from the store in the bucket: this folder drops what is not there")
        for path in self._outputs():
            if self._record(path) != self._there.get(path):
                shutil.rmtree(self._folder.store / path)
        for gone in (self._folder.results, self._folder.root / "runs"):
            shutil.rmtree(gone, ignore_errors=True)
        for course in sorted((self._folder.root / "courses").glob("*")):
            if not any(course.glob(f"*/[!.]*/{RECORD}")):
                shutil.rmtree(course)
        for file in (MARKER, *FILES):
            (private / file).unlink(missing_ok=True)
        for file in FILES:
            with contextlib.suppress(KeyError):
                self._cohort.download(f"private/{file}", private / file)
        write_atomically(private / WITHDRAWALS, withdrawals)
        return True

    def _read_records(self) -> None:
        """Which outputs the bucket has."""
        paths = [
            PurePosixPath(entry.key).parent
            for below in ("organize/", "courses/")
            for entry in self._store.list(f"{self._folder.cohort}/{below}")
            if PurePosixPath(entry.key).name == RECORD
        ]
        contents = in_order(lambda path: get(self._store, path / RECORD), paths, threads=THREADS)
        self._there = {path: content for path, content in zip(paths, contents, strict=True) if content is not None}

    def _outputs(self) -> list[PurePosixPath]:
        """Those of the folder."""
        folder = self._folder
        found = [*folder.root.glob(f"organize/[!.]*/{RECORD}"), *folder.root.glob(f"courses/*/*/[!.]*/{RECORD}")]
        return sorted(PurePosixPath(record.parent.relative_to(folder.store).as_posix()) for record in found)

    def send_outputs(self) -> int:
        """Packs and sends outputs that the bucket does not have so; their number."""
        changed = [path for path in self._outputs() if self._is_newer(self._record(path), self._there.get(path))]
        for path in changed:
            self._send(path)
        return len(changed)

    def _send(self, path: PurePosixPath) -> None:
        with passing_folder(self._folder.root / "sending") as packed:
            pack(self._folder.store / path, packed / "out")
            for name in OBJECTS:
                self._store.upload(packed / "out" / name, str(path / name))
            self._there[path] = (packed / "out" / RECORD).read_bytes()

    def _send_meanwhile(self, ended: threading.Event) -> None:
        while not ended.wait(SEND_EVERY_S):
            try:
                self.send_outputs()
            except (RTpipelineError, OSError) as error:
                # an output may be replaced under our hands, a bucket be away: the last sending says what remains
                log.warning("outputs are not sent to the bucket yet: %s", type(error).__name__)

    def _record(self, path: PurePosixPath) -> bytes | None:
        record = self._folder.store / path / RECORD
        return record.read_bytes() if record.is_file() else None

    @staticmethod
    def _is_newer(one: bytes | None, other: bytes | None) -> bool:
        if one is None or one == other:
            return False
        return other is None or json.loads(one)["ended_utc"] > json.loads(other)["ended_utc"]

    def _fetch_private(self) -> None:
        """The mark is away while the files are replaced, and back as the last, there as here."""
        private = self._folder.private
        marker = get(self._cohort, f"private/{MARKER}")
        if marker is None or _content(private / MARKER) == marker:
            return
        if not is_whole(marker, self._cohort.child("private").size):
            log.info("the private files in the bucket are half replaced and not used")
            return
        (private / MARKER).unlink(missing_ok=True)
        for name in FILES:
            self._cohort.download(f"private/{name}", private / name)
        write_atomically(private / MARKER, marker)

    def _send_private(self) -> None:
        private = self._folder.private
        marker = _content(private / MARKER)
        if marker is None or get(self._cohort, f"private/{MARKER}") == marker:
            return
        self._cohort.delete([f"private/{MARKER}"])
        for name in FILES:
            self._cohort.upload(private / name, f"private/{name}")
        self._cohort.put(f"private/{MARKER}", marker)

    def _fetch_plan(self) -> None:
        plans = [e.key for e in self._cohort.list("runs/") if e.key.count("/") == 2 and e.key.endswith("/plan.json")]
        if plans and not (self._folder.root / max(plans)).is_file():
            self._cohort.download(max(plans), self._folder.root / max(plans))

    def _send_run(self) -> None:
        run_id = latest_run(self._folder)
        if run_id is None:
            return
        run, results = self._folder.run(run_id), self._folder.results / run_id
        for name in RUN_FILES:
            if (run / name).is_file():
                self._cohort.upload(run / name, f"runs/{run_id}/{name}")
        files = [path for path in sorted(results.rglob("*")) if path.is_file()]
        for path in files:
            self._cohort.upload(path, f"results/{run_id}/{path.relative_to(results).as_posix()}")
        if files:
            self._cohort.put("results/latest.json", (json.dumps({"run_id": run_id}) + "\n").encode())


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
