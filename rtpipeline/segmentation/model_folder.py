"""The models that a course may get: what `custom_models.root` declares and the demo's own, checked file by file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtpipeline.segmentation.custom_model import DECLARATION, InvalidModelError, ModelDeclaration, read_declaration
from rtpipeline.segmentation.weights import ABSENT, PHANTOM_PREFIX, PHANTOM_ROOT, file_hash, is_phantom_file

if TYPE_CHECKING:
    from rtpipeline.config import Config, CustomModelsConfig

DEMO_MODEL = PHANTOM_ROOT / "custom" / "Dataset901_phantom_gtv"


@dataclass(frozen=True)
class CustomModel:
    """A declared model. base: folder of its `custom_model.yaml`; is_builtin: it came with the demo."""

    base: Path
    declaration: ModelDeclaration
    is_builtin: bool = False

    @property
    def name(self) -> str:
        """As declared."""
        return self.declaration.name

    @property
    def folder(self) -> Path:
        """nnU-Net's model folder."""
        return self.base / self.declaration.folder

    @property
    def is_phantom(self) -> bool:
        """Whether it knows nothing but the demo's phantom, by its word or by the hash of a checkpoint."""
        return self.declaration.phantom or any(map(is_phantom_file, self.declaration.sha256.values()))

    @property
    def weights(self) -> dict[str, str]:
        """Its declared files by `<folder>/<file>`, with the mark of the phantom's networks."""
        prefix = PHANTOM_PREFIX if self.is_phantom else ""
        return {f"{prefix}{self.base.name}/{name}": sha for name, sha in sorted(self.declaration.sha256.items())}


@dataclass(frozen=True)
class Invalid:
    """A declaration that cannot be used. name: of its folder, or as declared."""

    name: str
    error: InvalidModelError


def offered_models(config: CustomModelsConfig, *, demo: bool) -> tuple[list[CustomModel], list[Invalid]]:
    """The selected models by name, and what is wrong with the others; `enabled: false` leaves one out.

    Courses of the demo are offered the demo's own model too, unless one of that name is declared.
    """
    models, invalid = _declared(config.root)
    builtin = CustomModel(DEMO_MODEL, read_declaration(DEMO_MODEL / DECLARATION), is_builtin=True)
    if demo and builtin.name not in {m.name for m in models}:
        models.append(builtin)
    counts = Counter(model.name for model in models)
    # a declaration that cannot be read stays: it may be the one that is asked for
    asked = sorted(counts) if config.models == "all" else list(dict.fromkeys(config.models))
    invalid += [Invalid(name, _twice()) for name in asked if counts[name] > 1]
    # the demo's own model may be asked for where the cohort has other courses too
    invalid += [Invalid(name, _unknown(counts)) for name in asked if not counts[name] and name != builtin.name]
    chosen = [m for m in models if m.name in asked and counts[m.name] == 1 and m.declaration.enabled]
    return sorted(chosen, key=lambda m: m.name), sorted(invalid, key=lambda i: i.name)


def _declared(root: Path | None) -> tuple[list[CustomModel], list[Invalid]]:
    models: list[CustomModel] = []
    invalid: list[Invalid] = []
    if root is None:
        return models, invalid
    paths = _declarations(root)
    if not paths:
        invalid.append(Invalid("custom_models.root", _empty(root)))
    for path in paths:
        try:
            models.append(CustomModel(path.parent, read_declaration(path)))
        except InvalidModelError as error:
            invalid.append(Invalid(path.parent.name, error))
    return models, invalid


def _declarations(root: Path) -> list[Path]:
    return sorted(root.glob(f"*/{DECLARATION}"))


def _empty(root: Path) -> InvalidModelError:
    found = f"no folder with {DECLARATION} below it" if root.is_dir() else "no such folder"
    return InvalidModelError(found, f"folders that each hold a {DECLARATION}", "correct custom_models.root")


def _twice() -> InvalidModelError:
    return InvalidModelError("several declarations have this name", "one model of each name", "rename all but one")


def _unknown(names: Counter[str]) -> InvalidModelError:
    known = ", ".join(sorted(names)) or "none"
    return InvalidModelError(f"not declared; declared: {known}", "a declared name", "correct custom_models.models")


