"""The bundle: models and their contract, exported by training and run on a device.

A folder, or a zip of it, with `contract.json`, the models it names, and `SHA256SUMS` over every
file. Bytes are read once, checked, and those same bytes are run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import BundleError
from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.geometry.eye_crop import mirror_flow, mirror_image, mirrored_if, needs_mirror
from mggr_edge.models import network_io
from mggr_edge.models.bundle_archive import (
    CONTRACT_FILE,
    SUMS_FILE,
    checksum_lines,
    read_bundle_files,
)
from mggr_edge.models.contract import Contract, contract_from_json
from mggr_edge.models.installed import LANDMARK_MODEL_FILES, bundle_path, find_landmark_models
from mggr_edge.models.loaded_models import LoadedModels
from mggr_edge.models.network_io import EyeState, check_usable
from mggr_edge.models.runtimes import Runner, TFLiteRunner, check_fits, open_file, runnable
from mggr_edge.models.runtimes.runner import InBatches, batch_of
from mggr_edge.models.runtimes.tflite import can_be_parted, part_of
from mggr_edge.models.tensorrt.installed import engine_of

__all__ = [
    "CONTRACT_FILE",
    "SUMS_FILE",
    "Bundle",
    "EyeEstimate",
    "EyeRedirection",
    "checksum_lines",
    "read_bundle_files",
]

_FRONTAL = Gaze(0.0, 0.0)
_COARSE = "redirector without its fine branch"  # Beside the names of the contract.
"""Beside the contract's models."""


@dataclass(frozen=True)
class EyeEstimate:
    """What the estimator says about one patch.

    Attributes:
        gaze: in the patch's axes.
        state: lids, iris and occlusion; None from an estimator that has no output `state`.
    """

    gaze: Gaze
    state: EyeState | None


@dataclass(frozen=True)
class EyeRedirection:
    """What the network says about one patch, in the patch's own orientation.

    Attributes:
        source: the gaze that was redirected, given or estimated, in the patch's axes.
        flow: [H, W, 2] float32, backward (dx, dy) in patch pixels.
        residual: [H, W, 3] float32, to be added to the warped image in [-1, 1].
        redirected: [H, W, 3] uint8 RGB.
    """

    source: Gaze
    flow: NDArray[np.float32]
    residual: NDArray[np.float32]
    redirected: NDArray[np.uint8]


