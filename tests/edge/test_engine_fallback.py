"""An engine that cannot be used: the next runtime takes its place, and the reason is logged once.

TensorRT and CUDA are stood in for by `fake_tensorrt`; the bundle and its TFLite files are real.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fake_tensorrt
from engine_bundle import VERSION, build_engines, with_engines
from fake_machine import FakeMachine
from mggr_edge.errors import UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.runtimes import TFLiteRunner
from mggr_edge.models.runtimes.tflite import can_be_parted
from mggr_edge.models.tensorrt import engines as build
from mggr_edge.models.tensorrt import installed as use
from mggr_edge.models.tensorrt import python_builder as tensorrt_api
from mggr_edge.models.tensorrt.cache import cache_folder, engine_path
from mggr_edge.models.tensorrt.engines import key_of
from mggr_edge.models.tensorrt.runner import Cuda, TensorRTRunner
from mggr_edge.tools.doctor.packages import check_tensorrt
from refusals import refusal

PATCH = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fake_tensorrt.Cudart:
    """A machine with TensorRT 10.3 on an Orin, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(use, "gpu_name", lambda: "Orin")
    library = fake_tensorrt.Cudart()
    monkeypatch.setattr(use, "Cuda", lambda: Cuda(library))
    install(monkeypatch)
    use._warn_once.cache_clear()
    return library


def install(monkeypatch: pytest.MonkeyPatch, version: str = "10.3.0", **options: bool):
    module, _ = fake_tensorrt.make(version, **options)
    monkeypatch.setattr(tensorrt_api, "find", lambda: module)
    return module


def runs_on(bundle: Bundle, name: str) -> type:
    return type(bundle.model(name).runner)


def test_an_engine_that_fits_is_used_and_has_no_coarse_part(
    gpu: fake_tensorrt.Cudart, tmp_path: Path
) -> None:
    path = with_engines(tmp_path / "bundle")
    build_engines(path)
    with Bundle.open(path) as bundle:
        assert runs_on(bundle, "redirector") is TensorRTRunner
        held = gpu.allocated
        assert bundle.coarse is None
        assert gpu.allocated == held, "no second engine is opened to see that there is one"
        assert not bundle.redirect_crop(PATCH, side="right", target=Gaze(0, 9)).flow.any()
    assert (gpu.memory, gpu.streams) == ({}, 0)
    assert gpu.allocated == gpu.freed > 0


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def lose_note(path: Path) -> None:
    path.with_suffix(".json").unlink()


def replace_by_other_bytes(path: Path) -> None:
    """Checksums are right, and TensorRT does not take it: built by another patch release."""
    content = b"OTHER" + path.read_bytes()
    note = json.loads(path.with_suffix(".json").read_text())
    note["engine_sha256"] = hashlib.sha256(content).hexdigest()
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps(note))


def make_unreadable(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent)  # Not a file any more.


def no_cuda() -> Cuda:
    raise UsageError("CUDA's runtime library, libcudart, is not found")


def no_tensorrt() -> None:
    raise UsageError("cannot be imported: libnvinfer.so.10: cannot open shared object file")


MACHINES: dict[str, tuple[Callable[[pytest.MonkeyPatch], object], str]] = {
    "another TensorRT": (lambda patch: install(patch, "10.4.0"), "TensorRT 10.3.0 on Orin"),
    "another GPU": (lambda patch: patch.setattr(use, "gpu_name", lambda: "Nano"), "on Nano"),
    "no CUDA": (lambda patch: patch.setattr(use, "Cuda", no_cuda), "libcudart"),
    "no memory for it": (lambda patch: install(patch, has_memory=False), "not enough GPU memory"),
    "does not run": (lambda patch: install(patch, runs=False), "did not run"),
    "no TensorRT": (
        lambda patch: patch.setattr(tensorrt_api, "find", lambda: None),
        "not installed",
    ),
    "TensorRT's libraries are gone": (
        lambda patch: patch.setattr(tensorrt_api, "find", no_tensorrt),
        "libnvinfer.so.10",
    ),
}
FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (truncate, "is damaged"),
    "without its note": (lose_note, "is damaged"),
    "of another patch release": (replace_by_other_bytes, "cannot load the engine"),
}
FAILING_CALLS = {
    name: (
        lambda patch, n=name: patch.setattr(use, "Cuda", lambda: Cuda(fake_tensorrt.Cudart(n))),
        name,
    )
    for name in ("cudaStreamCreate", "cudaMalloc", "cudaMemcpyAsync", "cudaStreamSynchronize")
}


def check_fallback(path: Path, caplog: pytest.LogCaptureFixture, reason: str) -> None:
    for _ in range(3):  # As a service that is started, reloads and reloads.
        with Bundle.open(path) as bundle, bundle.session() as session:
            assert runs_on(bundle, "redirector") is runs_on(session, "redirector") is TFLiteRunner
            assert bundle.redirect_crop(PATCH, side="right", target=Gaze(0, 9)).flow.any()
            assert (bundle.coarse is not None) is can_be_parted()
    logged = [one.getMessage() for one in caplog.records if "redirector.onnx" in one.getMessage()]
    assert len(logged) == 1, logged
    assert reason in logged[0]
    assert f"mggr-edge build-engine {path}" in logged[0]


