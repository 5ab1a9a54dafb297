"""One nnU-Net v2 model on one image, in a process of its own: `python -m rtpipeline.segmentation.nnunet_predict JSON`.

The image is read and the result written by the reader class that the model's plans name, prediction is nnU-Net's own,
all in this one process: no workers, nothing through /dev/shm.

nnU-Net hands voxels to the network as they lie in the file (its SimpleITKIO turns nothing), so that a feet-first series
would reach it mirrored. The image is therefore turned to the orientation of the training images first and the result
turned back: permutations and reversals of axes, which move no voxel.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rtpipeline.segmentation.failures import NO_GPU_EXIT


@dataclass(frozen=True)
class Job:
    """What this program is told. All paths absolute.

    model: nnU-Net's model folder. image: NIfTI. label_map: NIfTI to write, on the image's grid. report: JSON to write.
    orientation: three letters, see `custom_model.py`. on_device: keep results of all patches on the GPU.
    """

    model: str
    image: str
    label_map: str
    report: str
    folds: list[int | str]
    checkpoint: str
    orientation: str
    step_size: float
    mirroring: bool
    device: str
    on_device: bool
    threads: int

    def to_json(self) -> str:
        """As this program's argument."""
        return json.dumps(asdict(self))


def main(argument: str) -> None:
    """Predict and write the label map and the report."""
    job = Job(**json.loads(argument))
    import torch

    if job.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write(f"torch {torch.__version__} sees no GPU\n")
        sys.exit(NO_GPU_EXIT)
    torch.set_num_threads(job.threads)
    predictor = _predictor(job, torch.device(job.device))
    with tempfile.TemporaryDirectory() as folder:
        _predict(job, predictor, Path(folder))
    spacing = [float(edge) for edge in predictor.configuration_manager.spacing]
    Path(job.report).write_text(json.dumps({"spacing_mm": spacing}))


def _predictor(job: Job, device: Any) -> Any:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        tile_step_size=job.step_size,
        use_mirroring=job.mirroring,
        perform_everything_on_device=job.on_device,
        device=device,
        allow_tqdm=False,
    )
    if job.device == "cuda":
        import torch

        torch.backends.cudnn.benchmark = False  # it picks kernels by their time: other bits in another run
        torch.backends.cudnn.deterministic = True
    predictor.initialize_from_trained_model_folder(job.model, tuple(job.folds), job.checkpoint)
    return predictor


def _predict(job: Job, predictor: Any, folder: Path) -> None:
    import nibabel
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    ending = predictor.dataset_json["file_ending"]
    turned, predicted = (folder / f"{name}{ending}" for name in ("image", "labels"))
    image: Any = nibabel.load(job.image)
    stored = io_orientation(image.affine)
    wanted = axcodes2ornt(tuple(job.orientation))
    image.as_reoriented(ornt_transform(stored, wanted)).to_filename(turned)

    reader = predictor.plans_manager.image_reader_writer_class()
    voxels, properties = reader.read_images([str(turned)])
    labels = predictor.predict_single_npy_array(voxels, properties)
    reader.write_seg(labels, str(predicted), properties)

    result: Any = nibabel.load(predicted)
    result.as_reoriented(ornt_transform(wanted, stored)).to_filename(job.label_map)


if __name__ == "__main__":
    main(sys.argv[1])