class Bundle:
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
        self._models = LoadedModels()
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
        self.redirect_crop(patch, side="right", target=_FRONTAL)
        if coarse:
            self.redirect_crops([patch], sides=["right"], target=_FRONTAL, fine=False)

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

    def estimate_gaze(
        self, patch: NDArray[np.uint8], *, side: Side, head_pose: Gaze | None = None
    ) -> Gaze:
        """Estimates where an eye looks.

        Args:
            patch: [H, W, 3] uint8 RGB eye crop.
            side: the subject's own side.
            head_pose: None stands for frontal.
        """
        return self.estimate_gazes([patch], sides=[side], head_pose=head_pose)[0]

    def estimate_gazes(
        self,
        patches: Sequence[NDArray[np.uint8]],
        *,
        sides: Sequence[Side],
        head_pose: Gaze | Sequence[Gaze] | None = None,
    ) -> list[Gaze]:
        """The gazes of `estimate_eyes`."""
        eyes = self.estimate_eyes(patches, sides=sides, head_pose=head_pose)
        return [eye.gaze for eye in eyes]

    def estimate_eyes(
        self,
        patches: Sequence[NDArray[np.uint8]],
        *,
        sides: Sequence[Side],
        head_pose: Gaze | Sequence[Gaze] | None = None,
    ) -> list[EyeEstimate]:
        """Estimates gaze and state of some eyes of one head, in one call where the file allows it.

        Args:
            patches: [H, W, 3] uint8 RGB eye crops; no patches give no estimates.
            sides: of each, the subject's own.
            head_pose: one for all patches or one for each, in the patch's axes; None stands for
                frontal.
        """
        if not patches:
            return []
        images, mirrors = self._canonical(patches, sides)
        heads = _canonical_deg(_one_each(head_pose or _FRONTAL, len(patches)), mirrors)
        conventions = self.contract.conventions
        outputs = self.model("estimator")(
            network_io.estimator_inputs(images, head_deg=heads, conventions=conventions)
        )
        gazes = network_io.gaze_from_network(outputs["gaze"], conventions)
        states = outputs.get("state")
        return [
            EyeEstimate(
                mirrored_if(Gaze.from_array(gaze), mirror=mirror),
                None if states is None else EyeState.from_array(states[number]),
            )
            for number, (gaze, mirror) in enumerate(zip(gazes, mirrors, strict=True))
        ]

    def redirect_crop(
        self,
        patch: NDArray[np.uint8],
        *,
        side: Side,
        target: Gaze,
        source: Gaze | None = None,
        head_pose: Gaze | None = None,
    ) -> EyeRedirection:
        """Redirects one eye patch and returns the flow and residual that do it.

        Args:
            patch: [H, W, 3] uint8 RGB eye crop.
            side: the subject's own side.
            target: where the eye shall look.
            source: where it looks; None has it estimated.
            head_pose: None stands for frontal.

        Raises:
            ValueError: the patch has another shape or dtype.
        """
        return self.redirect_crops(
            [patch], sides=[side], target=target, source=source, head_pose=head_pose
        )[0]

    def redirect_crops(
        self,
        patches: Sequence[NDArray[np.uint8]],
        *,
        sides: Sequence[Side],
        target: Gaze | Sequence[Gaze],
        source: Gaze | Sequence[Gaze] | None = None,
        head_pose: Gaze | Sequence[Gaze] | None = None,
        fine: bool = True,
    ) -> list[EyeRedirection]:
        """Redirects some eyes of one head, with one call where the file takes several.

        Args:
            patches: [H, W, 3] uint8 RGB eye crops; none at all asks for none.
            sides: of each, the subject's own.
            target: the gaze to produce, one for all patches or one for each.
            source: the present gaze, likewise; None has it estimated for each.
            head_pose: likewise; None stands for frontal.
            fine: with the fine branch; without it where the bundle has `coarse`, residuals are
                then 0.

        Raises:
            ValueError: a patch has another shape or dtype.
        """
        if not patches:
            return []
        count, head_pose = len(patches), head_pose or _FRONTAL
        if source is None:
            sources: Sequence[Gaze] = self.estimate_gazes(patches, sides=sides, head_pose=head_pose)
        else:
            sources = _one_each(source, count)
        images, mirrors = self._canonical(patches, sides)
        inputs = network_io.redirector_inputs(
            images,
            source_deg=_canonical_deg(sources, mirrors),
            target_deg=_canonical_deg(_one_each(target, count), mirrors),
            head_deg=_canonical_deg(_one_each(head_pose, count), mirrors),
            conventions=self.contract.conventions,
        )
        if fine or self.coarse is None:
            outputs = self.model("redirector")(inputs)
            pictures = network_io.image_from_network(outputs["redirected"])
        else:
            outputs = self.coarse(inputs)
            pictures = np.stack(list(map(_warped, images, outputs["flow"])))
            outputs["residual"] = np.zeros(images.shape, np.float32)
        return [
            EyeRedirection(
                gaze,
                mirror_flow(flow) if mirror else flow,
                mirror_image(residual) if mirror else residual,
                mirror_image(picture) if mirror else picture,
            )
            for gaze, mirror, flow, residual, picture in zip(
                sources, mirrors, outputs["flow"], outputs["residual"], pictures, strict=True
            )
        ]

    def redirect_eye(
        self,
        patch: NDArray[np.uint8],
        *,
        side: Side,
        target: Gaze,
        source: Gaze | None = None,
        head_pose: Gaze | None = None,
    ) -> NDArray[np.uint8]:
        """Makes one eye patch look at `target`, in the patch's axes; see `redirect_crop`.

        Returns:
            [H, W, 3] uint8 RGB.
        """
        return self.redirect_crop(
            patch, side=side, target=target, source=source, head_pose=head_pose
        ).redirected

    def _canonical(
        self, patches: Sequence[NDArray[np.uint8]], sides: Sequence[Side]
    ) -> tuple[NDArray[np.uint8], list[bool]]:
        """Patches [N, H, W, 3] as the networks know eyes, and which of them were mirrored."""
        size = self.contract.conventions.patch_size
        for patch in patches:
            if patch.shape != (size, size, 3) or patch.dtype != np.uint8:
                got = f"{patch.dtype} {list(patch.shape)}"
                raise ValueError(f"an eye patch is uint8 [{size}, {size}, 3], got {got}")
        for side in sides:
            if side not in ("left", "right"):
                raise ValueError(f"side is 'left' or 'right', got {side!r}")
        mirrors = [needs_mirror(side, self.contract.conventions.canonical_side) for side in sides]
        pairs = zip(patches, mirrors, strict=True)
        return np.stack([mirror_image(p) if mirror else p for p, mirror in pairs]), mirrors


def _one_each(gazes: Gaze | Sequence[Gaze], count: int) -> Sequence[Gaze]:
    return [gazes] * count if isinstance(gazes, Gaze) else gazes


def _canonical_deg(gazes: Sequence[Gaze], mirrors: Sequence[bool]) -> NDArray[np.float32]:
    """[N, 2] degrees in the axes of patches that were perhaps mirrored."""
    pairs = zip(gazes, mirrors, strict=True)
    return np.stack([mirrored_if(gaze, mirror=mirror).array() for gaze, mirror in pairs])


def _warped(image: NDArray[np.uint8], flow: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[H, W, 3] uint8 by [H, W, 2]: what the coarse branch makes of it."""
    places = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    return cv2.remap(
        image,
        places[1] + flow[..., 0],
        places[0] + flow[..., 1],
        interpolation=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
