"""Every choice of losses that a config accepts can be trained; every other one is refused."""

import gc
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import get_args, get_type_hints

import numpy as np
import pytest
import tensorflow as tf

from mggr_edge.errors import ConfigError
from mggr_tf.config import config_from_plain, config_to_plain
from mggr_tf.config.files import load_config
from mggr_tf.config.stages import (
    NEEDS_DISCRIMINATOR,
    NEEDS_EFFICIENTNET,
    NEEDS_EXACT_FLOW,
    NEEDS_FEATURES,
    NEEDS_GAZE,
    OF_ESTIMATOR,
    ON_NO_PICTURE,
    STAGES,
    LossConfig,
    LossName,
)
from mggr_tf.models.networks import Networks
from mggr_tf.training.step import RedirectionStep
from refusals import refusal

STAGES_OF_LOSSES = ("coarse", "fine", "joint")
PICTURES = get_args(get_type_hints(LossConfig)["picture"])
OPTIONS = [
    (name, picture)
    for name in get_args(LossName)
    for picture in (PICTURES[-1:] if name in ON_NO_PICTURE else PICTURES)
]
"""Every loss on every picture, as the config's own types have them."""

KINDS = (NEEDS_GAZE, NEEDS_FEATURES, NEEDS_EXACT_FLOW, NEEDS_DISCRIMINATOR, NEEDS_EFFICIENTNET)

PATCH = 32
PRGAN = ("models.generator={width: 2, blocks: 1}", "models.discriminator=[4, 6]")
PLAIN = ("models.features=estimator", "models.features_precision=float32")
METHODS = {
    "mggr": ("mggr-edge", ()),
    "mggr-fine": ("mggr-edge", ("models.coarse=null", "recipe=[estimator, joint]")),
    "deepwarp": ("deepwarp-edge", ()),
    "prgan": ("prgan-edge", (*PRGAN, *PLAIN, "recipe=[estimator, joint]")),
}


@cache
def base(method, tiny, recipe):
    name, changes = METHODS[method]
    small = tiny if method.startswith("mggr") else ()
    if method == "deepwarp":
        branch = "{widths: [4, 6], blocks: 0, decoder: [4]}"
        small = (*PLAIN, *(f"models.{part}={branch}" for part in ("coarse", "fine")))
    shared = ("models.estimator=[4, 4, 6]", f"conventions.patch_size={PATCH}", *changes)
    config = load_config(name, changes=(*small, *shared))
    settings = config_to_plain(config)
    # Every stage is there, each with the settings of the last one.
    last = settings["stages"][config.recipe[-1]]
    settings["stages"] = {
        stage: {**last, "losses": [{"name": "l1", "weight": 1.0}], "batch": 2}
        for stage in ("fine", "joint")
    } | {"estimator": {**last, "losses": []}}
    if config.models.coarse is not None:
        settings["stages"]["coarse"] = {
            **last,
            "losses": [{"name": "l1", "weight": 1.0, "picture": "coarse"}],
        }
    settings["recipe"] = list(recipe)
    return settings


def config_of(settings, stage, options):
    losses = [{"name": name, "weight": 0.5, "picture": picture} for name, picture in options]
    stages = {**settings["stages"], stage: {**settings["stages"][stage], "losses": losses}}
    return config_from_plain({**settings, "stages": stages})


def accepted(config, stage, options):
    """Whether a config takes these losses in place of a stage's own."""
    losses = tuple(LossConfig(name, 0.5, picture) for name, picture in options)
    settings = replace(config.stages[stage], losses=losses)
    try:
        replace(config, stages={**config.stages, stage: settings})
    except ValueError:
        return False
    return True


def is_of_the_flow(option):
    name, picture = option
    return name in ("flow_smoothness", "exact_flow") or picture == "coarse"


