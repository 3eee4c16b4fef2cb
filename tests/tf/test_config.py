"""Configs: packaged ones load, mistakes name their path."""

import pytest
import yaml

from mggr_edge.errors import ConfigError
from mggr_tf.config import config_from_plain, config_to_plain
from mggr_tf.config.files import config_names, load_config


@pytest.mark.parametrize("name", config_names())
def test_every_packaged_config_loads_and_round_trips(name):
    config = load_config(name)
    assert config.name == name
    assert config_from_plain(yaml.safe_load(yaml.safe_dump(config_to_plain(config)))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("stages.joint.losses[0].w=1", r"stages.joint.losses\[0\]: unknown key 'w'"),
        ("stages.joint.batch=many", "stages.joint.batch: expected int, got 'many'"),
        ("stages.joint.batch=0", "stages.joint: steps and batch must be at least 1"),
        ("models.coarse.stem_stride=3", "models.coarse: stem_stride must be 1 or 2"),
        ("models.coarse.decoder=[1]", "models.coarse: decoder must have one level less"),
        ("moving_average=1.0", "moving_average and held_out"),
        ("stages.coarse.losses[0].picture=redirected", "coarse stage has no redirected"),
        ("stages.coarse.losses[0].name=adversarial", "belongs to the fine and joint"),
        (
            "stages.coarse.losses[0].name=landmarks",
            "stages estimator and adapted have the losses",
        ),
        (
            "stages.estimator.losses=[{name: l1, weight: 1}]",
            "stages estimator and adapted have the losses",
        ),
        ("stages.judge.losses=[{name: landmarks, weight: 1}]", "the judge has no losses"),
        ("models.estimator_state=false", "go together: got false and a loss"),
        ("stages.estimator.losses=[]", "go together: got true and no loss"),
        ("synthetic.closing_share=0", r"closing_share in \(0, 1\]"),
        ("synthetic.closing_subjects=1", "closing_subjects must be at least 2"),
        ("stages.joint.losses[99].weight=1", "'99' is no index or name in a list"),
        ("stages.joint.losses.beauty.weight=1", "'beauty' is no index or name in a list"),
        ("stages.joint.losses.l1.weight=1", "'l1' stands 2 times; give its index"),
        ("stages.later={steps: 1, batch: 1, learning_rate: 1}", "stages: unknown later"),
        ("recipe=[]", "recipe must name at least one stage"),
        ("recipe=[coarse, joint]", r"set recipe: \[estimator, coarse, joint\]"),
        ("models.guidance=[head_pose]", "guidance must hold gazemap or delta"),
        ("models.coarse=null", "there is no coarse branch to train"),
        ("models.generator={width: 8}", "generator belongs to method prgan"),
        ("method=prgan", "generator belongs to method prgan"),
        ("stages.joint.adversary={critic_steps: 0}", "critic_steps must be at least 1"),
        ("stages.joint.validation={pairs: 0}", "validation: every and patience must be at least 0"),
        ("stages.joint.validation={every: 0, patience: 3}", "`every: 0` has none"),
        ("stages.joint.learning_rate=.inf", "stages.joint.learning_rate: expected a finite"),
        ("stages.coarse.losses[0].weight=.nan", "stages.coarse.losses.0.weight: expected a finite"),
        ("seed=-1", r"seed must lie in \[0"),
        ("synthetic.subjects=0", "synthetic: subjects and per_group must be at least 1"),
        ("synthetic.seed=-1", "seed at least 0"),
        ("seed", "expected key=value"),
        ("seed.deeper=1", "nothing below"),
        ("seed=[", "not YAML"),
    ],
)
def test_mistakes_name_their_path(change, message):
    with pytest.raises(ConfigError, match=message):
        load_config("mggr-edge", changes=[change])


def test_a_number_with_an_exponent_is_a_number():
    config = load_config("mggr-edge", changes=["limits.int8.gaze.mean_abs=1e-3"])
    assert config.limits.int8.gaze.mean_abs == 0.001


def test_changes_take_effect():
    config = load_config("mggr-edge", changes=["seed=7", "stages.joint.losses[0].weight=2"])
    assert config.seed == 7
    assert config.stage("joint").losses[0].weight == 2.0


def test_a_loss_is_left_out_by_its_name():
    config = load_config("mggr-edge", changes=["stages.joint.losses.adversarial.weight=0"])
    assert "adversarial" not in {loss.name for loss in config.stage("joint").active}
    assert "adversarial" in {loss.name for loss in config.stage("joint").losses}


def test_a_stage_needs_what_comes_before_it_in_the_recipe():
    config = load_config("mggr-edge")
    assert config.needed("joint") == ("estimator", "coarse")
    assert config.needed("fine") == ("estimator", "coarse")
    assert config.needed("judge") == config.needed("estimator") == ()
    at_once = load_config("mggr-edge", changes=["recipe=[estimator, joint]"])
    assert at_once.needed("joint") == ("estimator",)
    assert load_config("deepwarp-edge").needed("joint") == ()


def test_a_config_without_a_stage_says_which_it_has():
    with pytest.raises(ConfigError, match="deepwarp-edge has no stage 'coarse'"):
        load_config("deepwarp-edge").stage("coarse")


def test_missing_configs_say_what_there_is(tmp_path):
    with pytest.raises(ConfigError, match="mggr-edge"):
        load_config("nonsense")
    with pytest.raises(ConfigError, match="no such config file"):
        load_config(str(tmp_path / "gone.yaml"))


def test_a_file_that_is_not_yaml_is_named(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("a: [")
    with pytest.raises(ConfigError, match=r"bad\.yaml: not YAML"):
        load_config(str(file))
