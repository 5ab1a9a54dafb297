"""`python -m rtpipeline` is the `rtpipeline` command."""

import sys

from rtpipeline.cli import main

sys.exit(main())
