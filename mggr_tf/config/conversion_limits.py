"""What a converted model may differ from Keras by: part of every config.

Limits are a promise to users of the model. The bundle holds them with
the rest of the config, and are what `verify` holds it against.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, cast

Precision = Literal["float32", "float16", "int8"]
"""What an artifact's convolutions compute in."""


@dataclass(frozen=True)
class Limit:
    """What one output may differ by; null is no limit.

    Attributes:
        max_abs, mean_abs: in the tensor's own unit (pixels of flow, the rest in its range).
        min_psnr_db: over the tensor's range.
    """

    max_abs: float | None = None
    mean_abs: float | None = None
    min_psnr_db: float | None = None

    def __post_init__(self) -> None:
        values = [getattr(self, one.name) for one in fields(self)]
        if all(value is None for value in values):
            raise ValueError("name at least one of max_abs, mean_abs, min_psnr_db")
        if any(value is not None and not value >= 0 for value in values):
            raise ValueError("a limit is a number of at least 0, or null")

    def __str__(self) -> str:
        parts = []
        if self.max_abs is not None:
            parts.append(f"max {self.max_abs:g}")
        if self.mean_abs is not None:
            parts.append(f"mean {self.mean_abs:g}")
        if self.min_psnr_db is not None:
            parts.append(f"{self.min_psnr_db:g} dB")
        return ", ".join(parts)


_OUTPUTS = ("flow", "coarse", "residual", "redirected", "gaze", "state")


@dataclass(frozen=True)
class PrecisionLimits:
    """What each output may differ by in one precision.

    Attributes:
        flow, coarse, residual, redirected: of the redirector.
        gaze: of the estimator, in units of its output.
        state: of the estimator, in the range [0, 1]; null is no limit, as in configs that were
            written before estimators predicted it.
        extra_gaze_deg: by how much further from its target a redirected gaze may be, on
            average over pairs, as the run's own estimator sees it.
        opening: of `redirected` inside the eye opening, where a device shows it; it has a PSNR
            only. Null is no limit: configs that were written before this limit have none.
    """

    flow: Limit
    coarse: Limit
    residual: Limit
    redirected: Limit
    gaze: Limit
    extra_gaze_deg: float
    opening: Limit | None = None
    state: Limit | None = None

    def __post_init__(self) -> None:
        limit = self.opening
        if limit is not None and (limit.max_abs is not None or limit.mean_abs is not None):
            raise ValueError("opening takes min_psnr_db only")

    def of(self, output: str) -> Limit | None:
        """The limit of an output by its name; None for one without.

        Raises:
            ValueError: no network of ours has such an output.
        """
        if output not in _OUTPUTS:
            raise ValueError(f"output {output!r} has no limit")
        return cast(Limit | None, getattr(self, output))


def _float32() -> PrecisionLimits:
    # Measured on real eyes: 5e-6 of pictures, 4e-6 pixels of flow.
    exact = Limit(max_abs=1e-4)
    return PrecisionLimits(exact, exact, exact, exact, exact, extra_gaze_deg=0.01, state=exact)


def _float16() -> PrecisionLimits:
    # Worst of the packaged weights as TFLite and ONNX, on drawn eyes and on photographs: 86 dB, 81
    # inside the opening, 0.0004 pixels of flow, 0.00003 of residual, 0.0007 of gaze. The limits
    # leave about a factor of two; that of state, 0.00015 of an estimator after 300 steps, more.
    return PrecisionLimits(
        flow=Limit(mean_abs=0.001),
        coarse=Limit(min_psnr_db=80.0),
        residual=Limit(mean_abs=0.0001),
        redirected=Limit(min_psnr_db=80.0),
        gaze=Limit(mean_abs=0.0015),
        extra_gaze_deg=0.02,
        opening=Limit(min_psnr_db=75.0),
        state=Limit(max_abs=0.002),
    )


def _int8() -> PrecisionLimits:
    # docs/export.md, "Limits", has the figures that these were derived from: the worst one of
    # every network, format and kind of eyes, less about 2 dB, and 1.25 to 1.4 times a mean.
    # The mean over the people of a proof has a standard error of about 1 dB.
    return PrecisionLimits(
        flow=Limit(mean_abs=0.06),
        coarse=Limit(min_psnr_db=44.0),
        residual=Limit(mean_abs=0.006),
        redirected=Limit(min_psnr_db=43.5),
        gaze=Limit(mean_abs=0.04),  # 0.4 degrees of pitch, 0.6 of yaw
        extra_gaze_deg=0.1,
        opening=Limit(min_psnr_db=40.0),
        state=Limit(max_abs=0.1, mean_abs=0.01),
    )


@dataclass(frozen=True)
class ConversionLimits:
    """By precision. A precision that a config names, it names whole."""

    float32: PrecisionLimits = field(default_factory=_float32)
    float16: PrecisionLimits = field(default_factory=_float16)
    int8: PrecisionLimits = field(default_factory=_int8)

    def of(self, precision: Precision) -> PrecisionLimits:
        """The limits of a file of that precision."""
        return {"float32": self.float32, "float16": self.float16, "int8": self.int8}[precision]
