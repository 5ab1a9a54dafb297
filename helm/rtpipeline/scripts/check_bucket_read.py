"""Read the store as the stages do that speak to the bucket themselves: `check_bucket_read.py s3://BUCKET/PREFIX`."""

from __future__ import annotations

import sys

from rtpipeline.errors import RTpipelineError
from rtpipeline.store.bucket import Bucket


def main(url: str) -> int:
    """0 when the store can be listed with the read-only keys."""
    try:
        Bucket.open(url).check()
    except RTpipelineError as error:
        sys.stdout.write(f"WRONG reading {url}: {error}\n")
        return 1
    sys.stdout.write(f"ok    {url} can be read\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
