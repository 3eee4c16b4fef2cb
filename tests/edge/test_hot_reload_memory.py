"""Hot reloads free what the bundle before them held: GPU memory, interpreters, file descriptors."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import fake_tensorrt
from engine_bundle import build_engines, with_engines
from mggr_edge.common.process import resident_mb
from mggr_edge.errors import BundleError, MggrError
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.installed import bundle_path
from mggr_edge.models.tensorrt import installed as use
from mggr_edge.models.tensorrt import python_builder as tensorrt_api
from mggr_edge.models.tensorrt.runner import Cuda, TensorRTRunner
from mggr_edge.pipeline.gaze_correction import NO_CORRECTION
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.runs.service import hot_reload as replacing
from mggr_edge.runs.service.hot_reload import BundleReloader

RELOADS, SETTLED_AFTER = 30, 10
ONE_BUNDLE_MB = 20
"""All models of a bundle take more; leaking them would be twenty times as much in this test."""

FRAME = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


class Gpu:
    """TensorRT and CUDA's stand-ins, and what they hold."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.library = fake_tensorrt.Cudart()
        self.tensorrt, _ = fake_tensorrt.make("10.3.0")
        monkeypatch.setattr(tensorrt_api, "find", lambda: self.tensorrt)
        monkeypatch.setattr(use, "gpu_name", lambda: "Orin")
        monkeypatch.setattr(use, "Cuda", lambda: Cuda(self.library))

    def held(self) -> tuple[int, int, int]:
        """Buffers, streams, and engines with their contexts."""
        return len(self.library.memory), self.library.streams, len(self.tensorrt.alive)


NOTHING = (0, 0, 0)


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Gpu(monkeypatch)


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finds no faces, and needs no face models: only the bundle's own models are of interest."""
    monkeypatch.setattr(replacing, "LOOK_S", 0.0)
    monkeypatch.setattr("mggr_edge.models.bundle.LANDMARK_MODEL_FILES", {})
    real = Bundle.model
    faces = ("face_detector", "face_mesh", "iris")
    monkeypatch.setattr(
        Bundle, "model", lambda self, name: None if name in faces else real(self, name)
    )
    monkeypatch.setattr("mggr_edge.pipeline.redirector.FaceFinder", lambda **models: None)
    monkeypatch.setattr("mggr_edge.pipeline.tracks.FaceTracker.find", lambda *args, **how: ())


class Service:
    """Passes frames on while its bundle is replaced again and again."""

    def __init__(self, path: Path) -> None:
        self.said: list[str] = []
        self.path, self._time_s = path, 0.0
        bundle = Bundle.open(path)
        bundle.try_out()
        self.redirector = Redirector(bundle)
        self.process = BundleReloader(
            self.redirector.process,
            self.redirector,
            path,
            correction_of=lambda bundle: NO_CORRECTION,
            notify=self.said.append,
        )

    def frame(self) -> None:
        self._time_s += 0.04
        self.process(FRAME, time_s=self._time_s)

    def reload(self) -> None:
        """Touches the bundle, and passes frames until something was said of it."""
        before, ends_s = len(self.said), time.monotonic() + 20
        os.utime(self.path / "contract.json", ns=(before + 1, before + 1))
        while len(self.said) == before:
            assert time.monotonic() < ends_s
            self.frame()
            time.sleep(0.001)


@pytest.mark.parametrize("reloads", [12, pytest.param(100, marks=pytest.mark.slow)])
def test_hot_reloads_free_all_gpu_memory(
    gpu: Gpu, blind: None, tmp_path: Path, reloads: int
) -> None:
    path = with_engines(tmp_path / "bundle")
    build_engines(path)
    service = Service(path)
    held = gpu.held()
    assert held > NOTHING
    with service.process:
        for _ in range(reloads):
            service.reload()
            assert gpu.held() == held
        assert len(service.said) == reloads
        assert all(text.startswith(f"{path} was replaced") for text in service.said)
        assert all(text.endswith("new bundle is in use") for text in service.said)
        assert gpu.library.allocated == (1 + reloads) * held[0]
    assert gpu.held() == NOTHING


