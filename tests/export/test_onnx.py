"""ONNX: one native warp, explicit quantisation, and gates that refuse anything else."""

import shutil

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from mggr_edge import Bundle, Gaze
from mggr_edge.common.progress import no_progress
from mggr_edge.errors import ArtifactError, BundleError, MissingPackageError
from mggr_edge.models.runtimes import onnx as onnx_runtime
from mggr_edge.models.runtimes import open_file
from mggr_export.exporting.export_run import export_run
from mggr_export.exporting.labels import read_label
from mggr_export.exporting.request import ExportRequest
from mggr_export.formats.keras_models import models_of_run
from mggr_export.formats.onnx import OnnxFormat, convert
from mggr_export.formats.onnx.graph import check_structure, op_counts
from mggr_export.formats.onnx.quantise import quantise
from mggr_export.formats.tflite import TFLiteFormat
from mggr_tf.cli import main
from refusals import error_of, refusal
from spoilt import replace_file

pytestmark = pytest.mark.extended


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    """A float32 bundle in ONNX alone."""
    return exported(run, tmp_path_factory.mktemp("onnx") / "float", precision="float32")


@pytest.fixture(scope="module")
def quantised(run, tmp_path_factory):
    """An int8 bundle in ONNX alone."""
    return exported(run, tmp_path_factory.mktemp("onnx") / "int8", precision="int8")


@pytest.fixture(scope="module")
def halved(run, tmp_path_factory):
    """A float16 bundle in ONNX alone."""
    return exported(run, tmp_path_factory.mktemp("onnx") / "fp16", precision="float16")


def exported(run, out, *, precision):
    request = ExportRequest(precision, formats=("onnx",))
    return export_run(run, out, request, progress=no_progress, notify=lambda text: None)


def content(bundle, model="redirector"):
    return (bundle / "models" / f"{model}.onnx").read_bytes()


def parity_of(bundle, model="redirector"):
    (artifact,) = Bundle.open(bundle).contract.models[model]
    return {p.output: p for p in artifact.parity}


def test_the_warp_is_one_native_op(bundle):
    counts = op_counts(content(bundle))
    assert counts["GridSample"] == 1
    assert not [kind for kind in counts if "Gather" in kind]
    (warp,) = [
        n for n in onnx.load_from_string(content(bundle)).graph.node if n.op_type == "GridSample"
    ]
    said = {a.name: helper.get_attribute_value(a) for a in warp.attribute}
    assert said == {"mode": b"bicubic", "padding_mode": b"border", "align_corners": 1}


def test_a_file_says_what_it_is_without_its_bundle(bundle):
    label = read_label(content(bundle), "onnx")
    assert (label["model"], label["conventions"]["patch_size"]) == ("redirector", 64)


def test_float_agrees_with_keras_on_a_real_flow(bundle):
    assert set(parity_of(bundle)) == {"alpha", "coarse", "flow", "redirected", "residual"}
    assert all(p.max_abs <= 1e-4 and p.pairs == 256 for p in parity_of(bundle).values())
    assert parity_of(bundle, "estimator")["gaze"].max_abs <= 1e-4


def test_int8_reads_convolutions_from_symmetric_pairs_and_agrees(quantised):
    check_structure(content(quantised), precision="int8")
    counts = op_counts(content(quantised))
    # Weights and picture of every convolution; several may share a picture.
    assert counts["Conv"] < counts["DequantizeLinear"] <= 2 * counts["Conv"]
    assert parity_of(quantised)["redirected"].psnr_db >= 30
    assert parity_of(quantised)["flow"].mean_abs <= 0.15
    (artifact,) = Bundle.open(quantised).contract.models["redirector"]
    assert (artifact.format, artifact.precision) == ("onnx", "int8")
    assert artifact.build["calibration"]["data"] == "synthetic, seed 3"


def test_float16_halves_all_weights_and_no_coordinate(halved, bundle):
    check_structure(content(halved), precision="float16")
    assert parity_of(halved)["redirected"].psnr_db >= 55
    assert parity_of(halved)["flow"].mean_abs <= 0.02
    with refusal(ArtifactError, "weights-dtype", found="float32", expected="float16"):
        check_structure(content(bundle), precision="float16")


@pytest.mark.parametrize("kind", ["bundle", "halved", "quantised"])
def test_a_device_redirects_with_it_as_with_tflite(kind, float_bundle, request):
    patch = np.random.default_rng(1).integers(60, 200, (64, 64, 3), np.uint8)
    made, wanted = (
        Bundle.open(path).redirect_eye(patch, side="left", source=Gaze(0, 0), target=Gaze(5, -10))
        for path in (request.getfixturevalue(kind), float_bundle[0])
    )
    difference = np.abs(made.astype(int) - wanted)
    assert difference.mean() < {"bundle": 0.01, "halved": 0.5, "quantised": 4}[kind]
    assert np.abs(made.astype(int) - patch).mean() > 1


