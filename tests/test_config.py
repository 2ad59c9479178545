"""A configuration is checked key by key, and every mistake is one sentence."""

from pathlib import Path

import pytest

from shm_data.errors import ShmDataError
from shm_model.config import Config, config_of, load_config

SEED_KEYS = """mode cuda ngpu tnet_checkpoint mnet_checkpoint shm_checkpoint checkpoint_name savedir eval backbone
data_root loss batch_size lr weight_decay max_epoch loss_lambda sample_period checkpoint_period""".split()
CONFIGS = sorted((Path(__file__).parents[1] / "configs").rglob("*.yaml"))


def written(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_all_keys_users_know_are_there():
    assert set(SEED_KEYS) <= set(Config.model_fields)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_of_ours_is_valid(path):
    load_config(path)


def test_numbers_written_as_yaml_does_not_know_them_are_numbers(tmp_path):
    config = load_config(written(tmp_path, "mode: pretrain_tnet\ndata_root: d\nlr: 1e-4\n"))
    assert config.lr == 1e-4


def test_overrides_win(tmp_path):
    path = written(tmp_path, "mode: pretrain_tnet\ndata_root: d\n")
    config = load_config(path, ["lr=1e-3", "patch_sizes=[64, 96]", "backbone=resnet18", "eval=false"])
    assert (config.lr, config.patch_sizes, config.backbone, config.eval) == (1e-3, (64, 96), "resnet18", False)


def test_a_configuration_survives_its_plain_form():
    config = Config(mode="pretrain_mnet", data_root=Path("d"), patch_sizes=(64,))
    assert config_of(config.model_dump(mode="json"), "x") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mode: pretrain_tnet\ndata_root: d\nbatchsize: 3", "found batchsize, expected batch_size?"),
        ("mode: pretrain_tnet\ndata_root: d\nlr: -1", "lr: found -1, expected greater than 0"),
        ("mode: train\ndata_root: d", "mode: found 'train', expected 'pretrain_tnet'"),
        ("mode: pretrain_tnet", "data_root: expected a value"),
        ("mode: pretrain_tnet\ndata_root: d\ncheckpoint_name: ../x.pt", "checkpoint_name"),
        ("mode: end_to_end\ndata_root: d", "tnet_checkpoint: end_to_end starts from pretrained networks"),
        ("mode: end_to_end\ndata_root: d\ntnet_checkpoint: a.pt", "mnet_checkpoint: end_to_end starts from"),
        ("mode: test\ndata_root: d", "test needs shm_checkpoint"),
        ("[1, 2]", "found list, expected keys and values"),
        ("a: [", "broken YAML"),
        ("!!python/object/apply:os.system ['true']", "broken YAML"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, text, message):
    with pytest.raises(ShmDataError) as caught:
        load_config(written(tmp_path, text))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_and_a_broken_override_are_named(tmp_path):
    with pytest.raises(ShmDataError) as error:
        load_config(tmp_path / "absent.yaml")
    assert error.value.path == str(tmp_path / "absent.yaml")
    with pytest.raises(ShmDataError) as error:
        load_config(written(tmp_path, "mode: pretrain_tnet\ndata_root: d"), ["lr"])
    assert (error.value.found, error.value.expected) == ("lr", "key=value")


def test_patches_are_the_papers_by_default():
    both = {"tnet_checkpoint": "t.pt", "mnet_checkpoint": "m.pt"}
    assert config_of({"mode": "pretrain_mnet", "data_root": "x"}, "x").patches == (320,)
    assert config_of({"mode": "end_to_end", "data_root": "x"} | both, "x").patches == (320, 480, 640)
    assert config_of({"mode": "pretrain_mnet", "data_root": "x", "patch_sizes": [64, 96]}, "x").patches == (64, 96)
