"""Limits on the difference between converted models and Keras; part of every config.

The limits are guarantees for users of a bundle. The bundle contains them with the rest of the
config, and `mggr-tf verify` checks the bundle against them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, cast

Precision = Literal["float32", "float16", "int8"]
"""Dtype in which an artifact's convolutions compute."""


@dataclass(frozen=True)
class Limit:
    """Limits on the difference of one output; null is no limit.

    Attributes:
        max_abs: maximum absolute difference, in the unit of the tensor (pixels for the flow; all
            other outputs in their own range).
        mean_abs: mean absolute difference, in the same unit.
        min_psnr_db: minimum peak signal-to-noise ratio in dB, relative to the tensor's range.

    Raises:
        ValueError: all limits are null, or a limit is negative or not a number.
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


_OUTPUTS = ("flow", "coarse", "residual", "redirected", "gaze", "state")


@dataclass(frozen=True)
class PrecisionLimits:
    """Limits on the difference of every output in one precision.

    Attributes:
        flow: limit of the redirector's output `flow`.
        coarse: limit of the redirector's output `coarse`.
        residual: limit of the redirector's output `residual`.
        redirected: limit of the redirector's output `redirected`.
        gaze: limit of the estimator's output `gaze`, in network units.
        extra_gaze_deg: maximum increase of the error of redirected gazes in degrees, mean over
            pairs, as measured by the run's own estimator.
        opening: limit of `redirected` inside the eye opening, the region that a device shows. It
            is a PSNR only. Null is no limit, for configs that were written before this limit
            existed.
        state: limit of the estimator's output `state`, in the range [0, 1]. Null is no limit, for
            configs that were written before estimators predicted the state.
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
            raise ValueError("opening accepts min_psnr_db only")

    def of(self, output: str) -> Limit | None:
        """Return the limit of an output by its name; None if the output has no limit.

        Raises:
            ValueError: neither the redirector nor the estimator has such an output.
        """
        if output not in _OUTPUTS:
            raise ValueError(f"output {output!r} has no limit")
        return cast(Limit | None, getattr(self, output))


def _float32() -> PrecisionLimits:
    # Measured differences on real eyes: 5e-6 for pictures, 4e-6 pixels for the flow.
    exact = Limit(max_abs=1e-4)
    return PrecisionLimits(exact, exact, exact, exact, exact, extra_gaze_deg=0.01, state=exact)


def _float16() -> PrecisionLimits:
    # The worst differences of the packaged weights as TFLite and ONNX, on synthetic eyes and
    # on photographs, are 86 dB, 81 dB inside the eye opening, 0.0004 pixels of flow, 0.00003 of
    # residual and 0.0007 of gaze. The limits leave a margin of about a factor of two. The limit of
    # the state leaves more: 0.00015 was measured on an estimator after 300 steps.
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
    # The measured values are in docs/export.md, section "Limits". A PSNR limit is the worst value
    # over all networks, formats and kinds of eyes minus about 2 dB. A limit of a mean is 1.25 to
    # 1.4 times the worst value. The mean over the people of a proof has a standard error of about
    # 1 dB.
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
    """Limits by precision.

    A config that overrides one precision must state all required limits of that precision.

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
