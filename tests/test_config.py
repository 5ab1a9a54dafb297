from __future__ import annotations

import pytest
import yaml

from rtpipeline.config import Config, Section, config_yaml, load_config, parse_config
from rtpipeline.errors import ConfigError

MINIMAL = """
workers: auto              # CPU_count - 2
segmentation:
  workers: 1             # 1 course at a time
radiomics:
  thread_limit: null     # Auto
"""
MEDIUM = """
workers: 8
segmentation:
  workers: 1
  threads_per_worker: 4
  nr_threads_resample: 4
  nr_threads_save: 4
radiomics:
  thread_limit: 4
custom_models:
  workers: 1
"""
LARGE = """
workers: 32
segmentation:
  workers: 2
  threads_per_worker: 8
  nr_threads_resample: 8
  nr_threads_save: 8
custom_models:
  workers: 2
radiomics:
  thread_limit: 8
"""


def test_an_empty_file_is_the_default_configuration(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("")
    assert load_config(path) == Config()


@pytest.mark.parametrize(
    ("raw", "where", "nearest"),
    [
        ({"wrkers": 3}, "wrkers", "workers"),
        ({"segmentation": {"threads_per_woker": 3}}, "segmentation.threads_per_woker", "threads_per_worker"),
        ({"radiomics": {"min_voxel": 3}}, "radiomics.min_voxel", "min_voxels"),
        ({"radiomics_robustnes": {}}, "radiomics_robustnes", "radiomics_robustness"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_valid_one(raw, where, nearest):
    with pytest.raises(ConfigError, match=rf"{where}: unknown key; did you mean '{nearest}'"):
        parse_config(raw)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"workers": 0}, "workers"),
        ({"workers": "many"}, "found 'many'"),
        ({"workers": True}, "found True"),
        ({"segmentation": {"workers": 0}}, "segmentation.workers: Value error, must be 'auto' or a whole number"),
        ({"aggregation": {"threads": -1}}, "aggregation.threads"),
        ({"dvh": {"coverage_limit_pct": 101}}, "dvh.coverage_limit_pct"),
        ({"dvh": {"d_pct": [95, 200]}}, "dvh.d_pct.1"),
        ({"dvh": {"v_gy": [float("nan")]}}, "dvh.v_gy.0"),
        ({"dvh": {"d_cc": [0.03, 0.03]}}, "names a column"),
        ({"dvh": {"curve_step_gy": 1e-9}}, "dvh.curve_step_gy"),
        ({"timeouts": {"stage_s": {"dvh": float("nan")}}}, "timeouts.stage_s.dvh"),
        ({"timeouts": {"stage_s": {"dhv": 3}}}, "no stage: 'dhv'"),
    ],
)
def test_a_wrong_value_says_where_and_what_was_found(raw, said):
    with pytest.raises(ConfigError) as error:
        parse_config(raw)
    assert said in str(error.value)


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2", "\t"])
def test_a_file_that_is_no_mapping_is_refused_without_traceback(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load_config(path)


def test_paths_are_below_the_file_that_names_them_and_must_exist(tmp_path):
    (tmp_path / "names.csv").write_text("a,b\n")
    path = tmp_path / "config.yaml"
    path.write_text("manifest: names.csv\n")
    assert load_config(path).manifest == tmp_path / "names.csv"
    path.write_text("manifest: other.csv\n")
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("structure_names: names.csv", "names.csv: unknown column 'a'"),
        ("custom_structures: names.csv", "names.csv holds no list"),
        ("ct_cropping: {region: foot}", "ct_cropping.region"),
    ],
)
def test_what_cannot_be_meant_about_structures_is_refused_before_anything_runs(tmp_path, text, said):
    (tmp_path / "names.csv").write_text("a,b\n")
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert said in str(error.value)


def test_the_resolved_file_loads_to_the_same_configuration(tmp_path):
    config = parse_config({"workers": 3, "dvh": {"d_cc": [0.5]}, "segmentation": {"roi_subset": ["liver"]}})
    path = tmp_path / "resolved.yaml"
    path.write_text(config_yaml(config))
    assert load_config(path) == config


def test_every_field_says_what_it_means_and_whether_it_changes_results():
    def check(model: type[Section]) -> None:
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                check(field.annotation)
                continue
            assert field.description, f"{model.__name__}.{name} has no meaning"
            assert isinstance(field.json_schema_extra, dict), f"{model.__name__}.{name} says nothing about results"
            assert field.json_schema_extra["result"] in (True, False, "file")

    check(Config)


def test_the_configurations_of_the_first_description_load():
    minimal, medium, large = (parse_config(yaml.safe_load(text)) for text in (MINIMAL, MEDIUM, LARGE))
    assert (minimal.workers, minimal.segmentation.workers, minimal.radiomics.thread_limit) == ("auto", 1, None)
    assert (medium.workers, medium.segmentation.nr_threads_save, medium.radiomics.thread_limit) == (8, 4, 4)
    assert (large.workers, large.segmentation.workers, large.custom_models.workers) == (32, 2, 2)


def test_a_dvh_of_loose_files_has_the_metrics_of_a_run_by_default():
    from rtpipeline.dvh import metrics

    dvh = Config().dvh
    assert (dvh.d_pct, dvh.d_cc, dvh.v_gy) == (list(metrics.D_PCT), list(metrics.D_CC), list(metrics.V_GY))
    assert (dvh.v_rx_pct, dvh.coverage_limit_pct) == (list(metrics.V_RX_PCT), metrics.COVERAGE_LIMIT_PCT)