@cache
def batch():
    rng = np.random.default_rng(0)

    def random(*shape):
        return tf.constant(rng.uniform(-1, 1, (2, *shape)).astype(np.float32))

    planes = {"eye": 3, "target": 3, "gazemap": 2, "flow": 2}
    vectors = ("delta", "head_pose", "source_gaze", "target_gaze")
    return {
        **{name: random(PATCH, PATCH, depth) for name, depth in planes.items()},
        **{name: random(2) for name in vectors},
        "flow_seen": tf.ones([2, PATCH, PATCH]),
    }


def step_of(networks, stage, config):
    total = tf.Variable(10, dtype=tf.int64)
    return RedirectionStep(
        networks, stage, config.stage(stage), moving_average=0.9, total=total, replicas=1
    )


def run_one_step(networks, stage, config, *, traced):
    """One step; it must move a network that its stage trains, and give every loss as a number."""
    step = step_of(networks, stage, config)
    parts = config.models.parts if stage == "joint" else (stage,)
    weights = [w for part in parts for w in networks.redirection.part(part).trainable_variables]
    before = [w.numpy() for w in weights]
    metrics = (tf.function(step) if traced else step)(batch())
    assert len(metrics) >= len(config.stage(stage).active) + 1
    assert all(np.isfinite(float(value)) for value in metrics.values())
    assert any((w.numpy() != b).any() for w, b in zip(weights, before, strict=True))
    del step
    gc.collect()  # A traced step refers to itself and holds its graph, up to gigabytes in all.


@cache
def networks_of(method, tiny):
    settings = base(method, tiny, ("estimator", "joint"))
    return Networks(config_from_plain(settings))


def kind_of(option):
    name, picture = option
    return tuple(name in kind for kind in KINDS), name in ON_NO_PICTURE, picture


def one_of_each_kind(stage):
    """A loss of each kind; EfficientNet's is no tiny network, and lpips needs AlexNet."""
    left = [
        option
        for option in OPTIONS
        if option[0] not in OF_ESTIMATOR | NEEDS_EFFICIENTNET | {"lpips"}
    ]
    if stage != "joint":
        return tuple({kind_of(option): option for option in left}.values())
    return (("exact_flow", "redirected"), ("cycle", "redirected"), ("style", "coarse"))


@pytest.mark.extended
@pytest.mark.parametrize(
    ("stage", "option"),
    [(stage, option) for stage in STAGES_OF_LOSSES for option in one_of_each_kind(stage)],
)
def test_a_loss_of_each_kind_can_be_a_stages_only_one(tiny_changes, stage, option):
    settings = base("mggr", tiny_changes, ("estimator", "joint"))
    if not accepted(config_from_plain(settings), stage, [option]):
        with refusal(ConfigError, "invalid-value", at="top level") as caught:
            config_of(settings, stage, [option])
        assert f"stages.{stage}.losses" in caught.value.fields["reason"]
        return
    config = config_of(settings, stage, [option])
    run_one_step(networks_of("mggr", tiny_changes), stage, config, traced=False)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stage", STAGES)
def test_pairs_are_accepted_where_both_are(tiny_changes, method, stage):
    config = config_from_plain(base(method, tiny_changes, ("estimator", "joint")))
    if stage not in config.stages:
        pytest.skip(f"{method} has no {stage} stage")
    alone = {option: accepted(config, stage, [option]) for option in OPTIONS}
    assert any(alone.values()) == (stage in (*STAGES_OF_LOSSES, "estimator"))
    for one, other in combinations(OPTIONS, 2):
        both = accepted(config, stage, [one, other])
        if alone[one] and alone[other]:
            assert both, (one, other)
        elif both:
            # Beside a loss that trains the stage's branch, one that does not is no mistake.
            refused = [option for option in (one, other) if not alone[option]]
            assert len(refused) == 1, (one, other)
            assert is_of_the_flow(refused[0]), (one, other)


