"""Bundles: every byte counts, and mirroring happens inside."""

import json
import zipfile

import numpy as np
import pytest

from mggr_edge.errors import BundleError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.bundle_archive import (
    CONTRACT_FILE,
    SUMS_FILE,
    checksum_lines,
    read_bundle_files,
)
from mggr_edge.models.contract import (
    Artifact,
    Contract,
    TensorSpec,
    Training,
    contract_from_json,
    contract_to_json,
)
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.network_io import check_usable, image_to_network
from refusals import refusal

TRAINING = Training(data="synthetic", licence="Apache-2.0")


def contract(**models):
    """Of models in one format each."""
    formats = {name: (artifact,) for name, artifact in models.items()}
    return Contract(models=formats, training=TRAINING)


@pytest.fixture
def folder(tmp_path):
    import hashlib

    content = b"not a model, but some bytes"
    artifact = Artifact("models/a.tflite", "tflite", "float32", hashlib.sha256(content).hexdigest())
    files = {
        CONTRACT_FILE: contract_to_json(contract(redirector=artifact)).encode(),
        "models/a.tflite": content,
    }
    files[SUMS_FILE] = checksum_lines(files).encode()
    path = tmp_path / "bundle"
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def test_contract_round_trips():
    made = contract(a=Artifact("f", "tflite", "int8", "00"))
    assert contract_from_json(contract_to_json(made)) == made


def test_a_whole_bundle_opens_as_folder_and_as_zip(folder, tmp_path):
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as z:
        for file in folder.rglob("*"):
            z.write(file, file.relative_to(folder))
    assert read_bundle_files(folder) == read_bundle_files(archive)
    assert Bundle.open(folder).contract == Bundle.open(archive).contract


