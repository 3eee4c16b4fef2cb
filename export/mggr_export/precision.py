"""What an artifact's convolutions compute in."""

from __future__ import annotations

from typing import Literal

Precision = Literal["float32", "float16", "int8"]
