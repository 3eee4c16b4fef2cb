"""Metrics against closed forms and scikit-image; the protocol's fences."""

import numpy as np
import pytest

from mggr_edge.contract import Conventions
from mggr_edge.errors import RunError, UsageError
from mggr_edge.progress import no_progress
from mggr_tf.data.pairs import all_pairs
from mggr_tf.evaluation.metrics import gaze_error_deg, image_metrics
from mggr_tf.evaluation.protocol import evaluate_pairs, refuse_seen_subjects
from mggr_tf.evaluation.report import scores_text, write_json
from mggr_tf.evaluation.score_run import score_run
from mggr_tf.training.run_folder import DataRecord, RunFolder

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


def test_copying_scores_as_copy_and_the_target_as_perfect(samples):
    scores = evaluate_pairs(
        samples,
        redirect=copier,
        judge=looked_up(samples),
        conventions=CONVENTIONS,
        limit=50,
        seed=0,
    )
    overall = scores.overall
    for metric, value in overall["copy"].items():
        assert overall["redirected"][metric] == pytest.approx(value, rel=1e-4)
    assert overall["target"]["l1"] == 0
    assert overall["target"]["gaze_error_deg"] == pytest.approx(0, abs=1e-3)
    pairs = all_pairs(samples, limit=50, seed=0)
    shift = gaze_error_deg(samples.gaze_deg[pairs[:, 0]], samples.gaze_deg[pairs[:, 1]])
    assert overall["copy"]["gaze_error_deg"] == pytest.approx(shift.mean(), rel=1e-4)
    assert scores.iris_residual == 0
    assert scores.pairs == len(pairs)
    assert sum(1 for _ in scores.by_head) > 1
    assert "redirected / copy: L1 1.000" in scores_text(scores)


def test_a_residual_inside_the_iris_is_measured(samples):
    def brighter(inputs):
        return {**copier(inputs), "residual": np.full_like(inputs["eye"], 0.2)}

    scores = evaluate_pairs(
        samples,
        redirect=brighter,
        judge=looked_up(samples),
        conventions=CONVENTIONS,
        limit=5,
        seed=0,
    )
    assert scores.iris_residual == pytest.approx(0.1, rel=1e-4)  # of the [0, 1] range


def test_seen_subjects_are_refused():
    refuse_seen_subjects(("1", "2"), {"the judge": ("3",)})
    with pytest.raises(UsageError, match=r"the judge was trained on 1 of these subjects \(2\)"):
        refuse_seen_subjects(("1", "2"), {"the judge": ("2", "3")})


def test_scores_are_written_whole_or_not_at_all(samples, tmp_path):
    scores = evaluate_pairs(
        samples,
        redirect=copier,
        judge=looked_up(samples),
        conventions=CONVENTIONS,
        limit=5,
        seed=0,
    )
    write_json(tmp_path / "scores.json", scores, about={"run": "r"}, force=False)
    with pytest.raises(UsageError, match="exists"):
        write_json(tmp_path / "scores.json", scores, about={}, force=False)
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]


def test_a_run_without_judge_or_redirector_is_refused(tmp_path, tiny_config):
    run = RunFolder.create(
        tmp_path / "run", tiny_config, DataRecord("synthetic", ("0",), (), 1, "x")
    )
    with pytest.raises(RunError, match="no judge; run: mggr-tf train --stage judge"):
        score_run(
            run.path,
            run.path,
            data="synthetic",
            subjects=None,
            limit=1,
            progress=no_progress,
            say=print,
        )
