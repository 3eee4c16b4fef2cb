"""How far pairs are changed, apart from the changing, so that configs load without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Augmentation:
    """How far pairs are changed; zeros leave them as they are.

    Attributes:
        brightness: largest shift, in units of the [-1, 1] range.
        contrast: largest relative change of contrast.
        colour: largest relative change of one channel against another.
        shift_px: largest shift of both pictures, in whole pixels.
        gamma: largest exponent or its inverse, as a logarithm: 0.3 gives 0.74 to 1.35.
        ramp: largest relative change of light from the middle to a corner, from any side.
        blur: largest share of a blurred picture; half as much sharpens.
        noise: largest standard deviation of a camera's noise, in units of the [-1, 1] range.
        stretch: largest logarithm of a change of the eye's height; its width and the line of its
            corners change less. The exact flow does not follow.
        occlusion: share of pairs that each of two occluders lies over: fingers, hair, a rim of
            glasses, glare or a bar of any colour.
        colour_mix: share of pictures whose colours are mixed at random, and most of the mixing.
        surroundings: share of pairs of which all outside of an ellipse around the eye is blurred
            or turned. The exact flow does not follow.
        source_gaze_deg: standard deviation per axis of the error of the source gaze that a
            redirector gets, in degrees. Devices give it an estimate.
        head_pose_deg: the same of the head pose that all networks get.
    """

    brightness: float = 0.15
    contrast: float = 0.25
    colour: float = 0.08
    shift_px: int = 3
    gamma: float = 0.0
    ramp: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    stretch: float = 0.0
    occlusion: float = 0.0
    colour_mix: float = 0.0
    surroundings: float = 0.0
    source_gaze_deg: float = 0.0
    head_pose_deg: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise ValueError(
                    f"{field.name} must not be negative, got {getattr(self, field.name)}"
                )
        for name in ("ramp", "blur", "occlusion", "colour_mix", "surroundings"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} must not be above 1, got {getattr(self, name)}")
