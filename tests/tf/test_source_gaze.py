"""Redirections that start at an estimate, as a device's do, beside those that start at labels."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import RunError
from mggr_edge.models.conventions import Conventions
from mggr_tf.cli import main
from mggr_tf.data.columbia import LICENCE
from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.schema import make_samples
from mggr_tf.evaluation.network_metrics import open_network_metrics
from mggr_tf.evaluation.protocol import evaluate_pairs, pair_inputs, roles_of, roles_text
from mggr_tf.evaluation.report import summarise, summary_text, write_json
from mggr_tf.evaluation.score_run import score_run
from mggr_tf.evaluation.source_gaze import estimate_sources, other_eyes
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord
from refusals import error_of, refusal

CONVENTIONS = Conventions()
SCALE = np.float32(CONVENTIONS.gaze_scale_deg)
QUICK = open_network_metrics(quick=True)


def faces(gazes_deg, *, sides=("right", "left"), subjects=("0028",), licence="none", heads=(15.0,)):
    """One patch of every side, subject, head yaw and gaze, in this order of nesting."""
    rows = [(s, n, h, g) for s in sides for n in subjects for h in heads for g in gazes_deg]
    rng = np.random.default_rng(0)
    return make_samples(
        rng.integers(0, 255, (len(rows), 64, 64, 3), np.uint8),
        gaze_deg=np.float32([gaze for *_, gaze in rows]),
        head_deg=np.float32([(0, head) for _, _, head, _ in rows]),
        sides=[side for side, *_ in rows],
        subjects=[name for _, name, *_ in rows],
        source="noise",
        licence=licence,
    )


def labels_plus(samples, *errors_deg):
    """An estimator that is off by one error on canonical patches, by another on mirrored ones."""
    by_side = np.float32(errors_deg)[samples.mirrored.astype(int)]

    def estimate(inputs):
        images = np.rint((inputs["eye"] + 1) * 127.5).astype(np.uint8)
        found = [np.flatnonzero((samples.images == one).all((1, 2, 3)))[0] for one in images]
        return (samples.gaze_deg + by_side)[found] / SCALE

    return estimate


GAZES = [(0, 0), (5, 10), (-10, 15)]


def test_both_eyes_of_a_photograph_find_each_other():
    samples = faces(GAZES)
    np.testing.assert_array_equal(other_eyes(samples), [3, 4, 5, 0, 1, 2])


def test_one_eye_other_people_other_heads_and_labels_of_single_eyes_have_no_partner():
    assert (other_eyes(faces(GAZES, sides=("left",))) == -1).all()
    one, other = faces(GAZES[:1], sides=("left",)), faces(GAZES[:1], subjects=("0029",))
    assert (other_eyes(one.of_subjects(["0028"])) == -1).all()
    assert (other_eyes(other) >= 0).all()
    # The same label twice on one side: nobody knows which photograph is which.
    assert (other_eyes(faces([GAZES[0], GAZES[0]])) == -1).all()
    drawn_alike = faces([(1.0, 2.0)], sides=("left",)).gaze_deg
    assert drawn_alike.tolist() == [[1.0, -2.0]]


def test_the_mean_of_both_eyes_is_taken_in_the_picture_not_in_the_mirror():
    samples = faces(GAZES)
    # Off by (2, 6) on the right eye's patch; by (4, 2) on the mirrored one, so (4, -2) in the
    # picture: the mean is off by (3, 2) there.
    found = estimate_sources(labels_plus(samples, (2, 6), (4, 2)), samples, conventions=CONVENTIONS)
    right, left = found.gaze_deg[:3], found.gaze_deg[3:]
    np.testing.assert_allclose(right, samples.gaze_deg[:3] + np.float32([3, 2]), atol=1e-4)
    np.testing.assert_allclose(left, samples.gaze_deg[3:] + np.float32([3, -2]), atol=1e-4)
    assert found.both_eyes_share == 1
    assert found.error_deg == pytest.approx(np.hypot(3, 2), rel=0.01)


def test_one_eye_is_estimated_alone():
    samples = faces(GAZES, sides=("left",))
    found = estimate_sources(labels_plus(samples, (0, 0), (4, 2)), samples, conventions=CONVENTIONS)
    np.testing.assert_allclose(found.gaze_deg, samples.gaze_deg + np.float32([4, 2]), atol=1e-4)
    assert found.both_eyes_share == 0


def test_the_redirector_is_asked_for_what_is_left_from_the_estimate():
    samples = faces(GAZES)
    pairs = all_pairs(samples, limit=20, seed=0)
    source_deg = samples.gaze_deg + np.float32([3, -6])
    labelled = pair_inputs(samples, pairs, CONVENTIONS)
    estimated = pair_inputs(samples, pairs, CONVENTIONS, source_deg=source_deg)
    shift = estimated["delta"] - labelled["delta"]
    expected = -np.float32([3, -6]) / np.float32(CONVENTIONS.delta_scale_deg)
    np.testing.assert_allclose(shift, np.broadcast_to(expected, shift.shape), atol=1e-5)
    for name in ("eye", "gazemap", "head_pose"):
        np.testing.assert_array_equal(estimated[name], labelled[name])


def brighter_by_delta(inputs):
    """A redirector that shows what it was asked for: the whole picture by delta's yaw."""
    made = np.clip(inputs["eye"] * 0 + inputs["delta"][:, 1, None, None, None] / 4, -1, 1)
    flow = np.zeros((*made.shape[:3], 2), np.float32)
    return {"flow": flow, "coarse": made, "residual": made * 0, "redirected": made}


