"""Who takes part: the methods that are compared, and MGGR with one of its ideas taken out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["method", "equal-steps", "published-size", "ablation"]


@dataclass(frozen=True)
class Entrant:
    """One training of the benchmark.

    Attributes:
        name: of its run folder and its row.
        title: for readers.
        config: a packaged config.
        group: which comparison it belongs to.
        changes: what is changed in the config, as `--set` takes it.
        steps_of: trained for as many steps as this entrant was, not for a time.
    """

    name: str
    title: str
    config: str
    group: Group
    changes: tuple[str, ...] = ()
    steps_of: str | None = None


METHODS = (
    Entrant("mggr", "MGGR", "mggr-edge", "method"),
    Entrant("deepwarp", "DeepWarp", "deepwarp-edge", "method"),
    Entrant("prgan", "PRGAN", "prgan-edge", "method"),
)
"""The decision: equal time."""

EQUAL_STEPS = (
    Entrant(
        "deepwarp-bicubic",
        "DeepWarp with MGGR's bicubic reads",
        "deepwarp-edge",
        "equal-steps",
        ("models.interpolation=bicubic",),
        steps_of="mggr",
    ),
    Entrant(
        "deepwarp-steps",
        "DeepWarp, as many steps as MGGR",
        "deepwarp-edge",
        "equal-steps",
        steps_of="mggr",
    ),
    Entrant(
        "prgan-steps", "PRGAN, as many steps as MGGR", "prgan-edge", "equal-steps", steps_of="mggr"
    ),
)

PUBLISHED_SIZE = (
    Entrant(
        "deepwarp-published",
        "DeepWarp at its published size",
        "deepwarp-paper",
        "published-size",
    ),
    Entrant(
        "prgan-published",
        "PRGAN at its published size",
        "prgan-paper",
        "published-size",
        # VGG-16's ImageNet weights are the user's to bring; AlexNet's come with a package.
        ("models.features=alexnet", "models.features_precision=auto"),
    ),
)

CONTROL = "short"
"""The ablation group's own complete MGGR: the others there make as many steps as it does.

Not equal time: what a step takes is measured when a stage begins, and where other work
comes and goes on the machine, that alone would set apart what is nearly alike.
"""

ABLATIONS = (
    Entrant(CONTROL, "MGGR, complete", "mggr-edge", "ablation"),
    Entrant(
        "coarse-only",
        "coarse branch only",
        "mggr-edge",
        "ablation",
        ("recipe=[estimator, coarse]",),
        steps_of=CONTROL,
    ),
    Entrant(
        "fine-only",
        "fine branch only, no flow",
        "mggr-edge",
        "ablation",
        (
            "models.coarse=null",
            "recipe=[estimator, joint]",
        ),
        steps_of=CONTROL,
    ),
    Entrant(
        "no-gazemap",
        "no gazemap",
        "mggr-edge",
        "ablation",
        ("models.guidance=[delta, head_pose]",),
        steps_of=CONTROL,
    ),
    Entrant(
        "no-delta",
        "no angle difference",
        "mggr-edge",
        "ablation",
        ("models.guidance=[gazemap, head_pose]",),
        steps_of=CONTROL,
    ),
    Entrant(
        "no-head-pose",
        "no head pose",
        "mggr-edge",
        "ablation",
        ("models.guidance=[gazemap, delta]",),
        steps_of=CONTROL,
    ),
    Entrant(
        "no-discriminator",
        "no discriminator",
        "mggr-edge",
        "ablation",
        (
            "stages.joint.losses.adversarial.weight=0",
            "stages.joint.losses.discriminator_gaze.weight=0",
        ),
        steps_of=CONTROL,
    ),
    Entrant(
        "no-gaze-head",
        "discriminator without its gaze head",
        "mggr-edge",
        "ablation",
        ("stages.joint.losses.discriminator_gaze.weight=0",),
        steps_of=CONTROL,
    ),
    Entrant(
        "bilinear",
        "a bilinear warp",
        "mggr-edge",
        "ablation",
        ("models.interpolation=bilinear",),
        steps_of=CONTROL,
    ),
    Entrant(
        "one-stage",
        "one stage: both branches from the start",
        "mggr-edge",
        "ablation",
        ("recipe=[estimator, joint]",),
        steps_of=CONTROL,
    ),
    Entrant(
        "deepwarp-form",
        "DeepWarp's form with MGGR's losses",
        "mggr-edge",
        "ablation",
        (
            "method=deepwarp",
            "recipe=[estimator, joint]",
            "models.guidance=[delta, head_pose]",
            "models.coarse={widths: [16, 32, 64], blocks: 2, decoder: [32, 24], stem_stride: 2}",
            "models.fine={widths: [16, 32, 48], blocks: 2, decoder: [32, 24], stem_stride: 2}",
        ),
        steps_of=CONTROL,
    ),
    Entrant(
        "prgan-form",
        "PRGAN's form with MGGR's losses",
        "mggr-edge",
        "ablation",
        (
            "method=prgan",
            "recipe=[estimator, joint]",
            "models.guidance=[delta, head_pose]",
            "models.generator={width: 9, blocks: 5}",
            "models.coarse=null",
            "models.fine=null",
        ),
        steps_of=CONTROL,
    ),
)
