"""Metrics against closed forms and scikit-image; the protocol's fences."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import RunError, UsageError
from mggr_edge.geometry.gaze_map import draw_gazemap
from mggr_edge.models.conventions import Conventions
from mggr_tf.data.pairs import all_pairs
from mggr_tf.evaluation.metrics import (
    CATALOGUE,
    PairScores,
    by_head,
    by_shift,
    change_where,
    gaze_error_deg,
    image_metrics,
    outside_irises,
    overall,
)
from mggr_tf.evaluation.network_metrics import NetworkMetrics, open_network_metrics
from mggr_tf.evaluation.protocol import (
    _iris_residual,
    evaluate_pairs,
    refuse_seen_subjects,
    score_pictures,
)
from mggr_tf.evaluation.report import compare, resample, summarise, summary_text, write_json
from mggr_tf.evaluation.score_run import score_run
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord
from refusals import refusal

rng = np.random.default_rng(0)
CONVENTIONS = Conventions()


def test_a_constant_difference_has_known_scores():
    real = rng.uniform(0.2, 0.8, (3, 64, 64, 3)).astype(np.float32)
    scores = image_metrics(real + 0.1, real)
    np.testing.assert_allclose(scores["l1"], 0.1, rtol=1e-5)
    np.testing.assert_allclose(scores["mse"], 0.01, rtol=1e-5)
    np.testing.assert_allclose(scores["psnr_db"], 20, rtol=1e-5)


def test_a_copy_is_perfect():
    real = rng.uniform(0, 1, (2, 64, 64, 3)).astype(np.float32)
    scores = image_metrics(real, real)
    assert scores["l1"].max() == 0
    np.testing.assert_allclose(scores["ssim"], 1, atol=1e-6)
    np.testing.assert_allclose(scores["psnr_db"], 100)


def test_ssim_agrees_with_scikit_image():
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    real = rng.uniform(0, 1, (2, 64, 64, 3)).astype(np.float32)
    made = np.clip(real + rng.normal(0, 0.1, real.shape), 0, 1).astype(np.float32)
    theirs = [
        structural_similarity(
            a,
            b,
            data_range=1.0,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(made, real, strict=True)
    ]
    np.testing.assert_allclose(image_metrics(made, real)["ssim"], theirs, atol=0.01)


def test_gaze_error_is_the_angle():
    np.testing.assert_allclose(gaze_error_deg([[0, 10], [5, 0]], [[0, 4], [0, 0]]), [6, 5])


def test_outside_is_where_neither_drawn_iris_is():
    apart = outside_irises(np.float32([[0, -20]]), np.float32([[0, 20]]), conventions=CONVENTIONS)[
        0
    ]
    for yaw_deg in (-20, 20):
        iris = draw_gazemap([0, yaw_deg])[..., 0]
        assert not apart[iris > 0].any()
        # Widened: a pixel beside the iris is not outside yet, one ten pixels away is.
        column = int(np.flatnonzero(iris.any(0))[0 if yaw_deg < 0 else -1])
        away = -1 if yaw_deg < 0 else 1
        assert not apart[31, column + 3 * away]
        assert apart[31, column + 10 * away]
    still = outside_irises(np.zeros((1, 2)), np.zeros((1, 2)), conventions=CONVENTIONS)[0]
    assert still.sum() > apart.sum()
    np.testing.assert_array_equal(still, still[::-1, ::-1])


def test_change_outside_counts_only_what_is_outside():
    source = rng.uniform(0, 0.5, (2, 64, 64, 3)).astype(np.float32)
    outside = outside_irises(np.zeros((2, 2)), np.float32([[0, 15]] * 2), conventions=CONVENTIONS)
    inside_only = source + 0.3 * ~outside[..., None]
    np.testing.assert_array_equal(change_where(outside, inside_only, source), 0)
    everywhere = source + np.float32([[[[0.3]]], [[[0.1]]]])
    np.testing.assert_allclose(change_where(outside, everywhere, source), [0.3, 0.1], rtol=1e-5)


def looked_up(samples):
    """A judge that never errs: it finds the picture among the samples."""

    def judge(inputs):
        images = np.rint((inputs["eye"] + 1) * 127.5).astype(np.uint8)
        found = [np.flatnonzero((samples.images == i).all((1, 2, 3)))[0] for i in images]
        return samples.gaze_deg[found] / np.float32(CONVENTIONS.gaze_scale_deg)

    return judge


def copier(inputs):
    eye = inputs["eye"]
    return {
        "flow": np.zeros((*eye.shape[:3], 2), np.float32),
        "coarse": eye,
        "residual": eye * 0,
        "redirected": eye,
    }


@pytest.fixture(scope="module")
def crowd(samples):
    """The same eyes, of as many people as there are groups: enough for intervals."""
    return replace(samples, subject=np.array([f"{group:04d}" for group in samples.group]))


QUICK = open_network_metrics(quick=True)


def evaluated(samples, *, redirect=copier, limit=50, network_metrics=QUICK):
    return evaluate_pairs(
        samples,
        redirect=redirect,
        judge=looked_up(samples),
        network_metrics=network_metrics,
        conventions=CONVENTIONS,
        limit=limit,
        seed=0,
    )


def test_copying_scores_as_copy_and_the_target_as_perfect(crowd):
    evaluation = evaluated(crowd)
    summary = summarise(evaluation)
    table = summary.overall
    for metric, value in table["copy"].items():
        if metric not in summary.absent:
            assert table["redirected"][metric] == pytest.approx(value, rel=1e-4, abs=1e-7)
    assert table["target"]["l1"] == 0
    assert table["target"]["gaze_error_deg"] == pytest.approx(0, abs=1e-3)
    assert table["copy"]["outside_iris"] == 0
    assert table["target"]["outside_iris"] < table["copy"]["l1"]
    pairs = all_pairs(crowd, limit=50, seed=0)
    shift = gaze_error_deg(crowd.gaze_deg[pairs[:, 0]], crowd.gaze_deg[pairs[:, 1]])
    assert table["copy"]["gaze_error_deg"] == pytest.approx(shift.mean(), rel=1e-4)
    assert summary.iris_residual == 0
    assert summary.pairs == len(pairs)
    assert len(summary.by_head) > 1
    assert {found.verdict for found in summary.against["coarse"].values()} == {"undecided"}


def test_a_change_inside_the_iris_is_measured():
    coarse = np.zeros((2, 64, 64, 3), np.float32)
    redirected = coarse.copy()
    redirected[:, 22:42, 22:42] = 0.2  # wider than the iris of a gaze into the lens
    redirected[:, :5] = 1.0
    made = {"coarse": coarse, "redirected": redirected}
    found = _iris_residual(made, np.zeros((2, 2), np.float32), CONVENTIONS)
    assert found == pytest.approx(0.1, rel=1e-4)  # of the [0, 1] range


def test_tables_split_pairs_by_shift_and_head():
    shift_deg = np.array([3.0, 14.9, 15.0, 22.0, 40.0])
    head = np.float32([0, -0.0, 15, 15, -30])
    scores = PairScores(
        subject=np.array(["a", "a", "b", "b", "b"]),
        shift_deg=shift_deg,
        head_yaw_deg=head,
        metrics={"ours": {"l1": np.array([1.0, 3.0, 5.0, 7.0, 9.0])}},
        features={},
        absent={"lpips": "no weights"},
    )
    assert {k: t["ours"]["l1"] for k, t in by_shift(scores).items()} == {
        "0 to 15 deg": 2,
        "15 to 22 deg": 5,
        "22+ deg": 8,
    }
    assert {k: t["ours"]["l1"] for k, t in by_head(scores).items()} == {
        "-30 deg": 9,
        "+0 deg": 2,
        "+15 deg": 6,
    }
    assert overall(scores) == {"ours": {"l1": 5, "lpips": None}}


def noisy_pictures(samples, pairs):
    """Two methods that make the real picture, one with ten times the other's noise."""
    real = samples.images[pairs[:, 1]].astype(np.float32) / 255
    noise = np.random.default_rng(1).normal(size=real.shape).astype(np.float32)
    return {"clean": real + 0.01 * noise, "grainy": real + 0.1 * noise}


