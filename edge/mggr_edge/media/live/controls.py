"""What somebody may change while a live picture runs: by keys in its window."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

KEYS = "space: on or off, + and -: strength, o: overlay, q: quit"

_STEPS = 10
"""Of strength, from nothing to all."""


@dataclass
class Controls:
    """The state that keys change.

    Attributes:
        strength: in [0, 1], what is asked for while it is on.
        is_on: whether eyes are redirected at all.
        overlay: whether what is done is drawn on the picture.
        stop: set when somebody has seen enough.
    """

    strength: float = 1.0
    is_on: bool = True
    overlay: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def in_words(self) -> str:
        """What is asked for now."""
        return f"strength {self.strength:.1f}" if self.is_on else "off"

    def press(self, key: str) -> None:
        """Takes a key, one character; others than those of `KEYS` do nothing."""
        match key:
            case " ":
                self.is_on = not self.is_on
            case "+" | "=":
                self._step(+1)
            case "-" | "_":
                self._step(-1)
            case "o" | "O":
                self.overlay = not self.overlay
            case "q" | "Q" | "\x1b":
                self.stop.set()

    def _step(self, by: int) -> None:
        step = min(_STEPS, max(0, round(self.strength * _STEPS) + by))
        self.strength = step / _STEPS
