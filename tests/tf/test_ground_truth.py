"""Redirected synthetic eyes beside the true picture, at the resolution of a frame."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge.models.bundle import Bundle
from mggr_tf.cli import main
from mggr_tf.evaluation.ground_truth import (
    SIZE_PX,
    redirect_pair,
    score_truth,
    subject_names,
    true_pairs,
)


@pytest.fixture(scope="module")
def pairs():
    return list(true_pairs(2))


def test_both_pictures_of_a_pair_show_one_eye_in_one_crop(pairs):
    assert len(pairs) == 4
    assert [pair.source.side for pair in pairs] == ["right", "left"] * 2
    assert [pair.source.subject.glasses is not None for pair in pairs] == [False] * 2 + [True] * 2
    for pair in pairs:
        assert pair.source.image.shape == pair.target.image.shape == (SIZE_PX, SIZE_PX, 3)
        assert pair.source.head_pose == pair.target.head_pose
        assert pair.source.eyeball_radius_px == pair.target.eyeball_radius_px
        frame = np.ones((SIZE_PX, SIZE_PX), bool)
        frame[60:196, 40:216] = False
        off = np.abs(pair.source.image.astype(int) - pair.target.image)[frame]
        assert np.median(off) <= 6  # skin outside the eye stays, except for noise
        assert 0.01 < pair.opening().mean() < 0.25


def test_equal_arguments_give_equal_pairs(pairs):
    again = list(true_pairs(1, first=1))
    np.testing.assert_array_equal(again[0].source.image, pairs[2].source.image)
    assert subject_names(2) == {"drawn-7800-00000", "drawn-7800-00001"}


def test_the_true_picture_is_perfect_and_the_source_equals_the_copy(pairs):
    perfect = score_truth(pairs, lambda pair: pair.target.image)[0]
    assert (perfect.group, perfect.pairs) == ("all", 4)
    assert perfect.psnr_db > 100
    copied = score_truth(pairs, lambda pair: pair.source.image)[0]
    assert copied.psnr_db == copied.copy_psnr_db < 30
    assert copied.lpips is None


def test_groups_divide_the_pairs(pairs):
    scores = {one.group: one.pairs for one in score_truth(pairs, lambda pair: pair.source.image)}
    assert scores["with glasses"] == scores["without glasses"] == 2
    assert sum(count for group, count in scores.items() if group.startswith("shift")) == 4


@pytest.mark.extended
def test_the_packaged_weights_are_nearer_to_the_truth_than_the_source():
    pairs = list(true_pairs(8, first=500))
    with Bundle.open("default") as bundle:
        score = score_truth(pairs, lambda pair: redirect_pair(pair, bundle))[0]
    assert score.psnr_db > score.copy_psnr_db + 4


@pytest.mark.extended
def test_the_command_prints_one_row_per_group(monkeypatch):
    monkeypatch.setattr("mggr_tf.cli.natural._PAIRED_PEOPLE", 2)
    monkeypatch.setattr("mggr_tf.cli.natural._lpips", lambda: None)
    result = CliRunner().invoke(main, ["natural", "default", "synthetic-pairs", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert {row["source"] for row in rows} == {"synthetic-pairs"}
    assert rows[0]["group"] == "all"
    assert rows[0]["pairs"] == 4
    assert rows[0]["lpips"] is None
    assert CliRunner().invoke(main, ["natural", "default", "synthetic-pairs"]).exit_code == 0
