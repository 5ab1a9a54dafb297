"""Write, read and remove one object with the keys of Argo's containers: `check_bucket_write.py s3://BUCKET/PREFIX`."""

from __future__ import annotations

import sys
import uuid

from rtpipeline.errors import RTpipelineError
from rtpipeline.store.bucket import Bucket


def main(url: str) -> int:
    """0 when an object could be written and read again."""
    key, content = f"helm-test/{uuid.uuid4().hex}", b"written by helm test\n"
    try:
        bucket = Bucket.open(url)
        bucket.put(key, content)
        arrived = bucket.get(key)
        bucket.delete([key])
    except (RTpipelineError, KeyError) as error:
        sys.stdout.write(f"WRONG writing {url}: {error}\n")
        return 1
    if arrived != content:
        sys.stdout.write(f"WRONG {url} gives back other bytes than were written\n")
        return 1
    sys.stdout.write(f"ok    {url} can be written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
