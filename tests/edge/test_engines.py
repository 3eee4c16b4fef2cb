"""Engines: what TensorRT is asked for, where they lie, and when they are refused.

No TensorRT can run here: its API and CUDA's are stood in for by `fake_tensorrt`, `trtexec` by a
script. What is ours around them is real.
"""

import hashlib
import stat

import numpy as np
import pytest
from click.testing import CliRunner

import fake_tensorrt
from mggr_edge.cli import main
from mggr_edge.errors import BundleError, EngineError, MissingPackageError, UsageError
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.bundle_archive import CONTRACT_FILE, SUMS_FILE, checksum_lines
from mggr_edge.models.contract import Artifact, Contract, TensorSpec, Training, contract_to_json
from mggr_edge.models.runtimes import onnx as onnx_runtime
from mggr_edge.models.runtimes import opencv as opencv_runtime
from mggr_edge.models.tensorrt import engines as building
from mggr_edge.models.tensorrt import installed as use
from mggr_edge.models.tensorrt import python_builder as tensorrt_api
from mggr_edge.models.tensorrt import trtexec_builder as trtexec
from mggr_edge.models.tensorrt.build_options import Recipe, parse_version, recipe_for
from mggr_edge.models.tensorrt.cache import cache_folder, load, store
from mggr_edge.models.tensorrt.engines import Builder, build_engines, find_builder, key_of
from mggr_edge.models.tensorrt.runner import Cuda, TensorRTRunner
from mggr_edge.tools.bench.models import memory_mb
from mggr_edge.tools.bench.result import candidates_of
from refusals import error_of, refusal

MODEL = b"an ONNX file, that nobody reads"


def onnx(precision="int8", content=MODEL):
    return Artifact(
        "models/doubler.onnx",
        "onnx",
        precision,
        hashlib.sha256(content).hexdigest(),
        inputs=(TensorSpec("x", (1, 3), "float32"),),
        outputs=(TensorSpec("y", (1, 3), "float32"),),
    )


def contract(*formats):
    return Contract({"doubler": formats}, Training(data="synthetic", licence="Apache-2.0"))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A cache of its own, and a machine without TensorRT."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tensorrt_api, "find", lambda: None)
    monkeypatch.setattr(trtexec, "find", lambda: None)
    for module in (building, use):
        monkeypatch.setattr(module, "gpu_name", lambda: "Orin")
    return tmp_path


def install(monkeypatch, version, **options):
    module, log = fake_tensorrt.make(version, **options)
    monkeypatch.setattr(tensorrt_api, "find", lambda: module)
    return module, log


@pytest.mark.parametrize(
    ("version", "precision", "dla", "expected"),
    [
        ("8.5.2", "float32", None, Recipe(False, ())),
        ("8.6.1.6", "float16", None, Recipe(False, ("FP16",))),
        ("8.6.1", "int8", None, Recipe(False, ("FP16", "INT8"))),
        ("8.6.1", "int8", 1, Recipe(False, ("FP16", "INT8", "GPU_FALLBACK"), 1)),
        ("10.3.0", "int8", None, Recipe(True, ())),
        ("10.3.0", "float16", 0, Recipe(False, ("FP16", "GPU_FALLBACK"), 0)),
        ("11.0.0", "float16", None, Recipe(True, ())),
    ],
)
def test_precision_is_the_graph_s_or_flags(version, precision, dla, expected):
    assert recipe_for(precision, version=parse_version(version), dla=dla) == expected


@pytest.mark.parametrize(
    ("version", "precision", "dla", "code", "fields"),
    [
        ("8.4.3", "int8", None, "tensorrt-too-old", {"found": "8.4.3", "expected": "8.5"}),
        ("11.0.0", "int8", 0, "tensorrt-too-new", {"found": "11.0.0", "expected": "11.0"}),
        ("8.6.1", "float32", 0, "dla-without-precision", {}),
    ],
)
def test_what_a_version_cannot_do_is_said(version, precision, dla, code, fields):
    with refusal(UsageError, code, **fields):
        recipe_for(precision, version=parse_version(version), dla=dla)