@pytest.mark.parametrize("name", [CONTRACT_FILE, SUMS_FILE, "models/a.tflite"])
def test_one_changed_byte_anywhere_is_refused(folder, name):
    original = (folder / name).read_bytes()
    for position in range(0, len(original), max(1, len(original) // 40)):
        changed = bytearray(original)
        changed[position] ^= 1 << (position % 8)
        (folder / name).write_bytes(bytes(changed))
        with pytest.raises(BundleError):
            Bundle.open(folder)


def test_every_byte_of_a_zip_counts(folder, tmp_path):
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                z.write(file, file.relative_to(folder))
    sound = read_bundle_files(archive)
    original = archive.read_bytes()
    for position in range(0, len(original), 7):
        changed = bytearray(original)
        changed[position] ^= 0x10
        archive.write_bytes(bytes(changed))
        # A zip holds dates and flags that mean nothing: refused, or read just the same.
        try:
            assert read_bundle_files(archive) == sound
        except BundleError:
            continue


def test_missing_and_additional_files_are_refused(folder):
    (folder / "models" / "extra").write_bytes(b"x")
    with refusal(BundleError, "file-not-listed", file="models/extra"):
        Bundle.open(folder)
    (folder / "models" / "extra").unlink()
    (folder / "models" / "a.tflite").unlink()
    with refusal(BundleError, "file-missing", file="models/a.tflite"):
        Bundle.open(folder)


def test_another_schema_is_refused():
    data = json.loads(contract_to_json(contract()))
    data["schema"] = 99
    with refusal(BundleError, "contract-schema-unsupported", found=99):
        contract_from_json(json.dumps(data))


def test_what_is_no_bundle_is_refused(tmp_path):
    with refusal(BundleError, "bundle-not-found", path=tmp_path / "nothing"):
        Bundle.open(tmp_path / "nothing")
    with refusal(BundleError, "not-a-bundle", path=tmp_path):
        Bundle.open(tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    with refusal(BundleError, "zip-not-readable", path=tmp_path / "file"):
        Bundle.open(tmp_path / "file")


def test_bytes_that_are_no_model_are_refused_on_use(folder):
    with refusal(BundleError, "tflite-model-not-loadable"):
        Bundle.open(folder).model("redirector")


class Recorder:
    """A network that shifts everything one pixel right and remembers what it was fed."""

    def __call__(self, inputs, /):
        self.inputs = inputs
        eye = inputs["eye"]
        flow = np.zeros((1, 64, 64, 2), np.float32)
        flow[..., 0] = -1
        moved = np.roll(eye, 1, axis=2)
        return {"flow": flow, "coarse": moved, "residual": eye * 0, "redirected": moved}


@pytest.fixture
def patch():
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def test_the_left_eye_is_mirrored_on_the_way_in_and_back_on_the_way_out(patch):
    network = Recorder()
    bundle = Bundle(contract(redirector=Artifact("f", "tflite", "float32", "")), lambda _: network)
    source, target, head = Gaze(1, 2), Gaze(3, 12), Gaze(0, 15)

    def redirect(side):
        return bundle.redirect_crop(patch, side=side, source=source, target=target, head_pose=head)

    right = redirect("right")
    np.testing.assert_array_equal(network.inputs["eye"][0], image_to_network(patch))
    np.testing.assert_allclose(network.inputs["delta"], [[0.2, 10 / 15]], rtol=1e-6)
    np.testing.assert_allclose(network.inputs["head_pose"], [[0, 0.5]])
    assert np.all(right.flow[..., 0] == -1)
    np.testing.assert_array_equal(right.redirected, np.roll(patch, 1, axis=1))

    left = redirect("left")
    np.testing.assert_array_equal(network.inputs["eye"][0], image_to_network(patch)[:, ::-1])
    np.testing.assert_allclose(network.inputs["delta"], [[0.2, -10 / 15]], rtol=1e-6)
    np.testing.assert_allclose(network.inputs["head_pose"], [[0, -0.5]])
    assert np.all(left.flow[..., 0] == 1)
    np.testing.assert_array_equal(left.redirected, np.roll(patch, -1, axis=1))


def test_wrong_patches_are_refused(patch):
    bundle = Bundle(
        contract(redirector=Artifact("f", "tflite", "float32", "")), lambda _: Recorder()
    )
    with pytest.raises(ValueError, match=r"uint8 \[64, 64, 3\], got float64"):
        bundle.redirect_eye(patch / 2, side="left", source=Gaze(0, 0), target=Gaze(0, 0))
    with pytest.raises(ValueError, match="side is 'left' or 'right'"):
        bundle.redirect_eye(patch, side="middle", source=Gaze(0, 0), target=Gaze(0, 0))


def test_both_eyes_of_a_face_are_one_call(patch):
    calls = []

    def network(inputs):
        calls.append({name: value.shape for name, value in inputs.items()})
        eye = inputs["eye"]
        flow = np.broadcast_to(inputs["delta"][:, None, None], (*eye.shape[:3], 2)).copy()
        return {"flow": flow, "coarse": eye, "residual": 0 * eye, "redirected": eye}

    bundle = Bundle(contract(redirector=Artifact("f", "tflite", "float32", "")), lambda _: network)
    gazes = {"source": Gaze(0, 0), "target": Gaze(5, 15), "head_pose": Gaze(0, 15)}
    other = patch[::-1].copy()
    right, left = bundle.redirect_crops([patch, other], sides=["right", "left"], **gazes)
    assert [call["eye"] for call in calls] == [(2, 64, 64, 3)]
    for made, eye, side in ((right, patch, "right"), (left, other, "left")):
        alone = bundle.redirect_crop(eye, side=side, **gazes)
        np.testing.assert_array_equal(made.flow, alone.flow)
        np.testing.assert_array_equal(made.redirected, alone.redirected)
    # The network saw the left eye mirrored, with its yaw; the flow is turned back.
    assert right.flow[0, 0] == pytest.approx([0.5, 1])
    assert left.flow[0, 0] == pytest.approx([-0.5, -1])
    assert bundle.redirect_crops([], sides=[], **gazes) == []


class Shaped:
    """A file that has the tensors it should have."""

    def __init__(self, inputs, outputs):
        self._specs = {"inputs": inputs, "outputs": outputs}

    def tensor_specs(self, kind):
        return tuple(
            TensorSpec(name, shape, "float32") for name, shape in self._specs[kind].items()
        )


GAZE_IN, GAZE_OUT = {"eye": (2, 64, 64, 3), "head_pose": (2, 2)}, {"gaze": (2, 2)}


@pytest.mark.parametrize(
    ("inputs", "outputs", "code", "fields"),
    [
        (
            {**GAZE_IN, "eye": (2, 32, 32, 3)},
            GAZE_OUT,
            "model-inputs-wrong",
            {
                "found": {"eye": (32, 32, 3), "head_pose": (2,)},
                "expected": {"eye": (64, 64, 3), "head_pose": (2,)},
            },
        ),
        (
            {**GAZE_IN, "eye": (1, 64, 64, 3)},
            GAZE_OUT,
            "model-batch-sizes-wrong",
            {"found": [1, 2]},
        ),
        (
            {"eye": (2, 64, 64, 3)},
            GAZE_OUT,
            "model-inputs-wrong",
            {"found": {"eye": (64, 64, 3)}},
        ),
        (
            GAZE_IN,
            {"look": (2, 2)},
            "model-output-size-wrong",
            {"output": "gaze", "found": 0, "expected": 4},
        ),
        (
            GAZE_IN,
            {"gaze": (2, 3)},
            "model-output-size-wrong",
            {"output": "gaze", "found": 6, "expected": 4},
        ),
        (
            GAZE_IN,
            {**GAZE_OUT, "state": (2, 2)},
            "model-output-size-wrong",
            {"output": "state", "found": 4, "expected": 6},
        ),
    ],
)
def test_a_network_that_nobody_can_feed_is_refused(inputs, outputs, code, fields):
    check_usable("estimator", Shaped(GAZE_IN, GAZE_OUT), Conventions())
    with_state = Shaped(GAZE_IN, {**GAZE_OUT, "state": (2, 3)})
    check_usable("estimator", with_state, Conventions())
    with refusal(BundleError, code, model="estimator", **fields):
        check_usable("estimator", Shaped(inputs, outputs), Conventions())


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"patch_size": 0}, "contract-invalid", "patch_size is 0"),
        ({"gazemap_k": 0.0}, "contract-invalid", "gazemap_k is 0.0, expected 0.001"),
        ({"delta_scale_deg": [10.0, 1e9]}, "contract-invalid", "delta_scale_deg is"),
        ({"crop_factor": float("nan")}, "contract-not-json", "NaN"),
    ],
)
def test_conventions_that_leave_nothing_of_an_eye_are_refused(change, code, reason):
    data = json.loads(contract_to_json(contract()))
    data["conventions"].update(change)
    with refusal(BundleError, code) as caught:
        contract_from_json(json.dumps(data))
    assert reason in caught.value.fields["reason"]
