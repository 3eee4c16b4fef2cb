"""Configs: packaged ones load, mistakes name their path."""

import pytest
import yaml

from mggr_edge.errors import ConfigError
from mggr_tf.config import config_from_plain, config_to_plain
from mggr_tf.config.files import config_names, load_config
from refusals import refusal


@pytest.mark.parametrize("name", config_names())
def test_every_packaged_config_loads_and_round_trips(name):
    config = load_config(name)
    assert config.name == name
    assert config_from_plain(yaml.safe_load(yaml.safe_dump(config_to_plain(config)))) == config


@pytest.mark.parametrize(
    ("change", "code", "fields"),
    [
        (
            "stages.joint.losses[0].w=1",
            "unknown-key",
            {"at": "stages.joint.losses[0]", "key": "w"},
        ),
        (
            "stages.joint.batch=many",
            "wrong-type",
            {"at": "stages.joint.batch", "expected": "int", "found": "'many'"},
        ),
        ("stages.joint.losses[99].weight=1", "change-no-such-element", {"key": "99"}),
        ("stages.joint.losses.beauty.weight=1", "change-no-such-element", {"key": "beauty"}),
        ("stages.joint.losses.l1.weight=1", "change-name-not-unique", {"key": "l1", "count": 2}),
        (
            "stages.joint.learning_rate=.inf",
            "number-not-finite",
            {"at": "stages.joint.learning_rate", "found": "inf"},
        ),
        (
            "stages.coarse.losses[0].weight=.nan",
            "number-not-finite",
            {"at": "stages.coarse.losses.0.weight", "found": "nan"},
        ),
        ("seed", "change-without-value", {"change": "seed"}),
        ("seed.deeper=1", "change-below-value", {"key": "deeper"}),
        ("seed=[", "change-not-yaml", {"change": "seed=["}),
    ],
)
def test_mistakes_name_their_path(change, code, fields):
    with refusal(ConfigError, code, file="mggr-edge", **fields):
        load_config("mggr-edge", changes=[change])


TOP = "top level"


@pytest.mark.parametrize(
    ("change", "at", "named"),
    [
        ("stages.joint.batch=0", "stages.joint", ["batch"]),
        ("models.coarse.stem_stride=3", "models.coarse", ["stem_stride", "got 3"]),
        ("models.coarse.decoder=[1]", "models.coarse", ["decoder", "got 1 and"]),
        ("moving_average=1.0", TOP, ["moving_average", "got 1.0"]),
        (
            "stages.coarse.losses[0].picture=redirected",
            TOP,
            ["stages.coarse.losses[0]", "`picture: coarse`"],
        ),
        (
            "stages.coarse.losses[0].name=adversarial",
            TOP,
            ["stages.coarse.losses[0]", "'adversarial'", "fine and joint"],
        ),
        (
            "stages.coarse.losses[0].name=landmarks",
            TOP,
            ["stages.coarse.losses[0]", "'landmarks'", "stage coarse"],
        ),
        (
            "stages.estimator.losses=[{name: l1, weight: 1}]",
            TOP,
            ["stages.estimator.losses[0]", "'l1'", "stage estimator"],
        ),
        (
            "stages.judge.losses=[{name: landmarks, weight: 1}]",
            TOP,
            ["stages.judge.losses[0]", "'landmarks'", "stage judge"],
        ),
        (
            "models.estimator_state=false",
            TOP,
            ["models.estimator_state", "stages.estimator.losses", "got false and a loss"],
        ),
        (
            "stages.estimator.losses=[]",
            TOP,
            ["models.estimator_state", "stages.estimator.losses", "got true and no loss"],
        ),
        ("synthetic.closing_share=0", "synthetic", ["closing_share in (0, 1]"]),
        ("synthetic.closing_subjects=1", "synthetic", ["closing_subjects must be at least 2"]),
        ("stages.later={steps: 1, batch: 1, learning_rate: 1}", TOP, ["stages: unknown later"]),
        ("recipe=[]", TOP, ["recipe must", "at least one stage"]),
        ("recipe=[coarse, joint]", TOP, ["recipe: [estimator, coarse, joint]"]),
        ("models.guidance=[head_pose]", "models", ["guidance", "gazemap or delta"]),
        ("models.coarse=null", TOP, ["recipe: stage coarse", "models.coarse"]),
        ("models.generator={width: 8}", TOP, ["models.generator", "method prgan"]),
        ("method=prgan", TOP, ["models.generator", "method prgan"]),
        (
            "stages.joint.adversary={critic_steps: 0}",
            "stages.joint.adversary",
            ["critic_steps must be at least 1"],
        ),
        ("stages.joint.validation={pairs: 0}", "stages.joint.validation", ["pairs at least 1"]),
        (
            "stages.joint.validation={every: 0, patience: 3}",
            "stages.joint.validation",
            ["patience", "`every: 0`"],
        ),
        ("seed=-1", TOP, ["seed", "[0, 2**32)", "got -1"]),
        ("synthetic.subjects=0", "synthetic", ["subjects and per_group must be at least 1"]),
        ("synthetic.seed=-1", "synthetic", ["seed at least 0"]),
    ],
)
def test_invalid_values_name_their_key(change, at, named):
    with refusal(ConfigError, "invalid-value", file="mggr-edge", at=at) as caught:
        load_config("mggr-edge", changes=[change])
    assert [one for one in named if one not in caught.value.fields["reason"]] == []


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
    with refusal(ConfigError, "no-such-stage", config="deepwarp-edge", stage="coarse") as caught:
        load_config("deepwarp-edge").stage("coarse")
    assert "joint" in caught.value.fields["known"]


def test_missing_configs_say_what_there_is(tmp_path):
    known = ", ".join(config_names())
    with refusal(ConfigError, "no-such-config", name="nonsense", known=known):
        load_config("nonsense")
    with refusal(ConfigError, "no-such-file", file=tmp_path / "gone.yaml"):
        load_config(str(tmp_path / "gone.yaml"))


def test_a_file_that_is_not_yaml_is_named(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("a: [")
    with refusal(ConfigError, "file-not-yaml", file=file):
        load_config(str(file))


def test_a_named_element_is_appended_or_replaced():
    before = load_config("mggr-edge").stage("joint").losses
    assert "ssim" not in [loss.name for loss in before]
    added = load_config(
        "mggr-edge", changes=["stages.joint.losses.ssim={name: ssim, weight: 0.25}"]
    )
    *others, last = added.stage("joint").losses
    assert tuple(others) == before
    assert (last.name, last.weight) == ("ssim", 0.25)
    again = load_config(
        "mggr-edge", changes=["stages.joint.losses.lpips={name: lpips, weight: 0.125}"]
    )
    assert len(again.stage("joint").losses) == len(before)
    weights = {loss.name: loss.weight for loss in again.stage("joint").losses}
    assert weights["lpips"] == 0.125


@pytest.mark.parametrize("donors", [False, True])
def test_a_config_takes_the_window_of_its_donor(donors):
    mine, theirs = (
        load_config("mggr-synthetic", changes=[f"models.estimator_window={str(on).lower()}"])
        for on in (not donors, donors)
    )
    assert not mine.builds_alike("estimator", theirs)
    assert mine.for_donor(theirs) == theirs
    assert mine.for_donor(mine) is mine
