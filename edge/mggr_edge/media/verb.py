"""What a run did with its frames, in a word of its summary."""

from __future__ import annotations

from typing import Literal

Verb = Literal["wrote", "showed in"]