@pytest.mark.extended
@pytest.mark.parametrize("stage", STAGES_OF_LOSSES)
def test_without_an_estimator_in_the_recipe_no_accepted_loss_asks_one(tiny_changes, stage):
    settings = base("mggr", tiny_changes, (stage,))
    plain = config_from_plain(settings)
    refused = {o[0] for o in OPTIONS if not accepted(plain, stage, [o])}
    assert {"gaze", "perceptual", "style"} <= refused
    for option in OPTIONS:
        if option[0] not in NEEDS_EFFICIENTNET and accepted(plain, stage, [option]):
            config = config_of(settings, stage, [option])
            networks = Networks(config)
            # Branches in place of which nothing is built: only what losses ask is of interest.
            vars(networks).update(vars(networks_of("mggr", tiny_changes)))
            vars(networks).pop("estimator", None)
            vars(networks).pop("features", None)
            step_of(networks, stage, config)
            assert not {"estimator", "features"} & vars(networks).keys(), option


def test_a_stage_beside_the_recipe_is_refused_before_it_asks_an_untrained_network(tiny_changes):
    settings = base("mggr", tiny_changes, ("joint",))
    config = config_of(settings, "fine", [("style", "redirected")])
    with refusal(ConfigError, "losses-without-estimator", stage="fine", losses="style"):
        config.refuse_untrainable(["fine"], has_estimator=False)
    config.refuse_untrainable(["fine"], has_estimator=True)
    config.refuse_untrainable(["estimator", "fine"], has_estimator=False)
    fine_only = config_from_plain(base("mggr-fine", tiny_changes, ("estimator", "joint")))
    with refusal(ConfigError, "branch-not-set", stage="coarse"):
        fine_only.refuse_untrainable(["coarse"], has_estimator=True)


@pytest.mark.parametrize("stage", STAGES_OF_LOSSES)
def test_a_stage_without_losses_is_refused(tiny_changes, stage):
    settings = base("mggr", tiny_changes, ("estimator", "joint"))
    with refusal(ConfigError, "invalid-value", at="top level") as caught:
        config_of(settings, stage, [])
    assert f"stages.{stage}.losses: no loss" in caught.value.fields["reason"]


def test_updates_of_a_discriminator_that_no_loss_needs_enlarge_no_batch(tiny_changes):
    settings = base("mggr", tiny_changes, ("estimator", "joint"))
    last = {**settings["stages"]["joint"], "adversary": {"critic_steps": 3}}
    settings = {**settings, "stages": {**settings["stages"], "joint": last}}
    for name, steps in (("adversarial", 3), ("l1", 1)):
        config = config_of(settings, "joint", [(name, "redirected")])
        assert config.stage("joint").critic_steps == steps


@pytest.mark.slow
@pytest.mark.parametrize("features", ["estimator", "alexnet"])
@pytest.mark.parametrize("stage", STAGES_OF_LOSSES)
@pytest.mark.parametrize("method", METHODS)
def test_losses_trace_and_run_alone_all_together_and_all_but_one(
    tiny_changes, method, stage, features
):
    """Every two losses run together, and every one runs without each other one.

    All pairs one by one would be six hundred steps to trace for each of these tests.
    """
    settings = base(method, tiny_changes, ("estimator", "joint"))
    if stage not in settings["stages"] or (method == "prgan" and stage == "fine"):
        pytest.skip(f"{method} has no {stage} stage")
    settings = {**settings, "models": {**settings["models"], "features": features}}
    plain = config_from_plain(settings)
    networks = Networks(plain)
    alone = [option for option in OPTIONS if accepted(plain, stage, [option])]
    choices = [(option,) for option in alone] + [tuple(alone)]
    choices += [tuple(kept for kept in alone if kept != left_out) for left_out in alone]
    assert len(alone) > 1
    for options in choices:
        assert accepted(plain, stage, options), options
        run_one_step(networks, stage, config_of(settings, stage, options), traced=True)
