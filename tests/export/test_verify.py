"""Verify: sound bundles pass, bundles that lie do not, whatever their checksums say."""

import json
import shutil

import pytest
import tensorflow as tf
from click.testing import CliRunner

from mggr_export.formats.keras_models import FrozenModel, freeze, models_of_run
from mggr_export.formats.tflite.convert import convert_float32
from mggr_tf.cli import main
from mggr_tf.models import warp as warp_module
from refusals import error_of
from spoilt import replace_file

pytestmark = pytest.mark.extended


def verify(bundle, *options):
    return CliRunner().invoke(main, ["verify", str(bundle), *map(str, options)])


def with_warp(run, warp):
    """The run's redirector, converted with another warp."""
    with warp_module.warps_traced_as(warp):
        return convert_float32(freeze(models_of_run(run)["redirector"]))


def swapped_axes(image, flow, interpolation):
    return warp_module.dense_warp(image, flow[..., ::-1])


def wrong_sign(image, flow, interpolation):
    return warp_module.dense_warp(image, -flow)


def test_a_sound_bundle_passes_folder_and_zip(float_bundle, eyes, tmp_path):
    zipped = shutil.make_archive(str(tmp_path / "bundle"), "zip", float_bundle[0])
    for result in (
        verify(float_bundle[0], "--pairs", 8),
        verify(zipped, "--data", eyes, "--pairs", 8),
    ):
        assert result.exit_code == 0, result.output
        assert "redirected" in result.stdout
        assert "FAILED" not in result.stdout


def test_a_sound_int8_bundle_passes(int8_bundle, eyes):
    result = verify(int8_bundle[0], "--data", eyes, "--pairs", 8)
    assert result.exit_code == 0, result.output
    assert "inside the eye opening" in result.stdout


@pytest.fixture
def calibrated(int8_bundle, tmp_path):
    """Copies the int8 bundle as one that was calibrated on people of some names."""

    def on(*names):
        copy = shutil.copytree(int8_bundle[0], tmp_path / "-".join(names))
        contract = json.loads((copy / "contract.json").read_text())
        for model in ("redirector", "estimator"):
            for one in contract["models"][model]:
                if "calibration" in one["build"]:
                    one["build"]["calibration"]["subjects"] = list(names)
        (copy / "contract.json").write_text(json.dumps(contract))
        replace_file(copy, "LICENCES.txt", b"the same\n")
        return copy

    return on


def test_people_who_were_calibrated_on_are_left_out_or_refused(calibrated, eyes):
    bundle = calibrated("0000", "7777")
    result = verify(bundle, "--data", eyes, "--pairs", 8)
    assert result.exit_code == 0, result.output
    assert "excluded 1 subjects" in result.stderr
    refused = verify(bundle, "--data", eyes, "--pairs", 8, "--subjects", "0000-0001")
    error_of(refused, "subjects-calibrated-on", count=1, subjects="0000")
    allowed = verify(bundle, "--data", eyes, "--pairs", 8, "--subjects", "0001")
    assert allowed.exit_code == 0, allowed.output


def test_nobody_left_to_compare_is_refused(calibrated, eyes):
    result = verify(calibrated("0000", "0001"), "--data", eyes, "--pairs", 8)
    error_of(result, "all-subjects-calibrated-on", count=2, data=eyes)


def test_a_bundle_from_before_the_opening_was_measured_opens_and_passes(copied, eyes):
    contract = json.loads((copied / "contract.json").read_text())
    for formats in contract["models"].values():
        for one in formats:
            del one["opening"]
    for limits in contract["training"]["config"]["limits"].values():
        limits.pop("opening", None)
    (copied / "contract.json").write_text(json.dumps(contract))
    replace_file(copied, "LICENCES.txt", b"the same\n")
    result = verify(copied, "--data", eyes, "--pairs", 8)
    assert result.exit_code == 0, result.output
    assert "limit: none" in result.stdout


@pytest.mark.parametrize("warp", [swapped_axes, wrong_sign])
def test_a_wrong_warp_fails(run, copied, eyes, warp):
    replace_file(copied, "models/redirector.tflite", with_warp(run, warp))
    result = verify(copied, "--data", eyes, "--pairs", 8)
    assert result.exit_code == 1, result.output
    error = result.stderr.splitlines()[-1]
    assert error.startswith(f"error: {copied} ")
    assert "; redirector.tflite: coarse differs" in error
    assert "FAILED" in result.stdout


@pytest.mark.slow
def test_two_inputs_swapped_fail(run, copied, eyes):
    model = models_of_run(run)["redirector"]

    @tf.function(autograph=False)
    def serve(eye, gazemap, delta, head_pose):
        inputs = {"eye": eye, "gazemap": gazemap, "delta": head_pose, "head_pose": delta}
        return {name: tf.identity(v, name=name) for name, v in model(inputs).items()}

    sound = freeze(model)
    specs = sound.function.structured_input_signature[1]
    swapped = FrozenModel(serve.get_concrete_function(**specs), sound.owner)
    replace_file(copied, "models/redirector.tflite", convert_float32(swapped))
    result = verify(copied, "--data", eyes, "--pairs", 8)
    assert result.exit_code == 1, result.output
    assert "redirector.tflite: coarse differs" in result.stderr


def test_a_float_file_that_claims_to_be_int8_fails(copied, eyes):
    contract = json.loads((copied / "contract.json").read_text())
    contract["models"]["redirector"][0]["precision"] = "int8"
    (copied / "contract.json").write_text(json.dumps(contract))
    replace_file(copied, "LICENCES.txt", b"the same\n")
    result = verify(copied, "--data", eyes, "--pairs", 8)
    assert result.exit_code == 1, result.output
    error = result.stderr.splitlines()[-1]
    assert "; redirector.tflite: " in error
    assert "reads float32, expected int8" in error


def test_an_estimator_in_the_redirector_s_place_is_refused(copied, eyes):
    estimator = (copied / "models/estimator.tflite").read_bytes()
    replace_file(copied, "models/redirector.tflite", estimator)
    result = verify(copied, "--data", eyes)
    error_of(
        result,
        "tensors-differ-from-contract",
        file="models/redirector.tflite",
        tensors="inputs",
    )


@pytest.mark.parametrize("name", ["models/redirector.tflite", "reference/redirector.npz"])
def test_one_changed_byte_is_refused(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    result = verify(copied)
    error_of(result, "checksum-wrong", path=copied, file=name)


def test_a_bundle_without_references_cannot_be_compared(copied, eyes):
    contract = json.loads((copied / "contract.json").read_text())
    contract["references"] = {}
    (copied / "contract.json").write_text(json.dumps(contract))
    replace_file(copied, "LICENCES.txt", b"the same\n")
    result = verify(copied, "--data", eyes)
    error_of(result, "no-reference-weights")


def test_references_of_another_model_are_refused(copied, eyes):
    replace_file(
        copied, "reference/redirector.npz", (copied / "reference/estimator.npz").read_bytes()
    )
    result = verify(copied, "--data", eyes)
    error_of(result, "reference-not-rebuilt")


def test_a_bundle_or_data_that_are_not_there(tmp_path, float_bundle):
    error_of(verify(tmp_path / "gone"), "bundle-not-found", path=tmp_path / "gone")
    error_of(verify(float_bundle[0], "--data", "gone"), "source-missing", path="gone")