@pytest.mark.parametrize(
    ("version", "network", "flags"),
    [("8.6.1", 1 << 0, ["FP16", "INT8"]), ("10.3.0", 1 << 1, []), ("11.0.0", 1 << 1, [])],
)
def test_the_python_package_is_asked_by_its_version_s_means(version, network, flags):
    module, log = fake_tensorrt.make(version)
    recipe = recipe_for("int8", version=tensorrt_api.version_of(module))
    engine, timing = tensorrt_api.build(module, MODEL, recipe, b"seen")
    assert engine == b"ENGINE" + MODEL
    assert timing == b"seen!"
    assert log[0] == ("create_network", network)
    assert [entry[1] for entry in log if entry[0] == "set_flag"] == flags
    assert ("create_timing_cache", b"seen") in log


def test_an_accelerator_is_named_with_the_gpu_behind_it():
    module, log = fake_tensorrt.make("8.6.1")
    tensorrt_api.build(module, MODEL, recipe_for("int8", version=(8, 6, 1), dla=1), b"")
    assert ("set_flag", "GPU_FALLBACK") in log
    assert log[-1] == ("device", "DLA", 1)


def test_tensorrt_s_own_reasons_are_told():
    module, _ = fake_tensorrt.make("10.3.0")
    with refusal(BundleError, "tensorrt-cannot-read-model", reason="node 3 has no kernel"):
        tensorrt_api.build(module, fake_tensorrt.UNREADABLE, Recipe(True, ()), b"")
    module, _ = fake_tensorrt.make("10.3.0", builds=False)
    with refusal(BundleError, "engine-not-built"):
        tensorrt_api.build(module, MODEL, Recipe(True, ()), b"")


