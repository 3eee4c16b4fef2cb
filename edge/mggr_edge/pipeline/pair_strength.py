"""One strength for both eyes of a face, over time.

A pair whose eyes have different strengths looks cross-eyed, so both eyes get the same strength. One
eye is redirected alone only while the other is hidden. `PairStrength` takes what each frame allows
(`gating.EyeGate`) and holds these states:

| state | strength | when |
|---|---|---|
| `off` | 0 | the goal is 0 |
| `rising` | below the goal | a face came into the video, lids opened, a hindrance or cover left |
| `on` | the goal | |
| `falling` | above the goal | a hindrance came, or an eye was covered |
| `blink` | 0 at once | an eye that takes part is closed (`gating.CLOSED_AT`) |

`goal` is the strength to which eyes move: `RISE_PER_S` at most, and no more than `MOST_DEG_PER_S`
for an eye that turns by the angle between gaze and target. It follows what the frames allow, the
least of all measures of the eyes that take part:

| from | to | condition |
|---|---|---|
| (first frame) | `on` | everything at once; also for a picture and after a gap |
| (first frame) | `rising` | a face that comes into a video later |
| (first frame), `rising`, `on`, `falling` | `blink` | an eye that takes part is closed |
| `blink` | `rising` | lids are at `BACK_AT` or more for `REOPEN_S`; the goal is kept |
| `blink` | `off` | it lasts longer than `LONGEST_BLINK_S`, or nothing is allowed when lids open |
| `on`, `rising` | `falling` | less than the goal, or than 1 - `BAND` if it is 1, for `LEAVE_S` |
| `falling` | `off`, `on` | the strength reaches the goal |
| `off` | `rising` | `BACK_AT` or more for `BACK_S` |
| `on`, `falling` | `rising` | `BAND` more than the goal, or 1, for `BACK_S`; then any more |
| `rising` | `on` | the strength reaches the goal |

Each eye takes part or is hidden, and `PairStrength.eyes` names those that take part:

| from | to | condition |
|---|---|---|
| (first frame) | takes part | `seen` is at `BACK_AT` or more |
| (first frame) | hidden | `seen` is less |
| takes part | hidden | `seen` is at 0 for `LEAVE_S`: its strength falls, the other one stays |
| hidden | takes part | `seen` is at `BACK_AT` or more for `BACK_S`: its strength rises |

A duration counts the time that each frame stands for, which is the time since the frame before. So
it holds at any frame rate to within a frame, and at a frame rate below its inverse one frame is
enough.
"""

from __future__ import annotations

from typing import Literal

from mggr_edge.pipeline.gating import EyeGate, Gate, Reason, is_closed, weakest

Phase = Literal["off", "rising", "on", "falling", "blink"]
Eyes = Literal["both", "right", "left", "neither"]

RISE_PER_S = 8.0
"""Strength comes within an eighth of a second, as a lid opens."""

MOST_DEG_PER_S = 100.0
"""Fastest turn of an eye by its strength; eyes themselves turn several times faster."""

BACK_AT = 0.5
"""Share at which closed lids, a hidden eye or a goal of 0 come back."""

BAND = 0.25
"""Hysteresis of a goal: a measure that hovers within such a width never moves it to and fro."""

LEAVE_S = 0.1
"""Shorter hindrances are errors of a measure. A fast head turns by ten degrees meanwhile, which is
the width of the limits for head yaw."""

BACK_S = 0.2
"""Twice `LEAVE_S`, so that a measure that hovers at a limit takes away more than it gives back."""

REOPEN_S = 0.04
"""One frame of a video with 25 frames per second. Lids take four times as long to open."""

LONGEST_BLINK_S = 0.5
"""Blinks last 0.1 to 0.4 seconds; longer are eyes that are shut."""

_NO_LIDS, _NO_EYE = Gate(1.0, None), Gate(0.0, "covered")
"""What is allowed while no eye takes part."""

_STILL_DEG = 1e-3
_ROUNDING_S = 1e-6
_EYES: dict[tuple[bool, bool], Eyes] = {
    (True, True): "both",
    (True, False): "right",
    (False, True): "left",
    (False, False): "neither",
}


class _Lasting:
    """The time for which a condition has held without a break.

    Args:
        least_s: time after which it counts.
    """

    def __init__(self, least_s: float) -> None:
        self._least_s, self._time_s = least_s, 0.0

    def __call__(self, condition: bool, step_s: float) -> bool:
        """Takes the next frame; returns whether the condition has held for long enough."""
        self._time_s = self._time_s + step_s if condition else 0.0
        return condition and self._time_s >= self._least_s - _ROUNDING_S

    def reset(self) -> None:
        """Starts counting again."""
        self._time_s = 0.0


class _Part:
    """Whether one eye takes part, and its strength."""

    def __init__(self) -> None:
        self.strength = 0.0
        self.is_in = True
        self.hidden_by: Reason = "covered"
        self._is_hidden, self._is_seen = _Lasting(LEAVE_S), _Lasting(BACK_S)

    def begin(self, seen: Gate) -> None:
        """Takes the first frame."""
        self.is_in = seen.strength >= BACK_AT
        self._note(seen)

    def see(self, seen: Gate, step_s: float) -> None:
        """Takes the next frame."""
        is_hidden = self._is_hidden(seen.strength == 0.0, step_s)
        is_seen = self._is_seen(seen.strength >= BACK_AT, step_s)
        self.is_in = is_seen or (self.is_in and not is_hidden)
        self._note(seen)

    def _note(self, seen: Gate) -> None:
        if seen.reason is not None:
            self.hidden_by = seen.reason