@pytest.mark.extended
def test_feature_metrics_and_verdicts_come_from_the_same_pairs(crowd):
    pairs = all_pairs(crowd, limit=12, seed=0)
    scores = score_pictures(
        noisy_pictures(crowd, pairs),
        crowd,
        pairs,
        judge=lambda inputs: np.zeros((len(inputs["eye"]), 2), np.float32),
        network_metrics=open_network_metrics(),
        conventions=CONVENTIONS,
    )
    table = overall(scores)
    assert list(table) == ["copy", "clean", "grainy", "target"]
    for metric in ("l1", "st_lpips", "fd_vgg"):
        assert table["target"][metric] == pytest.approx(0, abs=1e-6)
        assert 0 < table["clean"][metric] < table["grainy"][metric]
    resampled = resample(scores, ("clean", "grainy"), draws=20)
    found = compare(resampled["clean"], resampled["grainy"])
    assert list(found) == [name for name in CATALOGUE if name in found]
    for metric in ("l1", "ssim", "st_lpips", "fd_vgg", "kd_vgg"):
        assert found[metric].verdict == "ahead"
    assert "outside_iris" not in found
    back = compare(resampled["grainy"], resampled["clean"])
    assert back["psnr_db"].verdict == "behind"
    assert back["l1"].ratio.estimate == pytest.approx(10, rel=1e-3)
    assert back["psnr_db"].ratio is None