def test_a_bundle_that_is_refused_frees_its_gpu_memory(
    gpu: Gpu, blind: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_engines(tmp_path / "bundle")
    build_engines(path)
    service = Service(path)
    held, first = gpu.held(), service.redirector.bundle
    with service.process:
        for error in (BundleError("does not fit"), OSError("gone")):

            def fail(self: Bundle, *, error: Exception = error, **options: object) -> None:
                self.model("redirector")
                raise error

            monkeypatch.setattr(Bundle, "try_out", fail)
            service.reload()
            assert gpu.held() == held
        assert service.redirector.bundle is first
    assert gpu.held() == NOTHING


def test_a_bundle_that_is_still_opening_at_the_end_is_closed(
    gpu: Gpu, blind: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_engines(tmp_path / "bundle")
    build_engines(path)
    service = Service(path)
    opened, resume_command, real = threading.Event(), threading.Event(), Bundle.try_out

    def slow(self: Bundle, **options: bool) -> None:
        real(self, **options)
        opened.set()
        assert resume_command.wait(20)

    monkeypatch.setattr(Bundle, "try_out", slow)
    with service.process:
        os.utime(path / "contract.json", ns=(1, 1))
        ends_s = time.monotonic() + 20
        while not opened.is_set():
            assert time.monotonic() < ends_s
            service.frame()
            time.sleep(0.001)
        opening = service.process._opening
        assert opening is not None
    assert gpu.held() > NOTHING
    resume_command.set()
    opening.join(20)
    assert gpu.held() == NOTHING


def test_gpu_memory_of_a_bundle_that_is_dropped_is_freed(gpu: Gpu, tmp_path: Path) -> None:
    path = with_engines(tmp_path / "bundle")
    build_engines(path)
    bundle = Bundle.open(path)
    model = bundle.model("redirector")
    gc.disable()
    try:
        del bundle
        assert gpu.held() > NOTHING, "the model is still in use"
        del model
        assert gpu.held() == NOTHING, "freed at once: nothing waits for the garbage collector"
    finally:
        gc.enable()


@pytest.mark.extended
@pytest.mark.parametrize("call", ["cudaMalloc", "cudaMemcpyAsync"])
def test_an_engine_that_fails_half_way_leaves_nothing(gpu: Gpu, tmp_path: Path, call: str) -> None:
    path = with_engines(tmp_path / "bundle")
    build_engines(path)
    gpu.library.fails = call
    with Bundle.open(path) as bundle:
        bundle.model("redirector")
        gc.collect()
        assert gpu.held() == NOTHING


def test_one_buffer_that_cannot_be_freed_keeps_no_other() -> None:
    library = fake_tensorrt.Cudart()
    module, _ = fake_tensorrt.make("10.3.0")
    runner = TensorRTRunner(b"ENGINE", module, Cuda(library))
    library.fails = "cudaFree"
    with pytest.raises(RuntimeError, match="cudaFree failed with CUDA error 2"):
        runner.close()
    assert (library.streams, len(module.alive)) == (0, 0)
    runner.close()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def reload_often(path: Path) -> None:
    """Prints memory in MB, open files and threads after each of many reloads; and messages."""
    replacing.LOOK_S = 0.0
    service = Service(path)
    held = []
    with service.process:
        for _ in range(RELOADS):
            service.reload()
            held.append((resident_mb(), open_files(), threading.active_count()))
    print(json.dumps({"held": held, "said": sorted(set(service.said))}))


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.skipif(resident_mb() is None, reason="this system does not tell")
@pytest.mark.parametrize("name", ["default", "default-int8"])
def test_hot_reloads_of_tflite_models_do_not_grow(tmp_path: Path, name: str) -> None:
    """In a new process: one in which much else ran grows for reasons of its own."""
    path = Path(shutil.copytree(bundle_path(name), tmp_path / "bundle"))
    try:
        Bundle.open(path).try_out()
    except MggrError as error:
        pytest.skip(str(error))
    folders = [str(Path(__file__).parent), str(Path(fake_tensorrt.__file__).parent)]
    script = (
        f"import sys; sys.path[:0] = {folders!r}; from pathlib import Path;"
        f"import {Path(__file__).stem} as module; module.reload_often(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    held_mb, files, threads = zip(*found["held"], strict=True)
    (text,) = found["said"]
    assert text.startswith(f"{path} was replaced")
    assert text.endswith("new bundle is in use")
    assert len(set(files)) == len(set(threads)) == 1
    growth_mb = np.median(held_mb[-5:]) - np.median(held_mb[SETTLED_AFTER : SETTLED_AFTER + 5])
    assert growth_mb < ONE_BUNDLE_MB / 2, held_mb
