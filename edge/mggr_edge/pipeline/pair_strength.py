"""Calculate the redirection strength of both eyes of a face over time.

The strength is the fraction of the full redirection that is applied, in [0, 1]. If the eyes have
different strengths, the person looks cross-eyed. Therefore both eyes get the same strength. One eye
is redirected alone only while the other eye is hidden. An eye takes part if it is not hidden.
`PairStrength` receives the limits of each frame (`gating.EyeGate`) and has these states:

| state | strength | when |
|---|---|---|
| `off` | 0 | the goal is 0 |
| `rising` | below the goal | a face entered the video, the lids opened, or a limit was relaxed |
| `on` | equal to the goal | the strength reached the goal |
| `falling` | above the goal | a limit became stricter, or an eye was covered |
| `blink` | 0 at once | an eye that takes part is closed (`gating.CLOSED_AT`) |

`goal` is the strength that the eyes approach. The strength rises by at most `RISE_PER_S` per
second. An eye turns by at most `MOST_DEG_PER_S` degrees per second. At a strength of 1, an eye is
turned by the angle between gaze and target. The allowed strength is the smallest limit of the eyes
that take part. The goal follows the allowed strength, and the states change as follows:

| from | to | condition |
|---|---|---|
| (first frame) | `on` | full goal at once; also for a single image and after a gap |
| (first frame) | `rising` | a face that enters a video later |
| (first frame), `rising`, `on`, `falling` | `blink` | an eye that takes part is closed |
| `blink` | `rising` | lids at `BACK_AT` or more for `REOPEN_S`; the goal is kept |
| `blink` | `off` | longer than `LONGEST_BLINK_S`, or nothing is allowed when the lids open |
| `on`, `rising` | `falling` | allowed < goal (< 1 - `BAND` if the goal is 1) for `LEAVE_S` |
| `falling` | `off`, `on` | the strength reaches the goal |
| `off` | `rising` | allowed >= `BACK_AT` for `BACK_S` |
| `on`, `falling` | `rising` | allowed >= goal + `BAND`, or 1, for `BACK_S`; then any increase |
| `rising` | `on` | the strength reaches the goal |

Each eye either takes part or is hidden. `PairStrength.eyes` contains the eyes that take part:

| from | to | condition |
|---|---|---|
| (first frame) | takes part | `seen` is at `BACK_AT` or more |
| (first frame) | hidden | `seen` is less than `BACK_AT` |
| takes part | hidden | `seen` is 0 for `LEAVE_S`; only the strength of this eye decreases |
| hidden | takes part | `seen` is at `BACK_AT` or more for `BACK_S`; this eye's strength rises |

The step of a frame is the time since the previous frame. A duration is the sum of such steps. So a
duration is exact to within one frame, at any frame rate. If a single step is longer than the
required duration, one frame is enough.
"""

from __future__ import annotations

from typing import Literal

from mggr_edge.pipeline.gating import EyeGate, Gate, Reason, is_closed, weakest

Phase = Literal["off", "rising", "on", "falling", "blink"]
Eyes = Literal["both", "right", "left", "neither"]

RISE_PER_S = 8.0
"""Maximum increase of the strength per second.

The strength increases from 0 to 1 in an eighth of a second, as fast as a lid opens.
"""

MOST_DEG_PER_S = 100.0
"""Maximum speed at which a change of the strength turns an eye, in degrees per second.

Real eye movements are several times faster.
"""

BACK_AT = 0.5
"""Threshold for limits, in [0, 1].

At this value or above it, closed lids count as open, a hidden eye takes part again, and a goal of 0
increases.
"""

BAND = 0.25
"""Hysteresis of the goal. Smaller fluctuations of a limit do not move the goal back and forth."""

LEAVE_S = 0.1
"""Time in seconds after which a stricter limit takes effect.

If a limit is stricter for a shorter time, this is a measurement error. A fast head turns by ten
degrees in this time. Ten degrees is also the distance between the two thresholds of the head yaw.
"""

BACK_S = 0.2
"""Time in seconds after which a relaxed limit takes effect.

It is twice `LEAVE_S`. So if a limit fluctuates around a threshold, the strength decreases more than
it increases.
"""

REOPEN_S = 0.04
"""Time in seconds for which the lids must be open to end a blink.

This is one frame at 25 frames per second. Lids need four times as long to open.
"""

