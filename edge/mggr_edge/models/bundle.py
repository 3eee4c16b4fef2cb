"""Open a bundle: a folder or zip file with models and their contract.

The export creates a bundle after training, and a device runs its models. A bundle contains
`contract.json`, the model files that the contract lists, and `SHA256SUMS` with the checksums of all
files. Each file is read once. The models are loaded from the bytes whose checksums were verified.
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
from mggr_edge.models.installed import (
    LANDMARK_MODEL_FILES,
    bundle_path,
    find_landmark_models,
    landmark_artifact,
)
from mggr_edge.models.network_io import check_usable
from mggr_edge.models.runtimes import (
    Runner,
    TFLiteRunner,
    check_fits,
    close_runner,
    open_artifact,
    open_file,
    runnable,
)
from mggr_edge.models.runtimes.runner import InBatches, batch_of
from mggr_edge.models.runtimes.tflite import can_be_parted, part_of
from mggr_edge.models.tensorrt.installed import engine_of

_COARSE = "redirector without its fine branch"
"""Name of the coarse redirector among the loaded models. No model in a contract has this name."""


class Bundle(GazeNetworks):
    """Models and their contract, with verified checksums and ready to run.

    A bundle processes patches, not the pictures from which the patches were cut. Therefore all
    gazes and head poses in arguments and results are in the patch's axes. If the patch was not
    rotated, these are also the picture's axes. If the patch was rotated by `roll_deg`,
    `Gaze.rolled` converts between the axes of the patch and the axes of the picture.

    Args:
        contract: the contract of the bundle, with its conventions and the specs of its models.
        load: function that accepts the name of a model and returns its runner (see
            `runtimes.runner.Runner`). The function is called when a model is used for the first
            time.
        load_coarse: function that accepts the loaded redirector and returns a runner that computes
            only the flow. If the redirector cannot be run without its fine branch, the function
            returns `None`.

    Threads: any thread may use a bundle. Two threads may call one model at the same time, but then
    the calls do not run in parallel. For parallel work, use a separate `session()` in each thread.

    Memory: a model is loaded on first use. The model is released by `close()`, at the end of a
    `with` block, or when the bundle is garbage-collected.

    Example with two streams in two threads::

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
        self._machine_models: dict[str, bytes] = {}  # All sessions share these bytes.
        self._users, self._users_lock = 1, threading.Lock()

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Open a bundle and verify all checksums.

        If the bundle has no face models, the face models that are installed on this machine are
        used. Their checksums are verified, too.

        Args:
            path: the path of a bundle folder or zip file, or the name of a packaged bundle.

        Raises:
            BundleError: the bundle is missing or damaged, or it has another schema version. If the
                tensors of a model do not match, the error is raised when the model is loaded.
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
                artifact = runnable(formats, model=name)
                runner = open_artifact(artifact, files[artifact.file])
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
            file = runnable(contract.models["redirector"], model="redirector").file
            runner = open_file(part_of(files[file], ["flow"]), "tflite")
            return InBatches(runner, batch_of(runner))

        return cls(contract, load, load_coarse)

    def model(self, name: str) -> Runner:
        """Return the runner of a model; the model is loaded when it is used for the first time.

        Raises:
            BundleError: the bundle has no model of that name, or the tensors of the model do not
                match its contract.
            MissingLandmarkModelsError: the model is a face model, and neither the bundle nor this
                machine has it.
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
            artifact = landmark_artifact(name)
            runnable((artifact,), model=name)
            return open_artifact(artifact, self._machine_models[name])
        held = ", ".join(sorted(self.contract.models))
        raise BundleError(
            f"the bundle has no model {name!r}; its models: {held}",
            code="model-not-in-bundle",
            model=name,
            models=held,
        )

    def session(self) -> Bundle:
        """Return a second bundle for another thread; it has the same files but separate models.

        The two bundles run in parallel. Each of them must be closed separately. A session needs
        memory for the interpreters of its models (a few MB per model). The checksums are not
        verified again.

        Raises:
            ValueError: the bundle is closed.
        """
        self._models.check_open()
        other = Bundle(self.contract, self._load, self._load_coarse)
        other._machine_models = self._machine_models
        return other

    def share(self) -> Bundle:
        """Return this bundle for one more user, who must close it, too.

        The users share the loaded models. The models are released when every user has called
        `close`.

        Raises:
            ValueError: the bundle is closed.
        """
        with self._users_lock:
            self._models.check_open()
            self._users += 1
        return self

    def close(self) -> None:
        """Release all models; a model whose call is running is released after that call.

        Later calls of the models raise ValueError. Sessions of this bundle stay open. If `close` is
        called again, nothing happens. If the bundle is shared (see `share`), the call of the last
        user releases the models.
        """
        with self._users_lock:
            self._users = max(self._users - 1, 0)
            if self._users:
                return
        self._models.close()

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def coarse(self) -> Runner | None:
        """Redirector without its fine branch.

        It computes only the flow, which is much less work than the whole redirector. If the loaded
        redirector cannot be run without this branch, the value is `None`. This limitation applies
        to TensorRT engines and ONNX files. If only tflite-runtime is installed, the limitation also
        applies to TFLite files. The coarse model is loaded when it is used for the first time,
        after the redirector.
        """
        return self._models.get(_COARSE, self._opened)

    def try_out(self, *, coarse: bool = False) -> None:
        """Load all models that a frame needs, and run the estimator and the redirector once.

        Args:
            coarse: whether to load and run `coarse`, too. If it is loaded now, the loading does not
                delay a later frame.

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
        """Return a bundle whose models are wrappers of the models of this bundle.

        A wrapper can, for example, measure the time of each call. This bundle still owns its
        models. If the returned bundle is closed, the models stay open.

        Args:
            seen: function that accepts a runner and returns a wrapper of this runner.
        """

        def coarse(redirector: Runner) -> Runner | None:
            return None if self.coarse is None else seen(self.coarse)

        other = Bundle(self.contract, self._load, coarse)
        for name in {*self.contract.models, *LANDMARK_MODEL_FILES}:
            other._models.lend(name, seen(self.model(name)))
        return other


