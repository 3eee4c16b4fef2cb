"""Estimate and redirect the gaze in eye patches with the networks of a bundle.

A bundle has two networks for these tasks. The estimator estimates the gaze in a patch. The
redirector has two branches. Its coarse branch computes a flow with which the patch is warped. Its
fine branch computes a residual that is added to the warped patch. It can also compute an opacity:
the fraction of the warped patch that is removed before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.geometry.eye_crop import mirror_flow, mirror_image, mirrored_if, needs_mirror
from mggr_edge.models import network_io
from mggr_edge.models.contract import Contract
from mggr_edge.models.network_io import EyeState
from mggr_edge.models.runtimes import Runner

FRONTAL = Gaze(0.0, 0.0)


@dataclass(frozen=True)
class EyeEstimate:
    """Output of the estimator for one patch.

    Attributes:
        gaze: estimated gaze in the patch's axes.
        state: eye opening, iris visibility and occlusion. `None` means that the estimator has no
            output `state`.
    """

    gaze: Gaze
    state: EyeState | None


@dataclass(frozen=True)
class EyeRedirection:
    """Output of the redirector for one patch. The arrays have the orientation of that patch.

    Attributes:
        source: gaze before redirection in the patch's axes. The caller passed it, or it was
            estimated.
        flow: [H, W, 2] float32 backward flow (dx, dy) in patch pixels.
        residual: [H, W, 3] float32 values that are added to the warped image. The image has values
            in [-1, 1].
        redirected: [H, W, 3] uint8 RGB patch after redirection.
        alpha: [H, W, 1] float32 in [0, 1], the fraction of the warped image that is removed before
            the residual is added. `None` means that nothing is removed: the redirector has no
            output `alpha`, or only its coarse branch was run.
    """

    source: Gaze
    flow: NDArray[np.float32]
    residual: NDArray[np.float32]
    redirected: NDArray[np.uint8]
    alpha: NDArray[np.float32] | None = None


class GazeNetworks(ABC):
    """Base class of objects that estimate and redirect the gaze in eye patches.

    A patch is a [H, W, 3] uint8 RGB image. The networks are trained on eyes of one side. Patches of
    eyes of the other side are mirrored before a network runs, and the results of the network are
    mirrored back. All gazes and head poses are in the patch's axes.

    Attributes:
        contract: the contract of the bundle, with its conventions and the specs of its models.
    """

    contract: Contract

    @abstractmethod
    def model(self, name: str) -> Runner:
        """Return the runner of the model with this name."""

    @property
    @abstractmethod
    def coarse(self) -> Runner | None:
        """Redirector without its fine branch.

        If the redirector cannot be run without this branch, the value is `None`.
        """

    def estimate_gaze(
        self, patch: NDArray[np.uint8], *, side: Side, head_pose: Gaze | None = None
    ) -> Gaze:
        """Estimate the gaze of one eye.

        Args:
            patch: [H, W, 3] uint8 RGB eye crop.
            side: the side of the eye from the subject's point of view.
            head_pose: head pose in the patch's axes. `None` means a frontal head pose.

        Raises:
            ValueError: the patch has another shape or dtype.
        """
        return self.estimate_gazes([patch], sides=[side], head_pose=head_pose)[0]

    def estimate_gazes(
        self,
        patches: Sequence[NDArray[np.uint8]],
        *,
        sides: Sequence[Side],
        head_pose: Gaze | Sequence[Gaze] | None = None,
    ) -> list[Gaze]:
        """Estimate the gazes of several eyes; the arguments are those of `estimate_eyes`."""
        eyes = self.estimate_eyes(patches, sides=sides, head_pose=head_pose)
        return [eye.gaze for eye in eyes]

    def estimate_eyes(
        self,
        patches: Sequence[NDArray[np.uint8]],
        *,
        sides: Sequence[Side],
        head_pose: Gaze | Sequence[Gaze] | None = None,
    ) -> list[EyeEstimate]:
        """Estimate gaze and state of several eyes of one head.

        If the batch size of the model allows it, one call of the model processes all patches.

        Args:
            patches: [H, W, 3] uint8 RGB eye crops. Without patches, the result is empty.
            sides: the side of each eye from the subject's point of view.
            head_pose: one head pose for all patches or one per patch, in the patch's axes. `None`
                means a frontal head pose.

        Raises:
            ValueError: a patch has another shape or dtype.
        """
        if not patches:
            return []
        images, mirrors = self._canonical(patches, sides)
        heads = _canonical_deg(_one_each(head_pose or FRONTAL, len(patches)), mirrors)
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
        """Redirect one eye patch, and return the result with its flow and residual.

        Args:
            patch: [H, W, 3] uint8 RGB eye crop.
            side: the side of the eye from the subject's point of view.
            target: gaze after redirection, in the patch's axes.
            source: current gaze, in the patch's axes. With `None`, the gaze is estimated.
            head_pose: head pose in the patch's axes. `None` means a frontal head pose.

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
        """Redirect several eyes of one head.

        If the batch size of the model allows it, one call of the model processes all patches.

        Args:
            patches: [H, W, 3] uint8 RGB eye crops. Without patches, the result is empty.
            sides: the side of each eye from the subject's point of view.
            target: one gaze after redirection for all patches or one per patch, in the patch's
                axes.
            source: one current gaze for all patches or one per patch. With `None`, the gaze is
                estimated for each patch.
            head_pose: one head pose for all patches or one per patch. `None` means a frontal head
                pose.
            fine: whether to run the fine branch. If it is false, `coarse` runs instead, and all
                residuals are 0. If `coarse` is `None`, the whole redirector runs in any case.

        Raises:
            ValueError: a patch has another shape or dtype.
        """
        if not patches:
            return []
        count, head_pose = len(patches), head_pose or FRONTAL
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
        alphas = outputs.get("alpha", [None] * count)
        return [
            EyeRedirection(
                gaze,
                mirror_flow(flow) if mirror else flow,
                mirror_image(residual) if mirror else residual,
                mirror_image(picture) if mirror else picture,
                mirror_image(alpha) if mirror and alpha is not None else alpha,
            )
            for gaze, mirror, flow, residual, picture, alpha in zip(
                sources,
                mirrors,
                outputs["flow"],
                outputs["residual"],
                pictures,
                alphas,
                strict=True,
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
        """Redirect one eye patch and return only the patch; see `redirect_crop` for the arguments.

        Returns:
            [H, W, 3] uint8 RGB patch after redirection.
        """
        return self.redirect_crop(
            patch, side=side, target=target, source=source, head_pose=head_pose
        ).redirected

    def _canonical(
        self, patches: Sequence[NDArray[np.uint8]], sides: Sequence[Side]
    ) -> tuple[NDArray[np.uint8], list[bool]]:
        """Check all patches, and mirror the patches that are not of the canonical side.

        Returns:
            Patches [N, H, W, 3], and a list with one bool per patch: whether the patch was
            mirrored.

        Raises:
            ValueError: a patch has another shape or dtype, or a side is neither "left" nor
                "right".
        """
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
    """Return gazes as a [N, 2] array in degrees; a gaze is mirrored where `mirrors` is true."""
    pairs = zip(gazes, mirrors, strict=True)
    return np.stack([mirrored_if(gaze, mirror=mirror).array() for gaze, mirror in pairs])


def _warped(image: NDArray[np.uint8], flow: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Warp an image [H, W, 3] uint8 by a flow [H, W, 2], in the same way as the redirector."""
    places = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    return cv2.remap(
        image,
        places[1] + flow[..., 0],
        places[0] + flow[..., 1],
        interpolation=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
