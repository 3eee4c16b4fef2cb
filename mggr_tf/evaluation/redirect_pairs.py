"""Runs a redirector over pairs of labelled patches."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from mggr_edge.models.contract import Conventions
from mggr_edge.models.network_io import redirector_inputs
from mggr_tf.data.schema import EyeSamples

_BATCH = 64

Redirect = Callable[[Mapping[str, NDArray[np.float32]]], Mapping[str, NDArray[np.float32]]]


def pair_inputs(
    samples: EyeSamples,
    pairs: NDArray[np.int64],
    conventions: Conventions,
    *,
    source_deg: NDArray[np.float32] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """The redirector's inputs for pairs of patches, through the device's own preprocessing.

    Args:
        pairs: [P, 2] indices, (source, target).
        source_deg: [N, 2] gazes that redirections start at, of every sample; None takes the
            labels, which a device does not have.
    """
    source, target = pairs[:, 0], pairs[:, 1]
    return redirector_inputs(
        samples.images[source],
        source_deg=(samples.gaze_deg if source_deg is None else source_deg)[source],
        target_deg=samples.gaze_deg[target],
        head_deg=samples.head_deg[source],
        conventions=conventions,
    )


def redirect_pairs(
    redirect: Redirect,
    samples: EyeSamples,
    pairs: NDArray[np.int64],
    *,
    conventions: Conventions,
    source_deg: NDArray[np.float32] | None = None,
    advance: Callable[[int], None] = lambda n: None,
) -> dict[str, NDArray[np.float32]]:
    """Redirects every pair's source to its target's gaze, in batches.

    Args:
        source_deg: see `pair_inputs`.

    Returns:
        the redirector's outputs, [P, ...] each.
    """
    parts: list[Mapping[str, NDArray[np.float32]]] = []
    for start in range(0, len(pairs), _BATCH):
        some = pairs[start : start + _BATCH]
        made = redirect(pair_inputs(samples, some, conventions, source_deg=source_deg))
        parts.append({name: np.asarray(value) for name, value in made.items()})
        advance(len(some))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
