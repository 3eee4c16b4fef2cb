"""The bundle: models and their contract, exported by training and run on a device.

A folder, or a zip of it, with `contract.json`, the models it names, and `SHA256SUMS` over every
file. Bytes are read once, checked, and those same bytes are run.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from mggr_edge.errors import BundleError
from mggr_edge.models.bundle_archive import (
    CONTRACT_FILE,
    read_bundle_files,
)
from mggr_edge.models.contract import Contract, contract_from_json
from mggr_edge.models.gaze_networks import FRONTAL, GazeNetworks
from mggr_edge.models.installed import LANDMARK_MODEL_FILES, bundle_path, find_landmark_models
from mggr_edge.models.network_io import check_usable
from mggr_edge.models.runtimes import (
    Runner,
    TFLiteRunner,
    check_fits,
    close_runner,
    open_file,
    runnable,
)
from mggr_edge.models.runtimes.runner import InBatches, batch_of
from mggr_edge.models.runtimes.tflite import can_be_parted, part_of
from mggr_edge.models.tensorrt.installed import engine_of

_COARSE = "redirector without its fine branch"
"""Name of the part, beside the names of the contract's models."""


class Bundle(GazeNetworks):
    """Models and their contract, checked and ready to run.

    A bundle sees patches and not the pictures that they were cut from: every gaze and head pose
    that it takes or gives is in the patch's axes. Those are the picture's axes if the patch was
    not rotated; for a crop that is rotated by `roll_deg`, `Gaze.rolled` converts.

    Args:
        contract: the conventions, and what the models promise.
        load: builds the runner of a model by its name, on first use.
        load_coarse: takes the redirector that is in use, and builds one that gives the flow
            alone; None where that cannot be done.

    Threads: any thread may use a bundle. Simultaneous calls of one model take turns: results are
    correct, but not faster. For parallel work give each thread a `session()`.

    Memory: a model is loaded on first use, and released by `close()`, at the end of a `with`
    block, or with the bundle itself.

    Example, two streams in two threads::

        with Bundle.open("default") as first, first.session() as second:
            redirectors = [Redirector(first), Redirector(second)]
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(redirect_stream, redirectors, streams))
    """

    def __init__(
        self,
        contract: Contract,
        load: Callable[[str], Runner],
        load_coarse: Callable[[Runner], Runner | None] = lambda redirector: None,
    ) -> None:
        self.contract = contract
        self._load, self._load_coarse = load, load_coarse
        self._models = _LoadedModels()
        self._machine_models: dict[str, bytes] = {}  # Shared by sessions.

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Opens a bundle folder or zip, or a packaged one by name, and verifies every checksum.

        A bundle without face models uses this machine's, whose checksums are known.

        Raises:
            BundleError: missing, damaged, of another schema, or with models of other tensors.
        """
        named, path = str(path), bundle_path(path)
        files = read_bundle_files(path)
        contract = contract_from_json(files[CONTRACT_FILE])
        for artifact in contract.artifacts():
            if artifact.file not in files:
                raise BundleError(f"{path}: the contract names {artifact.file}, which is missing")
            if hashlib.sha256(files[artifact.file]).hexdigest() != artifact.sha256:
                raise BundleError(f"{path}: {artifact.file} is not the file that was exported")

        def load(name: str) -> Runner:
            formats = contract.models[name]
            runner = engine_of(formats, bundle=named)
            if runner is None:
                artifact = runnable(formats)
                runner = open_file(files[artifact.file], artifact.format)
                check_fits(runner, artifact)
            try:
                check_usable(name, runner, contract.conventions)
            except BundleError:
                runner.close()
                raise
            return InBatches(runner, batch_of(runner))

        def load_coarse(redirector: Runner) -> Runner | None:
            in_use = redirector.runner if isinstance(redirector, InBatches) else redirector
            if not isinstance(in_use, TFLiteRunner) or not can_be_parted():
                return None
            file = runnable(contract.models["redirector"]).file
            runner = open_file(part_of(files[file], ["flow"]), "tflite")
            return InBatches(runner, batch_of(runner))

        return cls(contract, load, load_coarse)

    def model(self, name: str) -> Runner:
        """The model of that name, loaded on first use.

        Raises:
            BundleError: the bundle has none of that name, or it does not fit.
            MissingLandmarkModelsError: a face model that neither the bundle nor this machine has.
            ValueError: the bundle is closed.
        """
        runner = self._models.get(name, self._opened)
        assert runner is not None, "only the coarse part may be missing"
        return runner

    def _opened(self, name: str) -> Runner | None:
        if name == _COARSE:
            has_redirector = "redirector" in self.contract.models
            return self._load_coarse(self.model("redirector")) if has_redirector else None
        if name in self.contract.models:
            return self._load(name)
        if name in LANDMARK_MODEL_FILES:
            if name not in self._machine_models:
                self._machine_models[name] = find_landmark_models()[name].read_bytes()
            return open_file(self._machine_models[name], "tflite")
        held = ", ".join(sorted(self.contract.models))
        raise BundleError(f"the bundle has no model {name!r}; it holds: {held}")

    def session(self) -> Bundle:
        """A second bundle over the same file bytes, with models of its own, for another thread.

        Both work in parallel, and each is closed on its own. A session takes the memory of its
        models' interpreters (a few MB each); checksums are not verified again.

        Raises:
            ValueError: the bundle is closed.
        """
        self._models.check_open()
        other = Bundle(self.contract, self._load, self._load_coarse)
        other._machine_models = self._machine_models
        return other

    def close(self) -> None:
        """Releases all models, each after a call that is running; harmless when repeated.

        Later calls raise ValueError. Sessions stay open.
        """
        self._models.close()

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def coarse(self) -> Runner | None:
        """The redirector without its fine branch: the flow alone, at a fraction of the work.

        None where the model in use cannot be run in part: an engine, an ONNX file, or a TFLite
        file on tflite-runtime. Loaded on first use, after the redirector itself.
        """
        return self._models.get(_COARSE, self._opened)

    def try_out(self, *, coarse: bool = False) -> None:
        """Loads every model that a frame needs, and runs what is trained, once.

        Args:
            coarse: load and run `coarse` too, so that a later frame does not wait for it.

        Raises:
            BundleError: one of them is missing, does not fit or cannot be run.
            MissingLandmarkModelsError: a face model that neither the bundle nor this machine has.
        """
        for name in LANDMARK_MODEL_FILES:
            self.model(name)
        size = self.contract.conventions.patch_size
        patch = np.zeros((size, size, 3), np.uint8)
        self.redirect_crop(patch, side="right", target=FRONTAL)
        if coarse:
            self.redirect_crops([patch], sides=["right"], target=FRONTAL, fine=False)

    def through(self, seen: Callable[[Runner], Runner]) -> Bundle:
        """The same bundle with every model wrapped, for example to measure its time.

        The models stay this bundle's: closing the other one closes none of them.
        """

        def coarse(redirector: Runner) -> Runner | None:
            return None if self.coarse is None else seen(self.coarse)

        other = Bundle(self.contract, self._load, coarse)
        for name in {*self.contract.models, *LANDMARK_MODEL_FILES}:
            other._models.lend(name, seen(self.model(name)))
        return other


class _LoadedModels:
    """Runners by name, each loaded once on first use; any thread may ask for one."""

    def __init__(self) -> None:
        # Loading one model may ask for another.
        self._lock = threading.RLock()
        self._runners: dict[str, Runner | None] = {}
        self._borrowed: set[str] = set()
        self._is_closed = False

    def get(self, name: str, load: Callable[[str], Runner | None]) -> Runner | None:
        """The runner of that name.

        Args:
            name: of the model.
            load: builds it on first use; None if there is no such model here. Passed with each
                call, so that a bundle and its models do not refer to each other, and a bundle
                that is dropped frees them at once.

        Raises:
            ValueError: the models are closed.
        """
        with self._lock:
            self.check_open()
            if name not in self._runners:
                self._runners[name] = load(name)
            return self._runners[name]

    def lend(self, name: str, runner: Runner) -> None:
        """Adds a runner that `close` leaves open, because its owner closes it."""
        with self._lock:
            self._runners[name] = runner
            self._borrowed.add(name)

    def check_open(self) -> None:
        """Raises ValueError if the models are closed."""
        if self._is_closed:
            raise ValueError("the bundle is closed; open it again")

    def close(self) -> None:
        """Closes all runners but borrowed ones, each after a call that is running."""
        with self._lock:
            self._is_closed = True
            owned = [one for name, one in self._runners.items() if name not in self._borrowed]
            self._runners = {}
        with ExitStack() as each:  # All are closed, also if one fails.
            for runner in owned:
                if runner is not None:
                    each.callback(close_runner, runner)
