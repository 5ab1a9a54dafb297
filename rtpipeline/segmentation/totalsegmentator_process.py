"""The TotalSegmentator command within our limits: `python -m rtpipeline.segmentation.totalsegmentator_process ...`.

Options of our own come first, `--` ends them, the rest is the command's. It cannot be told three things itself:

- how many threads to use on the CPU: it takes the host's count of CPUs, which is not the container's;
- not to fall back to the CPU without a word where the GPU is missing;
- to work in one process: its workers pass the volume through /dev/shm, which is 64 MiB in a container, and importing
  torch in each of them takes longer than the network. One process gives the same labels (nnU-Net's own
  `predict_from_files_sequential`).
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from typing import Any

from rtpipeline.segmentation.failures import NO_GPU_EXIT


def main(arguments: list[str]) -> None:
    """Set the limits, then run the command with what stands behind `--`."""
    end = arguments.index("--")
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--gpu", action="store_true", help="a GPU has to be there")
    parser.add_argument("--one-process", action="store_true")
    limits = parser.parse_args(arguments[:end])
    # nnU-Net's CPU mode asks this for the number of torch threads
    multiprocessing.cpu_count = lambda: limits.threads
    if limits.gpu:
        _require_gpu()
    if limits.one_process:
        _predict_in_one_process()
    from totalsegmentator.bin.TotalSegmentator import main as totalsegmentator

    sys.argv = ["TotalSegmentator", *arguments[end + 1 :]]
    totalsegmentator()


def _require_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        sys.stderr.write(f"torch {torch.__version__} sees no GPU\n")
        sys.exit(NO_GPU_EXIT)


def _predict_in_one_process() -> None:
    from totalsegmentator.config import setup_nnunet

    setup_nnunet()  # nnU-Net reads its folders when it is imported
    import totalsegmentator.nnunet  # noqa: F401  # sets its own predict_from_files when it is imported
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    def predict_from_files(
        self: Any,
        files_in: Any,
        files_out: Any,
        save_probabilities: bool = False,
        overwrite: bool = True,
        num_processes_preprocessing: int = 1,
        num_processes_segmentation_export: int = 1,
        folder_with_segs_from_prev_stage: str | None = None,
        num_parts: int = 1,
        part_id: int = 0,
    ) -> Any:
        return self.predict_from_files_sequential(
            files_in, files_out, save_probabilities, overwrite, folder_with_segs_from_prev_stage
        )

    nnUNetPredictor.predict_from_files = predict_from_files


if __name__ == "__main__":
    main(sys.argv[1:])