class _LoadedModels:
    """Runners by name, each loaded when it is first used; all methods are thread-safe."""

    def __init__(self) -> None:
        # The lock is reentrant, because loading one model may load another model.
        self._lock = threading.RLock()
        self._runners: dict[str, Runner | None] = {}
        self._borrowed: set[str] = set()
        self._is_closed = False

    def get(self, name: str, load: Callable[[str], Runner | None]) -> Runner | None:
        """Return the runner of a model; the model is loaded when it is first used.

        Args:
            name: the name of the model.
            load: function that returns the runner on first use, or `None` if this model does not
                exist. The function is an argument of each call and not an attribute. Therefore a
                bundle and its models form no reference cycle. Python frees the models as soon as
                nothing refers to the bundle.

        Raises:
            ValueError: the models are closed.
        """
        with self._lock:
            self.check_open()
            if name not in self._runners:
                self._runners[name] = load(name)
            return self._runners[name]

    def lend(self, name: str, runner: Runner) -> None:
        """Add a runner that another object owns; `close` does not close this runner."""
        with self._lock:
            self._runners[name] = runner
            self._borrowed.add(name)

    def check_open(self) -> None:
        """If the models are closed, raise ValueError."""
        if self._is_closed:
            raise ValueError("the bundle is closed; open it again")

    def close(self) -> None:
        """Close all runners that this object owns, each after its running call has ended."""
        with self._lock:
            self._is_closed = True
            owned = [one for name, one in self._runners.items() if name not in self._borrowed]
            self._runners = {}
        with ExitStack() as each:  # If one runner cannot be closed, the rest are still closed.
            for runner in owned:
                if runner is not None:
                    each.callback(close_runner, runner)
