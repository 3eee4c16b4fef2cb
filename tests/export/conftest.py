"""A run with a real flow, made without training, and bundles of it."""

import os
import shutil
import warnings

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with warnings.catch_warnings():
    # What TensorFlow 2.15's own imports complain about cannot be corrected here.
    warnings.simplefilter("ignore")
    import mggr_tf  # noqa: F401, I001  (selects Keras 2 before TensorFlow is imported)
    import tensorflow as tf

TINY = (
    "models.coarse={widths: [4, 6], blocks: 1, decoder: [4], stem_stride: 2}",
    "models.fine={widths: [4, 6], blocks: 1, decoder: [4], stem_stride: 2, detail: 3, "
    "alpha: true, by_blocks: true}",
    "models.estimator=[4, 4, 6]",
    # Eyes that close take time to draw.
    "models.estimator_state=false",
    "stages.estimator.losses.state.weight=0",
    "synthetic={subjects: 2, per_group: 3, seed: 3}",
    # Random weights round worse than trained ones: the limits are those of another network.
    "limits.float16.flow.mean_abs=0.02",
    "limits.float16.coarse.min_psnr_db=55",
    "limits.float16.residual.mean_abs=0.002",
    "limits.float16.redirected.min_psnr_db=55",
    "limits.float16.gaze.mean_abs=0.01",
    "limits.float16.opening.min_psnr_db=50",
    "limits.int8.flow.mean_abs=0.15",
    "limits.int8.coarse.min_psnr_db=30",
    "limits.int8.residual.mean_abs=0.01",
    "limits.int8.redirected.min_psnr_db=30",
    "limits.int8.gaze.mean_abs=0.08",
    "limits.int8.extra_gaze_deg=0.15",
    "limits.int8.opening.min_psnr_db=25",
)


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A complete run: random weights, scaled so that eyes move by some pixels.

    A handful of training steps would leave flows near zero, on which swapped
    axes and wrong signs do not show.
    """
    from mggr_tf.config.files import load_config
    from mggr_tf.models.networks import Networks, save_weights
    from mggr_tf.runs.folder import RunFolder
    from mggr_tf.runs.record import DataRecord, StageRecord

    config = load_config("mggr-edge", changes=TINY)
    data = DataRecord(
        "synthetic", ("drawn-3-00000", "drawn-3-00001"), (), 36, "Apache-2.0 (drawn by mggr-tf)"
    )
    made = RunFolder.create(tmp_path_factory.mktemp("runs") / "tiny", config, data)
    tf.keras.utils.set_random_seed(5)
    networks = Networks(config)
    models = {
        "coarse": networks.averaged.coarse,
        "fine": networks.averaged.fine,
        "estimator": networks.estimator,
    }
    rng = np.random.default_rng(5)
    for name, model in models.items():
        for layer in model.layers:
            if layer.name.endswith(("_head", "_condition")):
                scale = {"flow_head": 0.25, "residual_head": 0.03}.get(layer.name, 0.1)
                values = [rng.normal(0, scale, w.shape) for w in layer.get_weights()]
                layer.set_weights(values)
        save_weights(model, made.weights_file(name))
    for stage in ("estimator", "coarse", "joint"):
        made.update_stage(stage, StageRecord(steps=3, done=3, complete=True))
    return made


@pytest.fixture(scope="session")
def float_bundle(run):
    """Its float32 bundle, and what was said meanwhile."""
    return _exported(run, precision="float32")


@pytest.fixture(scope="session")
def fp16_bundle(run):
    """Its float16 bundle, and what was said meanwhile."""
    return _exported(run, precision="float16")


@pytest.fixture(scope="session")
def int8_bundle(run):
    """Its int8 bundle, and what was said meanwhile."""
    return _exported(run, precision="int8")


def _exported(run, *, precision):
    from mggr_edge.common.progress import no_progress
    from mggr_export.exporting.export_run import export_run
    from mggr_export.exporting.request import ExportRequest

    said = []
    path = export_run(
        run,
        None,
        ExportRequest(precision),
        progress=no_progress,
        notify=said.append,
    )
    return path, "\n".join(said)


@pytest.fixture(scope="session")
def eyes(tmp_path_factory):
    """A folder of patches of subjects 0000 and 0001; faster to open than to draw."""
    return _drawn_folder(tmp_path_factory.mktemp("eyes"), seed=3)


@pytest.fixture(scope="session")
def other_eyes(tmp_path_factory):
    """Others of the same names."""
    return _drawn_folder(tmp_path_factory.mktemp("other-eyes"), seed=9)


def _drawn_folder(folder, *, seed):
    import cv2

    from mggr_edge.geometry.angles import Gaze
    from mggr_tf.data.columbia import PatchName
    from mggr_tf.drawn_eyes.samples import SIDES, draw_samples

    drawn = draw_samples(subjects=2, per_group=3, seed=seed, heads=2)
    for i, image in enumerate(drawn.images):
        head, gaze = Gaze.from_array(drawn.head_deg[i]), Gaze.from_array(drawn.gaze_deg[i])
        name = PatchName(f"{drawn.subject[i]:04d}", head, gaze, SIDES[drawn.side[i]])
        cv2.imwrite(str(folder / name.file_name()), image[..., ::-1])
    return folder


@pytest.fixture
def copied(float_bundle, tmp_path):
    """A copy of the float bundle, to be spoilt."""
    return shutil.copytree(float_bundle[0], tmp_path / "bundle")


@pytest.fixture
def converted_before(float_bundle, int8_bundle, monkeypatch):
    """Exports take the bundles' files instead of converting anew, which takes seconds."""
    from mggr_export.formats.tflite import TFLiteFormat

    def stored(bundle):
        def convert(self, model, *calibration, **options):
            name = "estimator" if "gaze" in model.output_names else "redirector"
            return (bundle[0] / "models" / f"{name}.tflite").read_bytes()

        return convert

    monkeypatch.setattr(TFLiteFormat, "float32", stored(float_bundle))
    monkeypatch.setattr(TFLiteFormat, "int8", stored(int8_bundle))
