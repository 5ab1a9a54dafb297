"""What a submission is asked for, and the digest by which the same question is known again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtpipeline import __version__
from rtpipeline.config import Config
from rtpipeline.execution.plan import forced_stages
from rtpipeline.stages import STAGES
from rtpipeline.store.keys import config_slice, digest, file_sha256


@dataclass(frozen=True)
class Asked:
    """One submission."""

    cohort: str
    sources: tuple[Path | str, ...]
    """folders here, or URLs of a bucket"""
    config: Config
    configuration: str = "default"
    """the name that the configuration has in the bucket"""
    courses: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    force: tuple[str, ...] = ()
    limit: int | None = None
    """at most so many courses"""
    incremental: bool = False
    """what was submitted before is not tried again"""

    @property
    def forced(self) -> frozenset[str]:
        """Stages to compute again, dependants included.

        Raises
        ------
        UsageError: a name is no stage.
        """
        return forced_stages(self.force, self.config)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out or forced, so that organize's pod may plan it."""
        return not (self.courses or self.only or self.forced or self.limit)


def request_digest(asked: Asked, listing: str, facts_id: str) -> str:
    """12 hex: the same data, settings, images and selection. Workers, threads and folders do not count.

    Parameters
    ----------
    listing: digest of what the sources hold.
    """
    config = asked.config
    return digest(
        {
            "cohort": asked.cohort,
            "listing": listing,
            "manifest": file_sha256(config.manifest) if config.manifest is not None else "",
            "verify_content": config.organize.verify_content,
            "settings": {name: config_slice(stage, config, results_only=True) for name, stage in STAGES.items()},
            "facts": facts_id,
            "version": __version__,
            "courses": sorted(asked.courses),
            "only": sorted(asked.only),
            "force": sorted(asked.forced),
            "limit": asked.limit,
        }
    )


def workflow_name(cohort: str, request: str, part: str = "", attempt: int = 0) -> str:
    """`rt-<cohort>-<request>[-<part>][-r<attempt>]`: the same for the same work, at most 63 characters.

    Parameters
    ----------
    attempt: 0, or how many workflows of this name have ended before.
    """
    stem = cohort[:24].strip("-")
    rest = [f"rt-{stem}-{request}", part, f"r{attempt}" if attempt else ""]
    return "-".join(filter(None, rest))


def chunks(items: Sequence[str], most_in_one: int, size: int) -> list[list[str]]:
    """Items in shards: one when they are few, else of `size` each, in their order."""
    if len(items) <= most_in_one:
        return [list(items)] if items else []
    return [list(items[at : at + size]) for at in range(0, len(items), size)]
