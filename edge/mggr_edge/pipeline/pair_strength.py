"""Redirection strength of both eyes of a face over time.

A pair of eyes with different strengths looks cross-eyed, so both eyes get the same strength. An eye
is redirected alone only while the other eye is hidden. `PairStrength` receives the limits of each
frame (`gating.EyeGate`) and holds these states:

| state | strength | when |
|---|---|---|
| `off` | 0 | the goal is 0 |
| `rising` | below the goal | a face entered the video, the lids opened, or a limit was relaxed |
| `on` | equal to the goal | the strength reached the goal |
| `falling` | above the goal | a limit became stricter, or an eye was covered |
| `blink` | 0 at once | an eye that takes part is closed (`gating.CLOSED_AT`) |

`goal` is the strength that the eyes approach. The strength rises by at most `RISE_PER_S`, and an
eye turns by at most `MOST_DEG_PER_S`, where the full turn is the angle between gaze and target. The
goal follows the allowed strength, which is the smallest limit of the eyes that take part:

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

Each eye either takes part or is hidden. `PairStrength.eyes` names the eyes that take part:

| from | to | condition |
|---|---|---|
| (first frame) | takes part | `seen` is at `BACK_AT` or more |
| (first frame) | hidden | `seen` is less than `BACK_AT` |
| takes part | hidden | `seen` is 0 for `LEAVE_S`; its strength falls, the other eye's does not |
| hidden | takes part | `seen` is at `BACK_AT` or more for `BACK_S`; its strength rises |

A duration is the sum of the frame steps; the step of a frame is the time since the previous frame.
So a duration is exact to within one frame at any frame rate. If a single frame step is longer than
the duration, one frame is enough.
"""

from __future__ import annotations

from typing import Literal

from mggr_edge.pipeline.gating import EyeGate, Gate, Reason, is_closed, weakest

Phase = Literal["off", "rising", "on", "falling", "blink"]
Eyes = Literal["both", "right", "left", "neither"]

RISE_PER_S = 8.0
"""Maximum rise of the strength per second: 0 to 1 in an eighth of a second, as a lid opens."""

MOST_DEG_PER_S = 100.0
"""Maximum rotation rate of an eye by a change of strength, in degrees per second. Real eye
movements are several times faster."""

BACK_AT = 0.5
"""Limit, in [0, 1], from which closed lids count as open, a hidden eye takes part again, and a goal
of 0 rises."""

BAND = 0.25
"""Hysteresis of the goal: a limit that fluctuates within this width does not move the goal back and
forth."""

LEAVE_S = 0.1
"""Seconds after which a stricter limit takes effect; shorter ones are measurement errors. A fast
head turns by ten degrees in this time, which is the width of the limits for head yaw."""

BACK_S = 0.2
"""Seconds after which a relaxed limit takes effect. This is twice `LEAVE_S`, so that a limit that
fluctuates around a threshold lowers the strength more than it raises it."""

REOPEN_S = 0.04
"""Seconds of open lids that end a blink: one frame at 25 frames per second. Lids take four times as
long to open."""

LONGEST_BLINK_S = 0.5
"""Seconds after which a blink counts as eyes that stay shut. Blinks last 0.1 to 0.4 seconds."""

_NO_LIDS, _NO_EYE = Gate(1.0, None), Gate(0.0, "covered")
"""Limits while no eye takes part."""

_STILL_DEG = 1e-3
_ROUNDING_S = 1e-6
_EYES: dict[tuple[bool, bool], Eyes] = {
    (True, True): "both",
    (True, False): "right",
    (False, True): "left",
    (False, False): "neither",
}


class _Lasting:
    """Timer that checks whether a condition has held without interruption for a minimum time.

    Args:
        least_s: minimum time in seconds.
    """

    def __init__(self, least_s: float) -> None:
        self._least_s, self._time_s = least_s, 0.0

    def __call__(self, condition: bool, step_s: float) -> bool:
        """Return whether the condition, including the next frame, has held for `least_s`."""
        self._time_s = self._time_s + step_s if condition else 0.0
        return condition and self._time_s >= self._least_s - _ROUNDING_S

    def reset(self) -> None:
        """Restart the timer at 0."""
        self._time_s = 0.0


class _Part:
    """Participation and strength of one eye."""

    def __init__(self) -> None:
        self.strength = 0.0
        self.is_in = True
        self.hidden_by: Reason = "covered"
        self._is_hidden, self._is_seen = _Lasting(LEAVE_S), _Lasting(BACK_S)

    def begin(self, seen: Gate) -> None:
        """Set the participation from the first frame."""
        self.is_in = seen.strength >= BACK_AT
        self._note(seen)

    def see(self, seen: Gate, step_s: float) -> None:
        """Update the participation from the next frame."""
        is_hidden = self._is_hidden(seen.strength == 0.0, step_s)
        is_seen = self._is_seen(seen.strength >= BACK_AT, step_s)
        self.is_in = is_seen or (self.is_in and not is_hidden)
        self._note(seen)

    def _note(self, seen: Gate) -> None:
        if seen.reason is not None:
            self.hidden_by = seen.reason


class PairStrength:
    """Strengths of both eyes of one face; see the tables of the module.

    Args:
        at_once: True if the first frame gets the allowed strength at once; otherwise the strength
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
        """Eyes that take part; sides are the subject's own."""
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
        """Update with the next frame of a face; call it exactly once per frame.

        Args:
            gates: limits of the frame for the right and the left eye.
            shift: limit from the angle between gaze and target.
            shift_deg: angle between gaze and target, in degrees; an eye turns by it at full
                strength.
            step_s: seconds since the previous frame; not used in the first frame.

        Returns:
            Strength and reason of the right and the left eye. The strengths are equal unless an eye
            is hidden, or was hidden and its strength still rises.
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
        """Update the goal from the allowed strength, with hysteresis and minimum durations."""
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
    """Return the state for a goal and the (strength, target) pair of each eye."""
    if any(strength < target for strength, target in pairs):
        return "rising"
    if any(strength > target for strength, target in pairs):
        return "falling"
    return "on" if goal > 0.0 else "off"