def check_model(model: CustomModel) -> None:
    """Hold every declared file to its hash, and the declared labels to the network's own.

    Raises
    ------
    InvalidModelError: a file is missing or another one, the labels differ, or nnU-Net needs what we do not give it
    (several channels, the result of an earlier network, labels that overlap).
    """
    for name, declared in sorted(model.declaration.sha256.items()):
        path = model.folder / name
        if not path.is_file():
            raise InvalidModelError(f"{name} is missing", f"{name} as declared", "complete the model's folder")
        found = file_hash(path)
        if found != declared:
            raise InvalidModelError(
                f"{name} has sha256 {found[:12]}", f"sha256 {declared[:12]}", "restore the file, or declare the new one"
            )
    dataset, plans = (_json(model.folder / name) for name in ("dataset.json", "plans.json"))
    _check_labels(dataset.get("labels"), model.declaration.labels)
    _check_channels(dataset.get("channel_names", {}), model.declaration.modality)
    _check_configuration(plans, model.folder.name)


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise InvalidModelError(f"{path.name} is no JSON object", f"nnU-Net's {path.name}", "restore the file")
    return values


def _check_labels(labels: Any, declared: dict[int, str]) -> None:
    if not isinstance(labels, dict) or not all(isinstance(v, int) for k, v in labels.items() if k != "ignore"):
        raise InvalidModelError(
            "dataset.json has regions, or no labels",
            "one number for each label",
            "use a network that was trained on labels that do not overlap",
        )
    trained = {number: name for name, number in labels.items() if name not in ("background", "ignore")}
    if trained != declared:
        differing = sorted(n for n in trained.keys() | declared.keys() if trained.get(n) != declared.get(n))
        raise InvalidModelError(
            "; ".join(f"label {n} declared as {declared.get(n)!r}" for n in differing[:5]),
            "; ".join(f"label {n} is {trained.get(n)!r} in dataset.json" for n in differing[:5]),
            f"declare in {DECLARATION} what dataset.json says; other names come from structure_names",
        )


def _check_channels(channels: dict[str, str], modality: str) -> None:
    if len(channels) != 1:
        raise InvalidModelError(f"{len(channels)} input channels", "one", "use a network of one image")
    (channel,) = channels.values()
    if modality != "CT" and str(channel).upper() == "CT":  # nnU-Net normalises a channel of this name as HU
        raise InvalidModelError(f"modality {modality}, trained on CT", "modality as trained", "correct modality")


def _check_configuration(plans: dict[str, Any], folder: str) -> None:
    """Refuse the second network of a cascade, which needs the first one's result."""
    configurations = plans.get("configurations", {})
    name: str | None = folder.rsplit("__", 1)[-1]
    for _ in range(len(configurations)):  # inherits_from, at most through all of them
        configuration = configurations.get(name, {})
        if configuration.get("previous_stage"):
            raise InvalidModelError(
                "second network of a cascade", "a network of its own", "use 3d_fullres or 3d_lowres"
            )
        name = configuration.get("inherits_from")


def weights_in_use(config: Config) -> dict[str, str]:
    """File name to sha256 of everything that decides which models run and with what; `absent` for missing files.

    Files as they are, not as declared: a checkpoint that is put right gives another key, and so another run.
    """
    section = config.custom_models
    if not section.enabled:
        return {}
    found: dict[str, str] = {}
    if section.root is not None and not _declarations(section.root):
        found["custom_models.root"] = ABSENT
    for base, prefix in _bases(section.root):
        files = {DECLARATION: base / DECLARATION}
        try:
            model = CustomModel(base, read_declaration(base / DECLARATION))
        except InvalidModelError:
            pass  # its finding stands until the declaration is another one
        else:
            if section.models != "all" and model.name not in section.models:
                continue
            files |= {name: model.folder / name for name in model.declaration.sha256}
        for name, path in files.items():
            found[f"{prefix}{base.name}/{name}"] = file_hash(path) if path.is_file() else ABSENT
    return dict(sorted(found.items()))


def _bases(root: Path | None) -> Iterator[tuple[Path, str]]:
    yield DEMO_MODEL, PHANTOM_PREFIX
    for path in _declarations(root) if root is not None else []:
        yield path.parent, ""