@pytest.mark.extended
@pytest.mark.parametrize("why", MACHINES)
def test_a_machine_that_changed_uses_the_next_runtime(
    gpu: fake_tensorrt.Cudart,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    why: str,
) -> None:
    path = with_engines(tmp_path / "bundle")
    build_engines(path)
    change, reason = MACHINES[why]
    change(monkeypatch)
    check_fallback(path, caplog, reason)
    assert (gpu.memory, gpu.streams) == ({}, 0)


@pytest.mark.parametrize("call", FAILING_CALLS)
def test_a_cuda_error_at_opening_uses_the_next_runtime(
    gpu: fake_tensorrt.Cudart,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    call: str,
) -> None:
    path = with_engines(tmp_path / "bundle")
    build_engines(path)
    change, reason = FAILING_CALLS[call]
    change(monkeypatch)
    check_fallback(path, caplog, reason)


@pytest.mark.parametrize("why", FILES)
def test_a_damaged_engine_uses_the_next_runtime(
    gpu: fake_tensorrt.Cudart, tmp_path: Path, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    path = with_engines(tmp_path / "bundle")
    spoil, reason = FILES[why]
    for engine in build_engines(path):
        spoil(engine)
    check_fallback(path, caplog, reason)
    assert (gpu.memory, gpu.streams) == ({}, 0)


def test_a_stale_engine_beside_a_fitting_one_does_no_harm(
    gpu: fake_tensorrt.Cudart, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = with_engines(tmp_path / "bundle")
    build_engines(path, version=(8, 6, 1))
    build_engines(path, gpu="Nano")
    build_engines(path)
    with Bundle.open(path) as bundle:
        assert runs_on(bundle, "redirector") is TensorRTRunner
    assert caplog.records == []


def test_engines_of_other_models_are_not_reported(
    gpu: fake_tensorrt.Cudart,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for engine in build_engines(with_engines(tmp_path / "one", ("redirector",))):
        assert engine == engine_path(cache_folder(), key_of_only(tmp_path / "one"))
    other = with_engines(tmp_path / "two", ("estimator",))
    for find in (no_tensorrt, lambda: None):
        monkeypatch.setattr(tensorrt_api, "find", find)
        with Bundle.open(other) as bundle:
            assert runs_on(bundle, "estimator") is TFLiteRunner
    assert caplog.records == []


def key_of_only(path: Path):
    with Bundle.open(path) as bundle:
        (artifact,) = (one for one in bundle.contract.models["redirector"] if one.format == "onnx")
    return key_of(artifact, VERSION, "Orin")


def test_tensorrt_that_cannot_be_imported_is_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert tensorrt_api.find() is None, "a folder of that name, as /usr/src/tensorrt, is none"
    (tmp_path / "tensorrt" / "__init__.py").write_text("raise ImportError('libnvinfer.so.10')")
    import importlib

    importlib.invalidate_caches()
    with refusal(UsageError, "tensorrt-not-importable") as caught:
        tensorrt_api.find()
    assert "libnvinfer.so.10" in str(caught.value.fields["reason"])


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a script in `nvidia-smi`'s place, which notes its calls in a file."""

    def put(script: str) -> Path:
        calls, program = tmp_path / "calls", tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\necho called >> {calls}\n{script}\n")
        program.chmod(0o755)
        return calls

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(build, "_JETSON_MODEL", tmp_path / "no-model")
    monkeypatch.setattr(build, "_PATIENCE_S", 0.3)
    build.gpu_name.cache_clear()
    yield put
    build.gpu_name.cache_clear()


@pytest.mark.processes
def test_the_driver_is_asked_once_in_a_process(driver: Callable[[str], Path]) -> None:
    calls = driver("echo NVIDIA Orin; echo another")
    assert [build.gpu_name() for _ in range(6)] == ["NVIDIA Orin"] * 6
    assert calls.read_text().splitlines() == ["called"]


@pytest.mark.processes
def test_a_driver_that_hangs_is_given_up_and_logged(
    driver: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    calls = driver("exec sleep 30")
    assert [build.gpu_name() for _ in range(3)] == ["an unknown GPU"] * 3
    assert calls.read_text().splitlines() == ["called"]
    assert [one.levelno for one in caplog.records] == [logging.WARNING]


def test_without_a_home_there_are_no_engines(
    gpu: fake_tensorrt.Cudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    path = with_engines(tmp_path / "bundle")
    build_engines(path)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    with Bundle.open(path) as bundle:
        assert runs_on(bundle, "redirector") is TFLiteRunner
    assert cache_folder() is None
    machine = FakeMachine(tmp_path / "machine").machine
    assert check_tensorrt(replace(machine, engine_folder=cache_folder)) is None
