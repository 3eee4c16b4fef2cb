"""Speed beside a rival's: what is timed is what it is called, and the arithmetic is right."""

import re

import numpy as np
import pytest
from click.testing import CliRunner
from tensorflow import keras

from mggr_edge.common.progress import no_progress
from mggr_export.formats.keras_models import models_of_run
from mggr_export.tools.speed import (
    LayerSpeed,
    Speed,
    convolutions_of,
    main,
    matrix_product,
    measure_speed,
    prgan_generator,
    speed_text,
)
from mggr_tf.evaluation.metrics import multiply_accumulates
from refusals import error_of


def test_convolutions_are_found_in_nested_models_and_counted():
    inner_eye = keras.Input((8, 8, 4), name="inner_eye")
    inner = keras.Model(
        inner_eye,
        keras.layers.DepthwiseConv2D(3, padding="same", name="deep")(inner_eye),
        name="in",
    )
    eye = keras.Input((16, 16, 3), name="eye")
    features = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="first")(eye)
    up = keras.layers.Conv2DTranspose(2, 4, strides=2, padding="same", name="up")(inner(features))
    found = convolutions_of(keras.Model(eye, up))
    assert [layer.name for layer in found] == ["first", "in/deep", "up"]
    macs = [layer.mmac * 1e6 for layer in found]
    assert macs == pytest.approx([64 * 9 * 3 * 4, 64 * 9 * 4, 64 * 16 * 2 * 4])
    assert found[1].model.input_shape == (None, 8, 8, 4)


@pytest.mark.extended
def test_a_redirector_s_convolutions_are_nearly_all_of_its_arithmetic(run):
    model = models_of_run(run)["redirector"]
    convolutions = sum(layer.mmac for layer in convolutions_of(model))
    whole = multiply_accumulates(model) / 1e6
    assert 0.7 * whole < convolutions < whole


@pytest.mark.extended
def test_the_rival_is_the_published_size():
    generator = prgan_generator()
    assert generator.count_params() == pytest.approx(8.42e6, rel=0.01)
    convolutions = sum(layer.mmac for layer in convolutions_of(generator))
    assert convolutions == pytest.approx(2450, rel=0.03)


def test_the_matrix_product_is_one():
    product, mmac = matrix_product()
    made = product()["made"]
    assert made.shape == (768, 768)
    assert np.abs(made).max() > 50  # sums of 768 products of normal numbers
    assert mmac == pytest.approx(453, rel=0.01)


def test_rates_and_shares():
    speed = Speed(
        redirector_ms={"float32": 5.0, "int8": 3.0},
        rival_ms=160.0,
        ratio={"float32": 32.0, "int8": 53.3},
        layers=(
            LayerSpeed("a", 30.0, {"float32": 1.0, "int8": 0.5}),
            LayerSpeed("b", 30.0, {"float32": 2.0, "int8": 1.0}),
        ),
        matrix_gmacs=40.0,
        rounds=50,
    )
    assert speed.convolution_gmacs("float32") == pytest.approx(20)
    lines = speed_text(speed).splitlines()
    numbers = {
        line.split(":")[0]: re.findall(r"[\d.]+(?: ms| GMAC/s|%)", line)
        for line in lines
        if line.startswith("convolutions, ")
    }
    assert numbers == {
        "convolutions, float32": ["3.00 ms", "20.0 GMAC/s", "50%", "2.00 ms"],
        "convolutions, int8": ["1.50 ms", "40.0 GMAC/s", "100%", "1.50 ms"],
    }
    assert any(line.split() == ["b", "30.00", "2.000", "15.0", "1.000", "30.0"] for line in lines)


@pytest.mark.slow
def test_everything_is_timed_in_turns(run):
    model = models_of_run(run)["redirector"]
    speed = measure_speed(model, seconds=0, progress=no_progress)
    assert speed.rounds >= 20
    assert set(speed.ratio) == {"float32", "int8"}
    assert [layer.name for layer in speed.layers] == [one.name for one in convolutions_of(model)]
    figures = (*speed.redirector_ms.values(), *speed.ratio.values(), speed.rival_ms)
    assert all(np.isfinite(figure) and figure > 0 for figure in figures)
    assert "PRGAN's generator" in speed_text(speed)


def test_a_run_that_is_not_there():
    result = CliRunner().invoke(main, ["nowhere"])
    error_of(result, "not-a-run", path="nowhere")
