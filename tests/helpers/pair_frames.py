"""Frames of one face for `PairStrength`: what they allow, and what came of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mggr_edge.pipeline.gating import EyeGate, Gate, Reason, gate_of
from mggr_edge.pipeline.pair_strength import Eyes, PairStrength, Phase

STEP_S = 0.04
FREE = Gate(1.0, None)
OPEN = EyeGate(FREE)
CLOSED = EyeGate(FREE, lids=Gate(0.0, "closed"))
COVERED = EyeGate(FREE, seen=Gate(0.0, "covered"))
FAR = EyeGate(FREE, seen=Gate(0.0, "head turned"))
SMALL = EyeGate(Gate(0.0, "too small"))

Pair = tuple[EyeGate, EyeGate]


def rest(share: float, reason: Reason = "too small") -> EyeGate:
    return EyeGate(gate_of(share, reason))


def both(gate: EyeGate) -> Pair:
    return gate, gate


@dataclass(frozen=True)
class Shown:
    """What came of one frame."""

    right: Gate
    left: Gate
    phase: Phase
    eyes: Eyes
    goal: float

    @property
    def strengths(self) -> tuple[float, float]:
        return self.right.strength, self.left.strength


class Face:
    """Frames of one face at a fixed rate."""

    def __init__(self, *, at_once: bool = True, step_s: float = STEP_S, shift_deg: float = 10.0):
        self._pair, self._step_s, self._shift_deg = PairStrength(at_once=at_once), step_s, shift_deg

    def show(
        self,
        gates: Pair,
        *,
        shift: Gate = FREE,
        shift_deg: float | None = None,
        step_s: float | None = None,
    ) -> Shown:
        right, left = self._pair(
            gates,
            shift=shift,
            shift_deg=self._shift_deg if shift_deg is None else shift_deg,
            step_s=self._step_s if step_s is None else step_s,
        )
        return Shown(right, left, self._pair.phase, self._pair.eyes, self._pair.goal)

    def frames_until(self, gates: Pair, reached: Callable[[Shown], bool]) -> int:
        for number in range(1, 1000):
            if reached(self.show(gates)):
                return number
        raise AssertionError("not reached in 1000 frames")


def shown(*frames: Pair, **how) -> list[Shown]:
    face = Face(**how)
    return [face.show(gates) for gates in frames]