def evaluated(samples, *, off_deg, **options):
    estimates = estimate_sources(
        labels_plus(samples, off_deg, off_deg * np.float32([1, -1])),
        samples,
        conventions=CONVENTIONS,
    )
    return evaluate_pairs(
        samples,
        redirect=brighter_by_delta,
        judge=lambda inputs: inputs["eye"][:, 0, 0, :2],
        network_metrics=QUICK,
        conventions=CONVENTIONS,
        limit=30,
        seed=0,
        estimates=estimates,
        **options,
    )


def test_a_perfect_estimate_gives_the_labelled_row_and_a_wrong_one_does_not(tmp_path):
    people = tuple(f"{number:04d}" for number in range(28, 34))
    samples = faces(GAZES, subjects=people)
    right = summarise(evaluated(samples, off_deg=np.float32([0, 0]))).overall
    for metric, value in right["redirected"].items():
        if value is not None:
            assert right["redirected_estimated"][metric] == pytest.approx(value, rel=1e-4)
    wrong = summarise(evaluated(samples, off_deg=np.float32([0, 8])))
    row, labelled = wrong.overall["redirected_estimated"], wrong.overall["redirected"]
    assert abs(row["gaze_error_deg"] - labelled["gaze_error_deg"]) > 0.5
    assert list(wrong.overall) == ["copy", "coarse", "redirected", "redirected_estimated", "target"]
    assert set(wrong.against) == {"copy", "coarse"}
    assert set(wrong.against_estimated) == {"copy", "coarse", "redirected"}
    assert wrong.estimated_sources.error_deg == pytest.approx(8, rel=0.02)
    assert "redirected_estimated" in summary_text(wrong)
    write_json(tmp_path / "scores.json", wrong, about={}, force=False)
    written = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert {"redirected", "redirected_estimated"} <= set(written["overall"])
    assert written["estimated_sources"]["both_eyes_share"] == 1


def test_labels_can_be_left_out():
    samples = faces(GAZES)
    summary = summarise(evaluated(samples, off_deg=np.float32([0, 0]), labelled=False))
    assert list(summary.overall) == ["copy", "coarse", "redirected_estimated", "target"]
    with pytest.raises(ValueError, match="labelled=True"):
        evaluate_pairs(
            samples,
            redirect=brighter_by_delta,
            judge=lambda inputs: inputs["eye"][:, 0, 0, :2],
            network_metrics=QUICK,
            conventions=CONVENTIONS,
            limit=5,
            seed=0,
            labelled=False,
        )


@pytest.mark.slow
def test_an_estimate_needs_an_estimator(tmp_path, tiny_config, monkeypatch):
    from mggr_tf.evaluation import score_run as scoring

    run = RunFolder.create(
        tmp_path / "run", tiny_config, DataRecord("synthetic", ("0",), (), 1, "x")
    )
    for name in ("load_judge", "load_redirector", "redirect_with"):
        monkeypatch.setattr(scoring, name, lambda *_: None)
    said = []
    assert scoring._sources(run, None, notify=said.append) == ("labelled",)
    assert len(said) == 1
    with refusal(RunError, "no-estimator", path=run.path, stage="estimator"):
        score_run(
            run.path,
            run.path,
            data="synthetic",
            subjects=None,
            limit=1,
            network_metrics=QUICK,
            source="estimated",
            progress=no_progress,
            notify=said.append,
        )


def test_source_is_a_matter_of_redirections():
    done = CliRunner().invoke(
        main, ["evaluate", "default", "--data", "x", "--estimator", "--source", "estimated"]
    )
    error_of(done, "source-without-judge", source="estimated")


def test_people_of_the_columbia_split_have_a_role():
    people = ("0001", "0028", "0029", "0033", "0099")
    roles = roles_of(faces(GAZES, subjects=people, licence=LICENCE))
    assert roles == {"train": 1, "select": 2, "report": 1, "in no part": 1}
    assert "includes report subjects" in roles_text(roles)
    chosen = roles_of(faces(GAZES, subjects=("0028",), licence=LICENCE))
    assert "includes report subjects" not in roles_text(chosen)
    assert roles_of(faces(GAZES, subjects=people)) == {}
    assert roles_text({}) == ""