@pytest.fixture
def program(tmp_path):
    """A script in `trtexec`'s place: it copies the model, or fails as asked."""

    def write(version="v8502", *, code=0):
        path = tmp_path / "trtexec"
        path.write_text(
            "#!/bin/sh\n"
            f"echo '&&&& RUNNING TensorRT.trtexec [TensorRT {version}] # trtexec'\n"
            f'echo "$@" > {tmp_path}/called\n'
            '[ "$1" = --help ] && exit 0\n'
            f"[ {code} != 0 ] && echo 'no kernel for node 3' >&2 && exit {code}\n"
            'for word in "$@"; do case "$word" in\n'
            "  --onnx=*) model=${word#*=};; --saveEngine=*) engine=${word#*=};;\n"
            "  --timingCacheFile=*) echo measured > ${word#*=};;\n"
            "esac; done\n"
            '(printf ENGINE; cat "$model") > "$engine"\n'
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return write


@pytest.mark.parametrize(
    ("printed", "version"),
    [("v8502", (8, 5, 2)), ("v8601", (8, 6, 1)), ("v100300", (10, 3, 0)), ("v110001", (11, 0, 1))],
)
def test_trtexec_says_its_version(program, printed, version):
    assert trtexec.version_of(program(printed)) == version


def test_trtexec_builds_as_a_process_and_its_failure_is_told(program, tmp_path):
    recipe = recipe_for("int8", version=(8, 5, 2), dla=0)
    assert trtexec.build(program(), MODEL, recipe, b"") == (b"ENGINE" + MODEL, b"measured\n")
    called = (tmp_path / "called").read_text().split()
    assert called[-4:] == ["--fp16", "--int8", "--allowGPUFallback", "--useDLACore=0"]
    assert "--stronglyTyped" not in called
    with refusal(BundleError, "engine-not-built", reason="no kernel for node 3"):
        trtexec.build(program(code=3), MODEL, Recipe(True, ()), b"")
    assert "--stronglyTyped" in (tmp_path / "called").read_text()


def test_another_program_of_that_name_is_refused(program):
    path = program("nine")
    with refusal(BundleError, "trtexec-version-unknown", program=path):
        trtexec.version_of(path)


def test_the_package_is_taken_before_the_program(monkeypatch, program):
    with refusal(UsageError, "tensorrt-not-installed"):
        find_builder()
    monkeypatch.setattr(trtexec, "find", program)
    assert find_builder().version == (8, 5, 2)
    install(monkeypatch, "10.3.0")
    assert find_builder().version == (10, 3, 0)


def build(precision="int8", version=(10, 3, 0), **options):
    seen = []

    def made(model, recipe, timing):
        seen.append((recipe, timing))
        return b"ENGINE" + model, b"timings"

    builder = Builder(version, "Orin", made)
    paths = build_engines(
        contract(onnx()),
        {"models/doubler.onnx": MODEL},
        builder=builder,
        precision=precision,
        notify=lambda text: None,
        **options,
    )
    return paths, seen


def test_engines_are_kept_and_timings_handed_on():
    (path,), seen = build()
    assert path.parent == cache_folder()
    assert load(cache_folder(), key_of(onnx(), (10, 3, 0), "Orin")) == b"ENGINE" + MODEL
    assert seen == [(Recipe(True, ()), b"")]
    again, seen = build()
    assert again == (path,)
    assert seen == [(Recipe(True, ()), b"timings")]
    _, seen = build(version=(8, 6, 1))
    assert seen[0][1] == b""


def test_a_bundle_without_such_files_says_how_to_make_them():
    with refusal(BundleError, "bundle-without-onnx", precision="float16") as caught:
        build("float16")
    assert "--fp16 --formats tflite,onnx" in str(caught.value)


def test_another_tensorrt_or_gpu_is_named_and_other_models_are_none_of_its_business():
    build(version=(8, 6, 1))
    key = key_of(onnx(), (10, 3, 0), "Nano")
    with refusal(
        EngineError,
        "engine-for-another-machine",
        found=("8.6.1", "Orin"),
        expected=("10.3.0", "Nano"),
    ):
        load(cache_folder(), key)
    assert load(cache_folder(), key_of(onnx(content=b"another"), (10, 3, 0), "Nano")) is None
    assert load(cache_folder(), key_of(onnx("float16"), (10, 3, 0), "Nano")) is None


def test_a_changed_engine_is_refused():
    (path,), _ = build()
    path.write_bytes(path.read_bytes()[:-1])
    with refusal(EngineError, "engine-damaged", path=path):
        load(cache_folder(), key_of(onnx(), (10, 3, 0), "Orin"))


def test_damaged_notes_of_others_do_no_harm(tmp_path):
    (tmp_path / "x.json").write_text("{")
    (tmp_path / "y.json").write_text("[1]")
    assert load(tmp_path, key_of(onnx(), (10, 3, 0), "Orin")) is None
    store(tmp_path, key_of(onnx(), (10, 3, 0), "Orin"), b"ENGINE")
    assert load(tmp_path, key_of(onnx(), (10, 3, 0), "Orin")) == b"ENGINE"


def test_an_engine_runs_on_the_gpu_s_memory_and_gives_it_back():
    module, _ = fake_tensorrt.make("10.3.0")
    library = fake_tensorrt.Cudart()
    cuda = Cuda(library)
    runner = TensorRTRunner(b"ENGINE" + MODEL, module, cuda)
    assert [spec.name for spec in runner.tensor_specs("inputs")] == ["x"]
    x = np.float32([[1, 2, 3], [4, 5, 6]])[::-1][:1]  # not contiguous in its base
    np.testing.assert_array_equal(runner({"x": x})["y"], 2 * x)
    with pytest.raises(ValueError, match=r"input x: expected \(1, 3\) float32"):
        runner({"x": x.astype(np.float64)})
    cuda.close()
    assert (library.memory, library.streams) == ({}, 0)
    with refusal(EngineError, "engine-not-loadable"):
        TensorRTRunner(b"something else", module, Cuda(fake_tensorrt.Cudart()))


def test_cuda_s_errors_are_raised():
    cuda = Cuda(fake_tensorrt.Cudart(fails="cudaMalloc"))
    with pytest.raises(RuntimeError, match="cudaMalloc failed with CUDA error 2"):
        cuda.allocate(4)


@pytest.fixture
def bundle(tmp_path):
    files = {
        "models/doubler.onnx": MODEL,
        CONTRACT_FILE: contract_to_json(contract(onnx())).encode(),
    }
    files[SUMS_FILE] = checksum_lines(files).encode()
    for name, content in files.items():
        path = tmp_path / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "bundle"


def test_a_bundle_runs_on_its_engine_once_there_is_one(bundle, monkeypatch, caplog):
    install(monkeypatch, "10.3.0")
    monkeypatch.setattr(use, "Cuda", lambda: Cuda(fake_tensorrt.Cudart()))
    done = CliRunner().invoke(main, ["build-engine", str(bundle), "--int8"])
    assert done.exit_code == 0, done.output
    assert "building doubler (int8) for TensorRT 10.3.0" in done.stderr
    doubled = Bundle.open(bundle).model("doubler")({"x": np.float32([[1, 2, 3]])})["y"]
    np.testing.assert_array_equal(doubled, [[2, 4, 6]])
    # After an update of TensorRT the ONNX file itself is next; this one holds no real model.
    install(monkeypatch, "10.4.0")
    monkeypatch.setattr(onnx_runtime, "available_runtimes", dict)
    monkeypatch.setattr(opencv_runtime, "available", dict)
    with pytest.raises(MissingPackageError):
        Bundle.open(bundle).model("doubler")
    assert "TensorRT 10.4.0 on Orin" in caplog.text


def test_an_engine_is_timed_beside_its_file_once_there_is_one(bundle, monkeypatch):
    install(monkeypatch, "10.3.0")
    monkeypatch.setattr(use, "Cuda", lambda: Cuda(fake_tensorrt.Cudart()))
    found, files = Bundle.open(bundle).contract, {"models/doubler.onnx": MODEL}

    def engines():
        everybody = candidates_of("b", found, files, models=None, threads=(1, 2))
        return [one for one in everybody if one.runtime == "tensorrt"]

    assert engines() == []
    CliRunner().invoke(main, ["build-engine", str(bundle), "--int8"])
    (engine,) = engines()
    assert (engine.version, engine.threads) == ("10.3.0", 1)
    np.testing.assert_array_equal(engine.open()({"x": np.float32([[1, 2, 3]])})["y"], [[2, 4, 6]])
    assert memory_mb(engine) is None


def test_wrong_use_is_one_line(bundle):
    for options, code in (
        (["--int8"], "tensorrt-not-installed"),
        (["--int8", "--fp16"], "fp16-with-int8"),
    ):
        error_of(CliRunner().invoke(main, ["build-engine", str(bundle), *options]), code)


@pytest.mark.parametrize(
    ("name", "options", "quantized"), [("default", [], False), ("default-int8", ["--int8"], True)]
)
def test_engines_of_the_packaged_bundles_are_built_from_their_onnx_files(
    monkeypatch, name, options, quantized
):
    """What a bare Jetson builds from. TensorRT itself cannot run here."""
    onnx_library = pytest.importorskip("onnx")
    seen = []

    def made(model, recipe, timing):
        seen.append(onnx_library.load_from_string(model))
        return b"ENGINE", b""

    monkeypatch.setattr(building, "find_builder", lambda: Builder((10, 3, 0), "Orin", made))
    result = CliRunner().invoke(main, ["build-engine", name, *options])
    assert result.exit_code == 0, result.output
    redirectors = [one for one in seen if "gazemap" in {tensor.name for tensor in one.graph.input}]
    assert len(redirectors) == 1
    for model in seen:
        onnx_library.checker.check_model(model)
    kinds = {node.op_type for node in redirectors[0].graph.node}
    assert "GridSample" in kinds
    assert ("QuantizeLinear" in kinds) == quantized