def test_two_formats_in_one_bundle_are_both_verified(run, bundle, float_bundle, eyes, tmp_path):
    def stored(home):
        def convert(self, model, **options):
            name = "estimator" if model.output_names == ["gaze"] else "redirector"
            return (home / "models" / f"{name}.{self.suffix}").read_bytes()

        return convert

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnnxFormat, "float32", stored(bundle))
        patch.setattr(TFLiteFormat, "float32", stored(float_bundle[0]))
        args = ["export", str(run.path), "--data", str(eyes), "--formats", "tflite,onnx"]
        done = CliRunner().invoke(main, [*args, "--out", str(tmp_path / "both")])
    assert done.exit_code == 0, done.output
    formats = Bundle.open(tmp_path / "both").contract.models["redirector"]
    assert [one.format for one in formats] == ["tflite", "onnx"]
    args = ["verify", str(tmp_path / "both"), "--data", str(eyes), "--pairs", "4"]
    verified = CliRunner().invoke(main, args)
    assert verified.exit_code == 0, verified.output
    for file in ("redirector.tflite", "redirector.onnx", "estimator.tflite", "estimator.onnx"):
        assert file in verified.stdout


def test_an_unknown_format_is_named(run, tmp_path):
    done = CliRunner().invoke(main, ["export", str(run.path), "--formats", "onnx,pickle"])
    assert done.exit_code == 2
    assert "unknown format pickle; expected tflite, onnx" in done.output


def swapped_axes(flow):
    return flow[..., ::-1]


def wrong_sign(flow):
    return -flow


@pytest.mark.parametrize("turned", [swapped_axes, wrong_sign])
def test_a_wrong_warp_is_found(run, bundle, eyes, tmp_path, monkeypatch, turned):
    right = convert.marked_warp
    monkeypatch.setattr(convert, "marked_warp", lambda i, flow, how: right(i, turned(flow), how))
    broken = convert.convert_float32(models_of_run(run)["redirector"])
    assert op_counts(broken)["GridSample"] == 1
    copied = shutil.copytree(bundle, tmp_path / "bundle")
    replace_file(copied, "models/redirector.onnx", broken)
    done = CliRunner().invoke(main, ["verify", str(copied), "--data", str(eyes), "--pairs", "8"])
    assert done.exit_code == 1, done.output
    assert "redirector.onnx: coarse differs" in done.stderr


def edited(made, edit):
    model = onnx.load_from_string(made)
    edit(model)
    return model.SerializeToString()


def quantise_the_flow(model):
    warp = next(n for n in model.graph.node if n.op_type == "GridSample")
    scale = numpy_helper.from_array(np.float32(0.01), "s")
    zero = numpy_helper.from_array(np.int8(0), "z")
    model.graph.initializer.extend([scale, zero])
    where = list(model.graph.node).index(warp)
    pair = [
        helper.make_node("QuantizeLinear", [warp.input[1], "s", "z"], ["q"], "rounding"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dq"], "back"),
    ]
    warp.input[1] = "dq"
    for offset, node in enumerate(pair):
        model.graph.node.insert(where + offset, node)


def swap_two_inputs(model):
    other = {"delta": "head_pose", "head_pose": "delta"}
    for node in model.graph.node:
        node.input[:] = [other.get(name, name) for name in node.input]


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (swap_two_inputs, "alpha differs"),
        (quantise_the_flow, "the op QuantizeLinear rounding must not occur in a float32 file"),
    ],
)
def test_a_broken_conversion_is_not_exported(run, bundle, eyes, tmp_path, monkeypatch, edit, fault):
    def broken(self, model, **options):
        name = "estimator" if model.output_names == ["gaze"] else "redirector"
        made = content(bundle, name)
        return edited(made, edit) if name == "redirector" else made

    monkeypatch.setattr(OnnxFormat, "float32", broken)
    words = ["export", run.path, "--data", eyes, "--formats", "onnx", "--out", tmp_path / "b"]
    done = CliRunner().invoke(main, list(map(str, words)))
    error = error_of(done, "checks-failed", files="redirector.onnx")
    assert error.fields["faults"].startswith(f"redirector.onnx: {fault}")
    assert not list(tmp_path.glob("b*"))


def open_the_batch(model):
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"


