"""How the strength of one eye moves from frame to frame, so that nothing snaps or flickers.

`gating` says what may be done in a frame. In a video an eye gets there gradually: irises that
jump because a limit was crossed look like a twitch, and lids that hover at one like a tremble.
"""

from __future__ import annotations

from mggr_edge.gating import Gate

RISE_PER_S = 8.0
"""Strength comes within an eighth of a second, as a lid opens."""

MOST_DEG_PER_S = 100.0
"""So fast strength may turn an eye, coming or going; eyes themselves turn several times faster."""

BACK_AT = 0.5
"""An eye that was let go stays so until it might be redirected half the way."""

_STILL_DEG = 1e-3
_GONE = 1e-6


class Easing:
    """The strength of one eye of one face.

    Args:
        at_once: the first frame may have all that it is allowed; else it begins at nothing.
    """

    def __init__(self, *, at_once: bool) -> None:
        self._strength = None if at_once else 0.0
        self._let_go = False

    def __call__(self, verdict: Gate, *, shift_deg: float, step_s: float) -> Gate:
        """Takes the verdict on the next frame; call it once a frame.

        A lid that closes takes the strength with it at once: there is no iris to move.

        Args:
            verdict: what the frame allows.
            shift_deg: what an eye turns by at full strength.
            step_s: since the frame before.
        """
        self._let_go = verdict.strength < (BACK_AT if self._let_go else _GONE)
        wanted = 0.0 if self._let_go else verdict.strength
        strength = wanted
        if self._strength is not None:
            reach = step_s * MOST_DEG_PER_S / max(shift_deg, _STILL_DEG)
            strength = min(strength, self._strength + min(reach, step_s * RISE_PER_S))
            if verdict.reason != "closed":
                strength = max(strength, self._strength - reach)
        self._strength = strength
        if strength < wanted:
            return Gate(strength, "easing in")
        return Gate(strength, None if strength == 1.0 else verdict.reason)
