"""Estimators that predict the state of eyes are exported, proved and read on a device."""

import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge.common.progress import no_progress
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.conventions import Conventions
from mggr_export.exporting.export_run import export_run
from mggr_export.exporting.request import ExportRequest, closing_for_export
from mggr_export.eyes.export_eyes import with_closing_eyes
from mggr_tf.cli import main
from mggr_tf.config.files import load_config
from mggr_tf.data.closing_eyes import unseen_closing_eyes
from mggr_tf.data.names import drawn_name
from mggr_tf.models.networks import Networks, save_weights
from mggr_tf.redirect import bundle_of_run
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord, StageRecord
from mggr_tf.training.stages import train_stages
from mggr_tf.training.stopping import Budget

pytestmark = pytest.mark.extended

DRAWN = "synthetic={subjects: 2, per_group: 3, closing_subjects: 2, seed: 3}"
CHANGES = (
    "models.coarse={widths: [4, 6], blocks: 1, decoder: [4], stem_stride: 2}",
    "models.fine={widths: [4, 6], blocks: 1, decoder: [4], stem_stride: 2, detail: 3, paint: true}",
    "models.estimator=[4, 4, 6]",
    "models.features=estimator",
    "models.features_precision=float32",
    "models.random_views=false",
    "stages.estimator.batch=2",
    "stages.estimator.validation={every: 0}",
    DRAWN,
    # Hardly trained weights round worse.
    "limits.int8.state={max_abs: 0.2}",
    "limits.int8.gaze.mean_abs=0.2",
    "limits.int8.extra_gaze_deg=1",
)


@pytest.fixture(scope="module")
def state_run(tmp_path_factory, eyes_of_run):
    config = load_config(
        "mggr-edge",
        changes=[
            *CHANGES,
            *(
                f"stages.{s}.losses=[{{name: l1, weight: 1, picture: {p}}}]"
                for s, p in (("coarse", "coarse"), ("fine", "redirected"), ("joint", "redirected"))
            ),
        ],
    )
    assert config.models.estimator_state
    data = DataRecord("synthetic", eyes_of_run.subjects, (), len(eyes_of_run), eyes_of_run.licence)
    made = RunFolder.create(tmp_path_factory.mktemp("runs") / "state", config, data)
    train_stages(
        made,
        "estimator",
        samples=eyes_of_run,
        held_out=None,
        budget=Budget(steps=3),
        stream=None,
        notify=lambda text: None,
    )
    networks = Networks(config)
    for name in ("coarse", "fine"):
        save_weights(networks.averaged.part(name), made.weights_file(name))
    for stage in ("coarse", "joint"):
        made.update_stage(stage, StageRecord(steps=3, done=3, complete=True))
    return made


@pytest.fixture(scope="module")
def eyes_of_run():
    from mggr_tf.data.source import open_samples

    config = load_config("mggr-edge", changes=[DRAWN])
    return open_samples(
        "synthetic", config=config, subjects=None, progress=no_progress, notify=print
    )


@pytest.fixture(scope="module", params=[pytest.param("float32", marks=pytest.mark.slow), "int8"])
def bundle(request, state_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundles") / request.param
    return export_run(
        state_run,
        path,
        ExportRequest(request.param, formats=("tflite", "onnx")),
        progress=no_progress,
        notify=lambda text: None,
    )


def test_a_device_reads_states(bundle):
    eyes = unseen_closing_eyes(3, 1)
    patches = list(eyes.images[:4])
    sides = ["right", "left", "right", "left"]
    with Bundle.open(bundle) as opened:
        found = opened.estimate_eyes(patches, sides=sides)
        artifacts = opened.contract.models["estimator"]
    states = np.array([[e.state.openness, e.state.iris_visible, e.state.occlusion] for e in found])
    assert ((states >= 0) & (states <= 1)).all()
    for artifact in artifacts:
        assert {spec.name: (spec.shape, spec.range) for spec in artifact.outputs} == {
            "gaze": ((1, 2), None),
            "state": ((1, 3), (0.0, 1.0)),
        }
        assert {parity.output for parity in artifact.parity} == {"gaze", "state"}
        assert all("drawn eyes that close" in parity.data for parity in artifact.parity)
        if artifact.precision == "int8":
            people = artifact.build["calibration"]["subjects"]
            assert drawn_name(3, 1_000_000) in people
            assert not any(name.startswith("drawn-3-2") for name in people)


def test_a_run_itself_reads_states(state_run):
    patches = list(unseen_closing_eyes(3, 1).images[:2])
    for eye in bundle_of_run(state_run).estimate_eyes(patches, sides=["right", "left"]):
        assert 0 < eye.state.openness < 1


def test_a_state_bundle_is_verified(bundle):
    result = CliRunner().invoke(main, ["verify", str(bundle), "--pairs", "8"])
    assert result.exit_code == 0, result.output
    assert "state" in result.stdout


def test_a_bundle_without_states_still_tells_gazes(float_bundle):
    patch = np.full((64, 64, 3), 90, np.uint8)
    with Bundle.open(float_bundle[0]) as opened:
        (eye,) = opened.estimate_eyes([patch], sides=["right"])
    assert eye.state is None


def test_every_second_eye_of_an_estimator_closes(state_run):
    conventions = Conventions()
    eyes = unseen_closing_eyes(3, 2)
    plain = {"eye": np.zeros((7, 64, 64, 3), np.float32), "head_pose": np.ones((7, 2), np.float32)}
    inputs = {"estimator": plain, "redirector": plain}
    mixed = with_closing_eyes(inputs, eyes, conventions)
    changed = (mixed["estimator"]["eye"] != 0).any((1, 2, 3))
    assert changed.tolist() == [False, True, False, True, False, True, False]
    assert mixed["redirector"] is plain
    assert (plain["eye"] == 0).all(), "they are copied"
    assert with_closing_eyes(inputs, None, conventions) is inputs
    later = with_closing_eyes(inputs, eyes, conventions, first=7)["estimator"]["eye"]
    assert (later != 0).any((1, 2, 3)).tolist() == [not one for one in changed]
    closing = closing_for_export(state_run.config, progress=no_progress)
    assert not {*closing.compared.subjects} & {*closing.calibration.subjects}
