"""A cohort of a store in a bucket from which something is removed, and its folder on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rtpipeline.errors import UsageError
from rtpipeline.execution.bucket_store import BucketStore, cache_folder
from rtpipeline.execution.under_way import refuse_while_under_way
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.folder import CohortFolder


@dataclass(frozen=True)
class BucketCohort:
    """A cohort that is there."""

    store: Bucket
    name: str
    cache: CohortFolder | None
    """its folder here, where there is one"""

    @classmethod
    def existing(cls, url: str, name: str, cache: Path | None) -> BucketCohort:
        """The cohort of a store.

        Parameters
        ----------
        cache: folder that keeps the store here; None for the user's cache.

        Raises
        ------
        UsageError: the store has no such cohort, or the bucket cannot be used. TransientError: it failed.
        """
        store = Bucket.open(url)
        store.check()
        if next(store.child(name).list(), None) is None:
            have = [n for n in store.folders() if next(store.child(n, "private").list(), None) is not None]
            listed = f"it has {', '.join(sorted(have))}" if have else "it has none"
            raise UsageError(f"no cohort {name} in {store.url} ({listed}); give --cohort, or correct --output.")
        folder = CohortFolder((cache or cache_folder(url)).absolute(), name)
        return cls(store, name, folder if folder.private.is_dir() else None)

    @property
    def bucket(self) -> Bucket:
        """The cohort's part of the bucket."""
        return self.store.child(self.name)

    @contextlib.contextmanager
    def held(self, *, stopped: bool) -> Iterator[None]:
        """Hold the folder here against a run, unless one is under way here or, evidently, elsewhere.

        Parameters
        ----------
        stopped: the user says that what seems to be under way elsewhere is not.

        Raises
        ------
        UsageError: a run is under way.
        """
        with contextlib.ExitStack() as locks:
            if self.cache is not None:
                locks.enter_context(self.cache.lock("bucket.lock"))
                locks.enter_context(self.cache.lock())
            if not stopped:
                refuse_while_under_way(self.bucket, self.name)
            yield

    def drop_withdrawn(self) -> None:
        """Remove from the folder here what the bucket has no more."""
        if self.cache is not None:
            BucketStore(self.store, self.cache).drop_withdrawn()

    def old_versions(self) -> str:
        """What to say of versions that the bucket keeps of what was removed; '' where it has none or is silent."""
        state = self.store.versioning()
        if not state:
            return ""
        since = "is on" if state == "Enabled" else "was on, and is suspended"
        return (
            f"Versioning {since} for bucket {self.store.name}: old versions of what was removed remain in it. "
            "A lifecycle rule with NoncurrentVersionExpiration and ExpiredObjectDeleteMarker for the prefix removes "
            "them, or delete what list-object-versions shows."
        )