class PairStrength:
    """The strengths of both eyes of one face; see the module's tables.

    Args:
        at_once: the first frame has everything that it allows; else the strength rises from 0.

    Attributes:
        phase: the state of the eyes that take part.
        goal: in [0, 1], the strength to which they move.
    """

    def __init__(self, *, at_once: bool) -> None:
        self.phase: Phase = "off"
        self.goal = 0.0
        self._at_once, self._is_first = at_once, True
        self._parts = (_Part(), _Part())
        self._is_less, self._is_more = _Lasting(LEAVE_S), _Lasting(BACK_S)
        self._are_open = _Lasting(REOPEN_S)
        self._closed_s = 0.0
        self._follows = False

    @property
    def eyes(self) -> Eyes:
        """Which eyes take part, the subject's own sides."""
        right, left = self._parts
        return _EYES[right.is_in, left.is_in]

    @property
    def strengths(self) -> tuple[float, float]:
        """Of the right and the left eye, in [0, 1]."""
        right, left = self._parts
        return right.strength, left.strength

    def __call__(
        self, gates: tuple[EyeGate, EyeGate], *, shift: Gate, shift_deg: float, step_s: float
    ) -> tuple[Gate, Gate]:
        """Takes the next frame of a face; call it once a frame.

        Args:
            gates: what the frame allows for the right and the left eye.
            shift: what the angle between gaze and target allows.
            shift_deg: that angle, by which an eye turns at full strength.
            step_s: time since the frame before; not used in the first frame.

        Returns:
            Strength and reason of the right and the left eye. Strengths are equal unless an eye is
            hidden, or was hidden and still rises.
        """
        for part, gate in zip(self._parts, gates, strict=True):
            if self._is_first:
                part.begin(gate.seen)
            else:
                part.see(gate.seen, step_s)
        those_in = [g for part, g in zip(self._parts, gates, strict=True) if part.is_in]
        lids = weakest(*(gate.lids for gate in those_in)) if those_in else _NO_LIDS
        rest = weakest(*(gate.rest for gate in those_in), shift) if those_in else _NO_EYE
        allowed = weakest(lids, rest)
        if self._is_first:
            self._begin(lids, rest)
        else:
            self._follow(lids, rest, step_s)
        self._move(gates, shift_deg, step_s)
        self._is_first = False
        right, left = (self._gate(part, allowed) for part in self._parts)
        return right, left

    def _begin(self, lids: Gate, rest: Gate) -> None:
        """Takes the first frame."""
        if not is_closed(lids):
            self.phase, self.goal = "on", weakest(lids, rest).strength
        elif rest.strength >= BACK_AT:
            self.phase, self.goal = "blink", rest.strength

    def _follow(self, lids: Gate, rest: Gate, step_s: float) -> None:
        """Updates goal and blink."""
        if self.phase == "blink":
            self._closed_s += step_s
            if self._are_open(lids.strength >= BACK_AT, step_s):
                self.phase, self.goal = "rising", min(self.goal, rest.strength)
            elif self._closed_s > LONGEST_BLINK_S:
                self.phase, self.goal = "off", 0.0
        elif self.phase != "off" and is_closed(lids):
            self.phase, self._closed_s, self._follows = "blink", 0.0, False
            for lasting in (self._are_open, self._is_less, self._is_more):
                lasting.reset()
        else:
            self._move_goal(weakest(lids, rest).strength, step_s)

    def _move_goal(self, allowed: float, step_s: float) -> None:
        """Lets the goal follow what is allowed, with a band and durations."""
        falls_below = 1.0 - BAND if self.goal == 1.0 else self.goal
        if self._is_less(allowed < falls_below, step_s):
            self.goal = allowed
        if self.goal == 0.0:
            rises_at = BACK_AT
        else:
            rises_at = self.goal if self._follows else min(1.0, self.goal + BAND)
        is_more = self._is_more(allowed > self.goal and allowed >= rises_at, step_s)
        if is_more:
            self.goal = allowed
        self._follows = is_more or (self._follows and allowed >= self.goal)

    def _move(self, gates: tuple[EyeGate, EyeGate], shift_deg: float, step_s: float) -> None:
        """Moves the strengths towards the goal and names the state."""
        reach = step_s * MOST_DEG_PER_S / max(shift_deg, _STILL_DEG)
        rise = min(reach, step_s * RISE_PER_S)
        targets = [self.goal if part.is_in else 0.0 for part in self._parts]
        for part, gate, target in zip(self._parts, gates, targets, strict=True):
            if self.phase == "blink" or is_closed(gate.lids):
                part.strength = 0.0
            elif self._is_first:
                part.strength = target if self._at_once else 0.0
            elif part.strength < target:
                part.strength = min(target, part.strength + rise)
            else:
                part.strength = max(target, part.strength - reach)
        if self.phase != "blink":
            pairs = [(part.strength, to) for part, to in zip(self._parts, targets, strict=True)]
            self.phase = _phase(self.goal, pairs)

    def _gate(self, part: _Part, allowed: Gate) -> Gate:
        """Strength and reason of one eye."""
        if part.strength == 1.0:
            return Gate(1.0, None)
        if not part.is_in:
            return Gate(part.strength, part.hidden_by)
        if self.phase == "blink":
            return Gate(0.0, "closed")
        if part.strength < self.goal or allowed.reason is None:
            return Gate(part.strength, "easing in")
        return Gate(part.strength, allowed.reason)


def _phase(goal: float, pairs: list[tuple[float, float]]) -> Phase:
    """The state by the goal and by the (strength, target) of each eye."""
    if any(strength < target for strength, target in pairs):
        return "rising"
    if any(strength > target for strength, target in pairs):
        return "falling"
    return "on" if goal > 0.0 else "off"
