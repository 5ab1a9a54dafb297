"""The configuration: one YAML file, every key declared here, unknown keys refused.

Each field says whether it can change a result (`result`): those enter the settings digests of the stages that read their
section; the others (workers, threads, devices, paths, force) never do. `result="file"` enters by the file's content.
Longer than other modules because it is one list: a setting is looked up in one place.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from rtpipeline.errors import ConfigError


def _workers(value: Any) -> Any:
    # bool is an int of Python, and `workers: true` says nothing
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("must be 'auto' or a whole number of at least 1")


def _each_once(values: list[float]) -> list[float]:
    if len(set(values)) < len(values):
        raise ValueError("each value may stand there once: it names a column")
    return values


def _not_zero(value: float) -> float:
    if value == 0:
        raise ValueError("must not be 0")
    return value


def _refuse_unknown(key: str, kind: str, names: list[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{key} names no {kind}: {name!r}{hint}")


Workers = Annotated[Literal["auto"] | int, BeforeValidator(_workers)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Exponent = Annotated[float, Field(allow_inf_nan=False), AfterValidator(_not_zero)]
Percent = Annotated[float, Field(gt=0, le=100)]
Cohort = Literal["pseudonymize", "keep"]


def _result(default: Any, meaning: str, *, result: bool | Literal["file"] = True, **limits: Any) -> Any:
    extra: dict[str, Any] = {"result": result}
    if isinstance(default, (list, dict)):
        return Field(
            default_factory=lambda: type(default)(default), description=meaning, json_schema_extra=extra, **limits
        )
    return Field(default, description=meaning, json_schema_extra=extra, **limits)


def _running(default: Any, meaning: str, **limits: Any) -> Any:
    return _result(default, meaning, result=False, **limits)


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OrganizeConfig(Section):
    """How an export becomes courses."""

    verify_content: bool = _running(False, "hash the whole content of every object, not only of RT objects")
    prepare_images: Literal["referenced", "all"] = _result(
        "referenced", "images to prepare: planning and referenced, or all"
    )


class ImagesConfig(Section):
    """How slices become volumes."""

    max_gap_mm: float = _result(10.0, "largest gap of missing slices that is filled linearly, mm", ge=0)


class DvhConfig(Section):
    """Dose-volume metrics."""

    enabled: bool = _result(True, "compute dose-volume histograms")
    end_cap: Literal["prism", "shape"] = _result(
        "shape", "solid of contours: prism reads them literally, shape interpolates between planes and caps the ends"
    )
    dose_interpolation: Literal["linear", "cubic"] = _result(
        "cubic", "dose between grid points: trilinear, or the cubic spline through them"
    )
    coverage_limit_pct: float = _result(
        99.5, "below this part of a structure inside the dose grid D and V are null", ge=0, le=100
    )
    d_pct: Annotated[list[Percent], AfterValidator(_each_once)] = _result(
        [99, 98, 95, 90, 50, 10, 5, 2, 1], "volumes of D metrics, percent of the structure"
    )
    d_cc: Annotated[list[Positive], AfterValidator(_each_once)] = _result(
        [0.03, 0.1, 1, 2, 5], "volumes of D metrics, cc"
    )
    v_gy: Annotated[list[Positive], AfterValidator(_each_once)] = _result(
        [float(d) for d in range(5, 85, 5)], "doses of V metrics, Gy"
    )
    v_rx_pct: Annotated[list[Positive], AfterValidator(_each_once)] = _result(
        [95, 100, 107], "doses of V metrics, percent of the prescription, for targets"
    )
    alpha_beta_gy: dict[str, Positive] = _result(
        {}, "alpha/beta in Gy by structure name, as in the file or of TG-263: what gets EQD2 and BED"
    )
    geud_a: dict[str, Exponent] = _result(
        {}, "exponent a of gEUD by structure name, as in the file or of TG-263; 1 is the mean, targets below 0"
    )
    constraints: Path | None = _result(
        None, "CSV of dose constraints: structure, metric, limit; see docs/dvh.md", result="file"
    )
    curve_step_gy: float = _result(0.1, "step of the stored curves, Gy", ge=0.001, le=1)


class SegmentationConfig(Section):
    """TotalSegmentator."""

    enabled: Literal["auto"] | bool = _result("auto", "auto: not run where the weights are absent")
    workers: Workers = _running(1, "courses at once (pool seg_workers)")
    threads_per_worker: int | None = _running(None, "threads of one segmentation process", ge=1)
    device: Annotated[str, Field(pattern=r"^(auto|cpu|gpu|gpu:\d+)$")] = _running(
        "auto", "auto: the GPU, else the CPU with a finding; cpu; gpu or gpu:N: not run without it"
    )
    images: Literal["planning", "prepared"] = _result(
        "planning", "images to segment: the planning image, or every prepared CT and MR"
    )
    fast: bool = _result(False, "3 mm model")
    fastest: bool = _result(False, "6 mm model, where the task has one; before `fast`")
    force: bool = _running(False, "run again although done")
    roi_subset: list[str] | None = _result(None, "structures to segment; null for all")
    extra_models: list[str] = _result([], "further tasks after `total`")
    force_split: bool = _result(False, "split the image along z whatever its size, from 58 voxels of the network on")
    nr_threads_resample: int | None = _running(None, "processes for resampling", ge=1)
    nr_threads_save: int | None = _running(None, "processes for saving", ge=1)
    num_proc_preprocessing: int | None = _running(None, "processes for preprocessing", ge=1)
    num_proc_export: int | None = _running(None, "processes for export", ge=1)

    @model_validator(mode="after")
    def _names_are_known(self) -> SegmentationConfig:
        """Tasks and structures are those of the installed library, so that a slip shows before anything runs."""
        if not (self.extra_models or self.roi_subset):
            return self
        from rtpipeline.segmentation import catalogue

        if catalogue.is_installed():
            structures = {n for task in catalogue.TOTAL.values() for n in catalogue.class_names(task).values()}
            _refuse_unknown("extra_models", "task", self.extra_models, catalogue.task_names())
            _refuse_unknown("roi_subset", "structure of `total`", self.roi_subset or [], sorted(structures))
        return self


class CustomModelsConfig(Section):
    """nnU-Net models of the user."""

    enabled: bool = _result(True, "run the declared models")
    root: Path | None = _running(None, "folder of the models")
    models: list[str] | Literal["all"] = _result("all", "names of the models to run")
    workers: Workers = _running(1, "courses at once (pool custom_seg_workers)")
    force: bool = _running(False, "run again although done")
    retain_weights: bool = _running(True, "keep unpacked weights")


class RadiomicsConfig(Section):
    """PyRadiomics."""

    enabled: bool = _result(True, "compute radiomic features")
    sequential: bool = _running(False, "one structure after the other, in one process")
    profile: str = _result("seed-ct", "named settings for CT in HU: seed-ct, ct, original")
    mr_profile: str = _result("seed-mr", "named settings for MR: seed-mr, original-mr")
    params_file: Path | None = _result(None, "PyRadiomics parameters for CT, instead of the profile", result="file")
    mr_params_file: Path | None = _result(None, "PyRadiomics parameters for MR, instead of the profile", result="file")
    thread_limit: int | None = _running(None, "threads of one worker process", ge=1)
    skip_rois: list[str] = _result(
        [], "structure names to leave out besides couch, table, support, bones, body and external"
    )
    max_voxels: int = _result(
        15_000_000, "largest mask, voxels of the image or of the lattice it is resampled to", ge=1
    )
    min_voxels: int = _result(64, "smallest mask, voxels of the image", ge=1)
    structures: list[str] | None = _result(
        None, "structure names to use, as in the file or of TG-263; null for all that are not left out"
    )
    sources: list[Literal["manual", "totalsegmentator", "custom", "derived", "cropped"]] | None = _result(
        None, "sources of structures to use; null for all"
    )

    @property
    def parameters_of(self) -> dict[str, str | Path]:
        """By modality the parameter file of the user, else the name of the profile."""
        return {"CT": self.params_file or self.profile, "MR": self.mr_params_file or self.mr_profile}

    @model_validator(mode="after")
    def _profiles_exist(self) -> RadiomicsConfig:
        names = sorted(p.stem for p in (Path(__file__).parent / "radiomics" / "parameters").glob("*.yaml"))
        for name in (self.profile, self.mr_profile):
            if name not in names:
                raise ValueError(f"no profile is called {name!r}; profiles are {', '.join(names)}")
        return self


class OutlineConfig(Section):
    """How the chain draws outlines anew."""

    contour_sd_mm: float | None = _result(None, "standard deviation of the displacement, mm; null: the profile's", gt=0)
    correlation_mm: float = _result(10.0, "distance at which its correlation has fallen to 1/e, mm", gt=0, le=100)


class MetricsConfig(Section):
    """Statistics of the summary."""

    icc: bool = _running(True, "intraclass correlations with intervals; without them no feature gets a label")
    cov: bool = _running(True, "coefficient of variation within a structure")
    qcd: bool = _running(True, "quartile coefficient of dispersion within a structure")


class LevelConfig(Section):
    """What a label asks for."""

    icc: float = _running(..., "lower bound of ICC(1,1), at least", ge=0, le=1)
    cov_pct: float = _running(..., "median CoV within a structure, at most, where it is defined", gt=0)


class ThresholdsConfig(Section):
    """Labels of the summary."""

    robust: LevelConfig = LevelConfig(icc=0.90, cov_pct=10.0)
    acceptable: LevelConfig = LevelConfig(icc=0.75, cov_pct=20.0)


class RobustnessConfig(Section):
    """Robustness of features against perturbations."""

    enabled: bool = _result(True, "perturb and summarise")
    profile: Literal["demo", "mild", "standard", "aggressive", "ntcv-seed"] = _result(
        "mild",
        "states of each structure, each of which costs as much as the structure's features: demo, mild (12), standard, "
        "ntcv-seed (81), aggressive (315)",
    )
    modes: list[Literal["noise", "translation", "rotation", "volume", "contour"]] = _result(
        ["noise", "translation", "rotation", "volume", "contour"], "factors of the perturbation chain", min_length=1
    )
    segmentation_perturbation: OutlineConfig = Field(default_factory=OutlineConfig)
    metrics: MetricsConfig = Field(default_factory=MetricsConfig, json_schema_extra={"result": False})
    thresholds: ThresholdsConfig = Field(default_factory=ThresholdsConfig, json_schema_extra={"result": False})
    structures: list[str] | None = _result(
        None,
        "structure names to use, as in the file or of TG-263; null for the targets (GTV, CTV, PTV) that were drawn",
    )


class CroppingConfig(Section):
    """Anatomical cropping."""

    enabled: bool = _result(False, "crop by anatomical region")
    region: Literal["pelvis", "thorax", "abdomen", "head_neck", "brain"] = _result(
        "pelvis", "part of the body between two landmarks"
    )
    superior_margin_cm: float | None = _result(
        None, "beyond the superior landmark, cm; null: 2 (brain 1; pelvis, which ends at the top of L1, 0)"
    )
    inferior_margin_cm: float | None = _result(None, "beyond the inferior landmark, cm; null: 2 (brain 1, pelvis 10)")


class QcConfig(Section):
    """Quality checks."""

    enabled: bool = _result(True, "write qc.parquet and the course page")
    agreement_dice_minimum: float = _result(
        0.5, "structures of two sources that agree less than this are flagged (Dice)", ge=0, le=1
    )


class AggregationConfig(Section):
    """Cohort tables."""

    threads: Workers = _running("auto", "threads that read course tables")
    decimal_comma: bool = _running(True, "also write CSV with decimal comma and semicolon")
    small_cell_minimum: int = _running(5, "groups below this many patients are flagged", ge=1)


class TimeoutsConfig(Section):
    """Limits in seconds, for a stage (by name) and for its work items."""

    stage_s: dict[str, Positive] = _running({}, "limit of a stage by its name; default of the stage table")
    radiomics_roi_s: float = _running(600.0, "one structure of radiomics, or one state of robustness", gt=0)
    totalsegmentator_s: float = _running(3600.0, "one TotalSegmentator run", gt=0)
    custom_model_s: float = _running(1800.0, "one custom model on one image", gt=0)


class ExecutionConfig(Section):
    """The local runner."""

    memory_limit_mib: int | None = _running(
        None, "memory for all stages together; null: what the container has", ge=256
    )
    retries: int = _running(2, "attempts after a transient failure", ge=0)


class Config(Section):
    """The whole configuration."""

    workers: Workers = _running(
        "auto", "courses and stages at once; auto: CPUs - 2, at least 4, at most 32, never above the CPUs"
    )
    seed: int = _result(20240101, "seed that all random numbers are spawned from", ge=0)
    identity: Cohort = _result("pseudonymize", "`keep` uses a slug of the PatientID: only for de-identified data")
    course_gap_days: int = _result(
        90, "components of one patient within this many days are one course", ge=0, le=36_500
    )
    manifest: Path | None = _running(None, "CSV of the user; its rows enter the digests of their courses")
    structure_names: Path | None = _result(None, "CSV that maps structure names", result="file")
    custom_structures: Path | None = _result(None, "YAML of derived structures", result="file")
    organize: OrganizeConfig = Field(default_factory=OrganizeConfig)
    images: ImagesConfig = Field(default_factory=ImagesConfig)
    dvh: DvhConfig = Field(default_factory=DvhConfig)
    segmentation: SegmentationConfig = Field(default_factory=SegmentationConfig)
    custom_models: CustomModelsConfig = Field(default_factory=CustomModelsConfig)
    radiomics: RadiomicsConfig = Field(default_factory=RadiomicsConfig)
    radiomics_robustness: RobustnessConfig = Field(default_factory=RobustnessConfig)
    ct_cropping: CroppingConfig = Field(default_factory=CroppingConfig)
    qc: QcConfig = Field(default_factory=QcConfig)
    aggregation: AggregationConfig = Field(default_factory=AggregationConfig)
    timeouts: TimeoutsConfig = Field(default_factory=TimeoutsConfig)
    execution: ExecutionConfig = Field(default_factory=ExecutionConfig)

    @model_validator(mode="after")
    def _timeouts_name_stages(self) -> Config:
        from rtpipeline.stages import STAGES

        for name in self.timeouts.stage_s:
            if name not in STAGES:
                raise ValueError(f"timeouts.stage_s names no stage: {name!r}; stages are {', '.join(STAGES)}")
        return self


def _known_keys(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], set[str]]:
    keys = {prefix: set(model.model_fields)}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            keys |= _known_keys(field.annotation, (*prefix, name))
    return keys


def _explain(error: ValidationError, origin: str) -> str:
    """pydantic's errors as one line each: what, where, found against required, nearest key."""
    known = _known_keys(Config)
    lines = []
    for item in error.errors():
        path = tuple(str(p) for p in item["loc"])
        where = ".".join(path) or "the file"
        if item["type"] == "extra_forbidden":
            candidates = known.get(path[:-1], set())
            near = difflib.get_close_matches(path[-1], sorted(candidates), n=1, cutoff=0.4)
            section = ".".join(path[:-1]) or "top level"
            hint = f"did you mean {near[0]!r}?" if near else f"keys here ({section}): {', '.join(sorted(candidates))}"
            lines.append(f"  {where}: unknown key; {hint}")
        else:
            lines.append(f"  {where}: {item['msg']}; found {item.get('input')!r}")
    return f"{origin} cannot be used:\n" + "\n".join(dict.fromkeys(lines))