LONGEST_BLINK_S = 0.5
"""Maximum duration of a blink in seconds. Blinks last 0.1 to 0.4 seconds.

If the eyes are closed for longer, the state becomes `off`.
"""

_NO_LIDS, _NO_EYE = Gate(1.0, None), Gate(0.0, "covered")
"""Limits that are used while no eye takes part."""

_STILL_DEG = 1e-3
_ROUNDING_S = 1e-6
_EYES: dict[tuple[bool, bool], Eyes] = {
    (True, True): "both",
    (True, False): "right",
    (False, True): "left",
    (False, False): "neither",
}


class _Lasting:
    """Timer that checks whether a condition was true without interruption for a minimum time.

    Args:
        least_s: minimum time in seconds.
    """

    def __init__(self, least_s: float) -> None:
        self._least_s, self._time_s = least_s, 0.0

    def __call__(self, condition: bool, step_s: float) -> bool:
        """Add the next frame; return whether the condition was true for `least_s` seconds."""
        self._time_s = self._time_s + step_s if condition else 0.0
        return condition and self._time_s >= self._least_s - _ROUNDING_S

    def reset(self) -> None:
        """Restart the timer at 0."""
        self._time_s = 0.0


class _Part:
    """State of one eye: its strength, and whether it takes part."""

    def __init__(self) -> None:
        self.strength = 0.0
        self.is_in = True
        self.hidden_by: Reason = "covered"
        self._is_hidden, self._is_seen = _Lasting(LEAVE_S), _Lasting(BACK_S)

    def begin(self, seen: Gate) -> None:
        """Decide from the first frame whether the eye takes part."""
        self.is_in = seen.strength >= BACK_AT
        self._note(seen)

    def see(self, seen: Gate, step_s: float) -> None:
        """Decide from the next frame whether the eye takes part."""
        is_hidden = self._is_hidden(seen.strength == 0.0, step_s)
        is_seen = self._is_seen(seen.strength >= BACK_AT, step_s)
        self.is_in = is_seen or (self.is_in and not is_hidden)
        self._note(seen)

    def _note(self, seen: Gate) -> None:
        if seen.reason is not None:
            self.hidden_by = seen.reason


class PairStrength:
    """Strengths of both eyes of one face; the tables in the module's docstring describe them.

    Args:
        at_once: whether the first frame gets the allowed strength at once. If false, the strength
            rises from 0.

    Attributes:
        phase: state of the eyes that take part.
        goal: strength that the eyes approach, in [0, 1].
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
        """Eyes that take part. Right and left are from the subject's point of view."""
        right, left = self._parts
        return _EYES[right.is_in, left.is_in]

    @property
    def strengths(self) -> tuple[float, float]:
        """Strengths of the right and the left eye, in [0, 1]."""
        right, left = self._parts
        return right.strength, left.strength

    def __call__(
        self, gates: tuple[EyeGate, EyeGate], *, shift: Gate, shift_deg: float, step_s: float
    ) -> tuple[Gate, Gate]:
        """Update the strengths with the next frame of a face; call this exactly once per frame.

        Args:
            gates: limits of the frame for the right and the left eye.
            shift: limit from the angle between gaze and target.
            shift_deg: angle between gaze and target, in degrees. At full strength, an eye turns by
                this angle.
            step_s: seconds since the previous frame. It is not used in the first frame.

        Returns:
            Strength and reason of the right eye and the left eye. The strengths differ only if an
            eye is hidden, or if the strength of an eye that was hidden still rises.
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
        """Set the state and the goal from the first frame."""
        if not is_closed(lids):
            self.phase, self.goal = "on", weakest(lids, rest).strength
        elif rest.strength >= BACK_AT:
            self.phase, self.goal = "blink", rest.strength

    def _follow(self, lids: Gate, rest: Gate, step_s: float) -> None:
        """Update the goal, and start or end a blink."""
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
        """Update the goal from the allowed strength; use hysteresis and minimum durations."""
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
        """Move the strengths towards the goal and set the state."""
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
        """Return the strength and reason of one eye."""
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
    """Return the state that follows from the goal and the (strength, target) pair of each eye."""
    if any(strength < target for strength, target in pairs):
        return "rising"
    if any(strength > target for strength, target in pairs):
        return "falling"
    return "on" if goal > 0.0 else "off"