def test_what_was_not_measured_is_absent_and_no_number(samples, tmp_path):
    summary = summarise(evaluated(samples, limit=8))
    absent = {name for name, value in summary.overall["redirected"].items() if value is None}
    assert absent == {
        *("st_lpips", "fd_vgg", "kd_vgg", "lpips"),
        *("fid_keras_inception", "kid_keras_inception"),
    }
    text = summary_text(summary)
    assert "absent: ST-LPIPS (omitted by --quick)" in text
    assert "absent: FID (Keras Inception) (no --inception-weights)" in text
    write_json(tmp_path / "scores.json", summary, about={"run": "r"}, force=False)
    written = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert written["overall"]["redirected"]["lpips"] is None
    assert written["absent"]["lpips"] == "no --lpips-weights"
    assert set(written["overall"]["copy"]) == set(CATALOGUE)


def test_every_metric_is_measured_or_absent_with_its_reason():
    for network_metrics in (QUICK, NetworkMetrics(absent=QUICK.absent)):
        pairwise = {"l1", "mse", "psnr_db", "ssim", "gaze_error_deg", "outside_iris"}
        assert pairwise | set(network_metrics.absent) == set(CATALOGUE)


def test_two_subjects_have_no_intervals(samples):
    summary = summarise(evaluated(samples, limit=6))
    assert summary.against == {}
    assert "no intervals: they need at least 6 subjects" in summary_text(summary)


def test_seen_subjects_are_refused():
    refuse_seen_subjects(("1", "2"), {"the judge": ("3",)})
    with refusal(UsageError, "subjects-seen", trained="the judge", subjects="2"):
        refuse_seen_subjects(("1", "2"), {"the judge": ("2", "3")})


def test_scores_are_written_whole_or_not_at_all(samples, tmp_path):
    summary = summarise(evaluated(samples, limit=5))
    write_json(tmp_path / "scores.json", summary, about={"run": "r"}, force=False)
    with refusal(UsageError, "output-exists", path=tmp_path / "scores.json"):
        write_json(tmp_path / "scores.json", summary, about={}, force=False)
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]


def test_a_run_without_judge_or_redirector_is_refused(tmp_path, tiny_config):
    run = RunFolder.create(
        tmp_path / "run", tiny_config, DataRecord("synthetic", ("0",), (), 1, "x")
    )
    with refusal(RunError, "no-judge", path=run.path, stage="judge"):
        score_run(
            run.path,
            run.path,
            data="synthetic",
            subjects=None,
            limit=1,
            network_metrics=QUICK,
            progress=no_progress,
            notify=print,
        )
