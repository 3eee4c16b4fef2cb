"""Limits on the differences between converted models and the Keras models.

These limits are part of every config.

The limits are guarantees for users of a bundle (an exported run). A bundle contains the config of
the run and thus the limits. `mggr-tf verify` checks that a bundle meets its limits.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, cast

Precision = Literal["float32", "float16", "int8"]
"""Dtype in which the convolutions of a converted model compute."""


@dataclass(frozen=True)
class Limit:
    """Limits on the difference between a converted model and the Keras model, for one output.

    The value `null` means that there is no limit.

    Attributes:
        max_abs: limit on the maximum absolute difference. The unit is pixels for the flow, and the
            unit of the network's output for all other outputs.
        mean_abs: limit on the mean absolute difference, in the unit of `max_abs`.
        min_psnr_db: minimum peak signal-to-noise ratio (PSNR) in dB. The peak is the range of the
            output.

    Raises:
        ValueError: all limits are `null`, or a limit is negative or not a number.
    """

    max_abs: float | None = None
    mean_abs: float | None = None
    min_psnr_db: float | None = None

    def __post_init__(self) -> None:
        values = [getattr(self, one.name) for one in fields(self)]
        if all(value is None for value in values):
            raise ValueError("set at least one of max_abs, mean_abs, min_psnr_db")
        if any(value is not None and not value >= 0 for value in values):
            raise ValueError("limits must be at least 0, or null")

    def __str__(self) -> str:
        parts = []
        if self.max_abs is not None:
            parts.append(f"max {self.max_abs:g}")
        if self.mean_abs is not None:
            parts.append(f"mean {self.mean_abs:g}")
        if self.min_psnr_db is not None:
            parts.append(f"{self.min_psnr_db:g} dB")
        return ", ".join(parts)


_OUTPUTS = ("flow", "coarse", "alpha", "residual", "redirected", "gaze", "state")


@dataclass(frozen=True)
class PrecisionLimits:
    """Limits on the differences of all outputs in one precision.

    Attributes:
        flow: limit of the redirector's output `flow`.
        coarse: limit of the redirector's output `coarse`.
        residual: limit of the redirector's output `residual`.
        redirected: limit of the redirector's output `redirected`.
        gaze: limit of the estimator's output `gaze`, in the units of the network.
        extra_gaze_deg: maximum increase of the gaze error of redirected eyes, compared with the
            Keras model. The error is in degrees, averaged over pairs. The run's own estimator
            measures the error.
        opening: limit of the output `redirected`, measured inside the eye opening. A device shows
            only this region. Only `min_psnr_db` can be set. `null` means no limit, and is the value
            in configs that are older than this limit.
        state: limit of the estimator's output `state`, whose values are in [0, 1]. `null` means no
            limit, and is the value in configs that are older than the output `state`.
        alpha: limit of the redirector's output `alpha`, whose values are in [0, 1]. `null` means no
            limit, and is the value in configs that are older than the output `alpha`.
    """

    flow: Limit
    coarse: Limit
    residual: Limit
    redirected: Limit
    gaze: Limit
    extra_gaze_deg: float
    opening: Limit | None = None
    state: Limit | None = None
    alpha: Limit | None = None

    def __post_init__(self) -> None:
        limit = self.opening
        if limit is not None and (limit.max_abs is not None or limit.mean_abs is not None):
            raise ValueError("opening accepts min_psnr_db only")

    def of(self, output: str) -> Limit | None:
        """Return the limit of an output by its name, or `None` if the output has no limit.

        Raises:
            ValueError: neither the redirector nor the estimator has an output with this name.
        """
        if output not in _OUTPUTS:
            raise ValueError(f"output {output!r} has no limit")
        return cast(Limit | None, getattr(self, output))


def _float32() -> PrecisionLimits:
    # The measured differences on photographed eyes are 5e-6 for pictures and 4e-6 pixels for the
    # flow.
    exact = Limit(max_abs=1e-4)
    return PrecisionLimits(
        exact, exact, exact, exact, exact, extra_gaze_deg=0.01, state=exact, alpha=exact
    )


def _float16() -> PrecisionLimits:
    # The packaged weights were converted to TFLite and ONNX, and measured on synthetic eyes and on
    # photographs. The worst results are: 86 dB for the whole picture, 81 dB inside the eye opening,
    # 0.0004 pixels for the flow, 0.00003 for the residual, and 0.0007 for the gaze. The limits
    # allow about twice these differences. For the state, the measured difference was 0.00015, for
    # an estimator after 300 training steps. The limit of the state has a larger margin.
    return PrecisionLimits(
        flow=Limit(mean_abs=0.001),
        coarse=Limit(min_psnr_db=80.0),
        residual=Limit(mean_abs=0.0001),
        redirected=Limit(min_psnr_db=80.0),
        gaze=Limit(mean_abs=0.0015),
        extra_gaze_deg=0.02,
        opening=Limit(min_psnr_db=75.0),
        state=Limit(max_abs=0.002),
        alpha=Limit(mean_abs=0.001),
    )


def _int8() -> PrecisionLimits:
    # The measured values are in docs/export.md, section "Limits". The values were measured for all
    # networks, formats and kinds of eyes. A limit on a PSNR is the worst measured value minus about
    # 2 dB. A limit on a mean is 1.25 to 1.4 times the worst measured value. A measured PSNR is a
    # mean over people. The standard error of this mean is about 1 dB.
    return PrecisionLimits(
        flow=Limit(mean_abs=0.06),
        coarse=Limit(min_psnr_db=44.0),
        residual=Limit(mean_abs=0.006),
        redirected=Limit(min_psnr_db=43.5),
        gaze=Limit(mean_abs=0.04),  # 0.4 degrees of pitch, 0.6 of yaw
        extra_gaze_deg=0.1,
        opening=Limit(min_psnr_db=40.0),
        state=Limit(max_abs=0.1, mean_abs=0.01),
        alpha=Limit(mean_abs=0.01),
    )


@dataclass(frozen=True)
class ConversionLimits:
    """Limits for each precision.

    A config that overrides the limits of one precision must contain all required limits of this
    precision.

    Attributes:
        float32: limits of float32 files.
        float16: limits of float16 files.
        int8: limits of int8 files.
    """

    float32: PrecisionLimits = field(default_factory=_float32)
    float16: PrecisionLimits = field(default_factory=_float16)
    int8: PrecisionLimits = field(default_factory=_int8)

    def of(self, precision: Precision) -> PrecisionLimits:
        """Return the limits of a file of this precision."""
        return {"float32": self.float32, "float16": self.float16, "int8": self.int8}[precision]