def shift_a_zero_point(model):
    node = next(n for n in model.graph.node if n.op_type == "QuantizeLinear")
    shifted = numpy_helper.from_array(np.int8(3), "shifted")
    model.graph.initializer.append(shifted)
    for reader in model.graph.node:
        if reader.input[0] in (node.input[0], node.output[0]) and len(reader.input) == 3:
            reader.input[2] = "shifted"


def compute_one_in_float(model):
    convolution = next(n for n in model.graph.node if n.op_type == "Conv")
    maker = next(n for n in model.graph.node if convolution.input[0] in n.output)
    before = next(n for n in model.graph.node if maker.input[0] in n.output)
    convolution.input[0] = before.input[0]


def add_a_gather(model):
    picked = numpy_helper.from_array(np.int64([0]), "picked")
    model.graph.initializer.append(picked)
    output = next(one for one in model.graph.output if one.name == "redirected")
    maker = next(n for n in model.graph.node if output.name in n.output)
    maker.output[list(maker.output).index(output.name)] = "before"
    model.graph.node.append(helper.make_node("Gather", ["before", "picked"], [output.name], "pick"))


@pytest.mark.parametrize(
    ("kind", "edit", "code", "fields"),
    [
        (
            "bundle",
            quantise_the_flow,
            "quantized-op-in-float-file",
            {"op": "QuantizeLinear", "node": "rounding", "precision": "float32"},
        ),
        ("quantised", quantise_the_flow, "reader-of-quantized-tensor", {"source": "back"}),
        ("bundle", open_the_batch, "size-not-fixed", {}),
        ("quantised", shift_a_zero_point, "zero-point-not-zero", {"found": 3, "dtype": "int8"}),
        ("quantised", compute_one_in_float, "convolution-reads-float", {"input": "picture"}),
        (
            "bundle",
            add_a_gather,
            "op-not-allowed",
            {"op": "Gather", "node": "pick"},
        ),
    ],
)
def test_structures_that_tensorrt_or_the_eye_would_suffer_from_are_refused(
    kind, edit, code, fields, request
):
    made = content(request.getfixturevalue(kind))
    precision = "int8" if kind == "quantised" else "float32"
    check_structure(made, precision=precision)
    with refusal(ArtifactError, code, **fields):
        check_structure(edited(made, edit), precision=precision)


@pytest.mark.parametrize("share", [0, 0.5])
def test_truncated_files_are_refused_by_gate_and_runtime(bundle, share):
    made = content(bundle)
    cut = made[: int(len(made) * share)]
    with refusal(ArtifactError, "onnx-model-invalid"):
        check_structure(cut, precision="float32")
    with refusal(BundleError, "onnx-model-not-loadable"):
        open_file(cut, "onnx")


def test_the_runner_checks_what_it_is_fed(bundle):
    runner = open_file(content(bundle, "estimator"), "onnx")
    sound = {"eye": np.zeros((1, 64, 64, 3), np.float32), "head_pose": np.zeros((1, 2), np.float32)}
    assert runner(sound)["gaze"].shape == (1, 2)
    with pytest.raises(ValueError, match=r"expected inputs \['eye', 'head_pose'\], got \['eye'\]"):
        runner({"eye": sound["eye"]})
    with pytest.raises(ValueError, match=r"input head_pose: expected \(1, 2\) float32"):
        runner({**sound, "head_pose": sound["head_pose"].astype(np.float64)})


def test_without_a_runtime_the_message_names_the_extra(bundle, monkeypatch):
    monkeypatch.setattr(onnx_runtime, "available_runtimes", dict)
    command = "pip install 'mggr-tf[onnx]'"
    with refusal(MissingPackageError, "missing-package", package="ONNX Runtime", command=command):
        Bundle.open(bundle).model("redirector")


def test_skips_stay_unrounded_beside_quantised_convolutions():
    """Conv -> skip around a second Conv -> Add: only what the convolutions read is rounded."""
    weights = np.random.default_rng(0).normal(0, 0.4, (2, 3, 3, 1, 1)).astype(np.float32)
    shape = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "a"], ["first"], "first"),
            helper.make_node("Conv", ["first", "b"], ["second"], "second"),
            helper.make_node("Add", ["first", "second"], ["y"], "skip"),
        ],
        "skip",
        [shape("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [shape("y", TensorProto.FLOAT, [1, 3, 4, 4])],
        [numpy_helper.from_array(w, name) for w, name in zip(weights, "ab", strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    pictures = np.random.default_rng(1).uniform(-1, 1, (8, 3, 4, 4)).astype(np.float32)
    made = quantise(model.SerializeToString(), {"x": pictures})
    nodes = {node.name: node for node in onnx.load_from_string(made).graph.node}
    assert "first" in nodes["skip"].input
    assert nodes["second"].input[0] != "first"
