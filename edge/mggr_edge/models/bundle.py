"""The bundle: models and their contract, exported after training and run on a device.

A bundle is a folder, or a zip file of it, with `contract.json`, the model files that the contract
names, and `SHA256SUMS` with the checksums of all files. Each file is read once, and the models are
loaded from the verified bytes.
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
"""Name of the coarse redirector among the loaded models; it differs from all contract names."""


class Bundle(GazeNetworks):
    """Models and their contract, verified and ready to run.

    A bundle processes patches, not the pictures that they were cut from. Therefore all gazes and
    head poses in its arguments and results are in the patch's axes. These are the picture's axes
    if the patch was not rotated; for a crop that is rotated by `roll_deg`, `Gaze.rolled` converts
    between them.

    Args:
        contract: the contract of the bundle, with its conventions and the specs of its models.
        load: function that returns the runner of a model by its name; it is called on first use.
        load_coarse: function that accepts the loaded redirector and returns a runner that computes
            only the flow, or None if the redirector cannot be run in part.

    Threads: any thread may use a bundle. Simultaneous calls of one model are correct, but they do
    not run in parallel. For parallel work use a separate `session()` in each thread.

    Memory: a model is loaded on first use. It is released by `close()`, at the end of a `with`
    block, or when the bundle is garbage-collected.

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
        self._machine_models: dict[str, bytes] = {}  # Sessions share these bytes.

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Open a bundle folder, a bundle zip file, or a packaged bundle, and verify all checksums.

        For a bundle without face models, the installed face models of this machine are used after
        their checksums are verified.

        Args:
            path: the path of the bundle, or the name of a packaged bundle.

        Raises:
            BundleError: the bundle is missing or damaged, or has another schema version. A model
                whose tensors do not match raises this error when it is loaded.
        """
        named, path = str(path), bundle_path(path)
        files = read_bundle_files(path)
        contract = contract_from_json(files[CONTRACT_FILE])
        for artifact in contract.artifacts():
            if artifact.file not in files:
                raise BundleError(
                    f"{path}: {CONTRACT_FILE} lists {artifact.file}, which is missing; copy the "
                    "bundle again",
                    code="contract-file-missing",
                    path=path,
                    file=artifact.file,
                )
            if hashlib.sha256(files[artifact.file]).hexdigest() != artifact.sha256:
                raise BundleError(
                    f"{path}: {artifact.file} does not match its checksum in {CONTRACT_FILE}; "
                    "export the bundle again",
                    code="contract-checksum-wrong",
                    path=path,
                    file=artifact.file,
                )

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
        """Return the runner of a model, and load the model on first use.

        Raises:
            BundleError: the bundle has no model of that name, or the model's tensors do not match
                its contract.
            MissingLandmarkModelsError: neither the bundle nor this machine has this face model.
            MissingPackageError: no runtime for the formats of this model is installed.
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
        raise BundleError(
            f"the bundle has no model {name!r}; its models: {held}",
            code="model-not-in-bundle",
            model=name,
            models=held,
        )

    def session(self) -> Bundle:
        """Return a second bundle for another thread, with the same files but its own models.

        The two bundles run in parallel, and each must be closed separately. A session needs memory
        for the interpreters of its models (a few MB each). Checksums are not verified again.

        Raises:
            ValueError: the bundle is closed.
        """
        self._models.check_open()
        other = Bundle(self.contract, self._load, self._load_coarse)
        other._machine_models = self._machine_models
        return other

    def close(self) -> None:
        """Release all models, each after its running call has ended.

        Later calls of the models raise ValueError. Sessions stay open. Further calls of `close`
        have no effect.
        """
        self._models.close()

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def coarse(self) -> Runner | None:
        """Redirector without its fine branch; it computes only the flow, with much less work.

        The value is None if the loaded redirector cannot be run in part: an engine, an ONNX file,
        or a TFLite file when only tflite-runtime is installed. The coarse model is loaded on first
        use, after the redirector.
        """
        return self._models.get(_COARSE, self._opened)

    def try_out(self, *, coarse: bool = False) -> None:
        """Load every model that a frame needs, and run the estimator and the redirector once.

        Args:
            coarse: whether to load and run `coarse` too, so that loading does not delay a later
                frame.

        Raises:
            BundleError: a model is missing or cannot be run, or its tensors do not match.
            MissingLandmarkModelsError: neither the bundle nor this machine has a face model.
        """
        for name in LANDMARK_MODEL_FILES:
            self.model(name)
        size = self.contract.conventions.patch_size
        patch = np.zeros((size, size, 3), np.uint8)
        self.redirect_crop(patch, side="right", target=FRONTAL)
        if coarse:
            self.redirect_crops([patch], sides=["right"], target=FRONTAL, fine=False)

    def through(self, seen: Callable[[Runner], Runner]) -> Bundle:
        """Return a bundle that wraps every model of this one, for example to measure its time.

        This bundle still owns its models: closing the returned bundle does not close them.

        Args:
            seen: function that returns the wrapper of a runner.
        """

        def coarse(redirector: Runner) -> Runner | None:
            return None if self.coarse is None else seen(self.coarse)

        other = Bundle(self.contract, self._load, coarse)
        for name in {*self.contract.models, *LANDMARK_MODEL_FILES}:
            other._models.lend(name, seen(self.model(name)))
        return other


class _LoadedModels:
    """Runners by name, each loaded once on first use; all methods are thread-safe."""

    def __init__(self) -> None:
        # The lock is reentrant because loading one model may load another.
        self._lock = threading.RLock()
        self._runners: dict[str, Runner | None] = {}
        self._borrowed: set[str] = set()
        self._is_closed = False

    def get(self, name: str, load: Callable[[str], Runner | None]) -> Runner | None:
        """Return the runner of a model, and load it on first use.

        Args:
            name: the name of the model.
            load: function that returns the runner on first use, or None if this model does not
                exist. It is an argument of each call, so that a bundle and its models do not form
                a reference cycle, and Python frees them as soon as the bundle is dropped.

        Raises:
            ValueError: the models are closed.
        """
        with self._lock:
            self.check_open()
            if name not in self._runners:
                self._runners[name] = load(name)
            return self._runners[name]

    def lend(self, name: str, runner: Runner) -> None:
        """Add a runner that `close` does not close, because its owner closes it."""
        with self._lock:
            self._runners[name] = runner
            self._borrowed.add(name)

    def check_open(self) -> None:
        """Raise ValueError if the models are closed."""
        if self._is_closed:
            raise ValueError("the bundle is closed; open it again")

    def close(self) -> None:
        """Close all runners except borrowed ones, each after its running call has ended."""
        with self._lock:
            self._is_closed = True
            owned = [one for name, one in self._runners.items() if name not in self._borrowed]
            self._runners = {}
        with ExitStack() as each:  # Closes every runner, even if closing one fails.
            for runner in owned:
                if runner is not None:
                    each.callback(close_runner, runner)