def parse_config(raw: dict[str, Any] | None, origin: str = "the configuration", base: Path | None = None) -> Config:
    """A configuration from a mapping; relative paths are below `base`.

    Raises
    ------
    ConfigError: an unknown key (with the nearest valid one) or a value that does not fit.
    """
    try:
        config = Config.model_validate(raw or {})
    except ValidationError as error:
        raise ConfigError(_explain(error, origin)) from None
    return _with_paths(config, base) if base else config


def _with_paths(section: Any, base: Path) -> Any:
    changes: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            changes[name] = _with_paths(value, base)
        elif isinstance(value, Path) and not value.is_absolute():
            changes[name] = base / value
    return section.model_copy(update=changes)


def load_config(path: Path | None) -> Config:
    """The configuration of a YAML file; the defaults when there is none.

    Raises
    ------
    ConfigError: the file does not exist, is no YAML mapping, or holds wrong keys or values.
    """
    if path is None:
        return Config()
    if not path.is_file():
        raise ConfigError(f"--config {path} does not exist.")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path} is no valid YAML: {' '.join(str(error).split())}") from None
    if raw is not None and not isinstance(raw, dict):
        raise ConfigError(f"--config {path} holds a {type(raw).__name__}; a mapping of keys is needed.")
    config = parse_config(raw, f"--config {path}", path.resolve().parent)
    for section, key, name in (
        (config, "manifest", "manifest"),
        (config, "structure_names", "structure_names"),
        (config, "custom_structures", "custom_structures"),
        (config.dvh, "constraints", "dvh.constraints"),
        (config.radiomics, "params_file", "radiomics.params_file"),
        (config.radiomics, "mr_params_file", "radiomics.mr_params_file"),
    ):
        file = getattr(section, key)
        if file is not None and not file.is_file():
            raise ConfigError(f"--config {path}: {name} names {file}, which does not exist.")
    _check_parameters(config.radiomics)
    _check_structure_files(config)
    if config.dvh.constraints is not None:
        from rtpipeline.dvh.constraints import load_constraints

        load_constraints(config.dvh.constraints)
    return config


def _check_structure_files(config: Config) -> None:
    """Read the files about structures once before anything runs.

    Raises
    ------
    ConfigError: one of them cannot be used.
    """
    # imported here: most configurations name none, and commands start without numpy
    if config.structure_names is not None:
        from rtpipeline.nomenclature.mapping import load_mapping

        load_mapping(config.structure_names)
    if config.custom_structures is not None:
        from rtpipeline.structures.custom_structures import load_custom_structures

        load_custom_structures(config.custom_structures)


def _check_parameters(radiomics: RadiomicsConfig) -> None:
    """What PyRadiomics would refuse is refused before anything runs."""
    for file in (radiomics.params_file, radiomics.mr_params_file):
        if file is not None:
            from rtpipeline.radiomics.profiles import load_profile

            load_profile(file)


def config_yaml(config: Config) -> str:
    """The resolved configuration as YAML, every key present, in the order of declaration."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def without_folders(section: Section) -> dict[str, Any]:
    """A section as plain JSON values in which a path is its last part only: for everything outside `private/`."""
    plain: dict[str, Any] = section.model_dump(mode="json")
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            plain[name] = without_folders(value)
        elif isinstance(value, Path):
            plain[name] = value.name
    return plain
