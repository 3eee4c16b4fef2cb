"""What a config says of photographs whose gaze is known, beside a stage's other data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TargetRange:
    """Where photographs are redirected to: uniformly distributed, about the lens.

    Attributes:
        pairs: of photographs in a step, over all devices, beside the stage's `batch`.
        pitch_range_deg: largest pitch up and down.
        yaw_range_deg: largest yaw to either side.
    """

    pairs: int
    pitch_range_deg: float = 15.0
    yaw_range_deg: float = 20.0

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise ValueError("pairs must be at least 1")
        for name in ("pitch_range_deg", "yaw_range_deg"):
            if not 0 < getattr(self, name) <= 45:
                raise ValueError(f"{name} must lie in (0, 45], got {getattr(self, name)}")

    @property
    def range_deg(self) -> tuple[float, float]:
        """Largest (pitch, yaw)."""
        return self.pitch_range_deg, self.yaw_range_deg


@dataclass(frozen=True)
class RedirectedPortraits(TargetRange):
    """Pairs of photographs and redirected versions of them, for the stage `adapted`.

    Attributes:
        redirected: versions of each eye, made once at the start of the stage.
    """

    redirected: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.redirected < 1:
            raise ValueError("redirected must be at least 1: pairs need a second picture")


@dataclass(frozen=True)
class CycledPortraits(TargetRange):
    """Photographs that are redirected to random gazes and back, for the stage `joint`.

    No second picture of the eye is known, so that losses compare photographs with themselves.

    Attributes:
        cycle: weight of the difference between a photograph and its way there and back: L1, and
            the stage's own losses on feature maps with their weights.
        identity: weight of the L1 change by a redirection to the gaze that the eye has already.
        gaze: weight of the stage's gaze loss, on the difference between what the estimator reads
            off the redirected photograph and off the photograph: its error about a person, which
            both have, cancels. Without it cycle and identity teach to leave photographs alone.
        adversarial: weight of the generator's loss on redirected photographs; with one, the
            discriminator sees photographs as real and their redirected versions as generated.
    """

    cycle: float = 0.0
    identity: float = 0.0
    gaze: float = 0.0
    adversarial: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = (self.cycle, self.identity, self.gaze, self.adversarial)
        if min(weights) < 0 or max(weights) == 0:
            raise ValueError(
                "cycle, identity, gaze, adversarial: at least one must be above 0, none below"
            )
        if not self.gaze:
            raise ValueError(
                "gaze must be above 0: cycle, identity and adversarial alone are least where every "
                "photograph is left as it is"
            )


Portraits = RedirectedPortraits | CycledPortraits


def check_portraits(recipe: Sequence[str], portraits: Mapping[str, Portraits | None]) -> None:
    """Holds what stages learn from photographs against what they are, and a recipe.

    Args:
        recipe: stages in order.
        portraits: what each configured stage learns from photographs.

    Raises:
        ValueError: `adapted` is not where it can be trained, or photographs are where they
            cannot be.
    """
    for stage, how in portraits.items():
        if (stage == "adapted") != isinstance(how, RedirectedPortraits):
            raise ValueError(
                f"stages.{stage}.portraits: redirected photographs belong to the stage adapted, "
                "which needs them, as {pairs: 16}"
            )
        if stage != "joint" and isinstance(how, CycledPortraits):
            raise ValueError(
                f"stages.{stage}.portraits: cycle, identity and adversarial belong to the stage "
                "joint"
            )
    if "adapted" not in recipe:
        return
    *before, last = recipe
    redirecting = {*before} - {"estimator", "judge", "adapted"}
    if last != "adapted" or "adapted" in before or "estimator" not in before or not redirecting:
        raise ValueError(
            "recipe: adapted comes last, after the estimator and a stage that trains a redirector"
        )
