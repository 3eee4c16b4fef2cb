"""Photographs together with redirected versions of them, to fine-tune a gaze estimator on.

An estimator that learned from drawn eyes errs on photographs by an amount that changes from person
to person. Photographs of people who look into the lens show it what looking into the lens is, but
photographs of one gaze alone would teach it to answer that gaze always. Redirected to other gazes
they are labelled with those [1].

References:
    [1] Yu, Liu, Odobez, Improving Few-Shot User-Specific Gaze Adaptation via Gaze Redirection
        Synthesis, CVPR 2019.
"""

from __future__ import annotations

import numpy as np

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.models.contract import Conventions
from mggr_edge.models.network_io import image_from_network, redirector_inputs
from mggr_tf.config.portraits import RedirectedPortraits
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.redirect_pairs import Redirect

_BATCH = 64


def redirected_portraits(
    portraits: EyeSamples,
    redirect: Redirect,
    how: RedirectedPortraits,
    *,
    seed: int,
    conventions: Conventions,
    progress: Progress = no_progress,
) -> EyeSamples:
    """Redirects every photographed eye several times.

    Args:
        portraits: [N] patches; their labels are the source gazes.
        redirect: the redirector.
        how: how often, and to which range of gazes.
        seed: of the targets, which depend on nothing else.
        conventions: scales of the redirector's inputs.
        progress: shown the patches that are done.

    Returns:
        [N (1 + redirected)] patches, the photographs first; each group holds one eye, as it was
        photographed and redirected, with its gaze or target gaze as the label.
    """
    count = len(portraits)
    unit = np.random.default_rng(seed).uniform(-1, 1, (how.redirected * count, 2))
    targets_deg = (unit * how.range_deg).astype(np.float32)
    rows = np.tile(np.arange(count), how.redirected)
    made = []
    with progress("redirecting portraits", len(rows)) as advance:
        for first in range(0, len(rows), _BATCH):
            some = slice(first, first + _BATCH)
            inputs = redirector_inputs(
                portraits.images[rows[some]],
                source_deg=portraits.gaze_deg[rows[some]],
                target_deg=targets_deg[some],
                head_deg=portraits.head_deg[rows[some]],
                conventions=conventions,
            )
            made.append(image_from_network(np.asarray(redirect(inputs)["redirected"])))
            advance(len(made[-1]))
    everything = np.concatenate([np.arange(count), rows])
    return EyeSamples(
        images=np.concatenate([portraits.images, *made]),
        gaze_deg=np.concatenate([portraits.gaze_deg, targets_deg]),
        head_deg=portraits.head_deg[everything],
        subject=portraits.subject[everything],
        group=everything.astype(np.int32),
        source=portraits.source,
        licence=portraits.licence,
        mirrored=None if portraits.mirrored is None else portraits.mirrored[everything],
    )
