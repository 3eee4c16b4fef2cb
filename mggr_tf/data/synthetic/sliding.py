"""How skin moves when a lid does, and back: one number along each upright line.

Skin is pulled along by the edge it hangs on and less so the further away,
until it does not move at all. With the edge displaced by d, skin that rests s
beyond it moves to `s + d (1 - s / reach)^2`, which has an inverse in closed form as
long as it folds nowhere, d < reach / 2.
"""

from __future__ import annotations

import numpy as np

from mggr_tf.data.synthetic.compiled import compiled


@compiled
def slide(rest_mm: float, pull_mm: float, reach_mm: float) -> float:
    """Where skin is that rests `rest_mm` beyond an edge, when the edge is pulled outwards."""
    if rest_mm >= reach_mm:
        return rest_mm
    left = 1.0 - rest_mm / reach_mm
    return rest_mm + pull_mm * left * left


@compiled
def unslide(now_mm: float, pull_mm: float, reach_mm: float) -> float:
    """The inverse: where skin rests that is now `now_mm` beyond the edge's place of rest."""
    if now_mm >= reach_mm:
        return now_mm
    b = 1.0 - 2.0 * pull_mm / reach_mm
    c = now_mm - pull_mm
    root = np.sqrt(max(b * b + 4.0 * pull_mm / (reach_mm * reach_mm) * c, 0.0))
    return 2.0 * c / (b + root)
