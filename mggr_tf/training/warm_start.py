"""Starts a run's networks from another run's, to train all of them further."""

from __future__ import annotations

from mggr_edge.common.atomic import atomic_file
from mggr_edge.errors import RunError
from mggr_tf.models.networks import Networks, load_weights, save_weights
from mggr_tf.runs.folder import RunFolder


def warm_start(run: RunFolder, donor: RunFolder) -> None:
    """Starts the estimator and the redirector from another run's weights.

    No stage counts as trained. The donor's data is recorded, as by `RunFolder.adopt`. The donor's
    estimator may lack the state of the eye: the layers that predict it start from nothing.

    Args:
        run: without weights yet.
        donor: the other run; its estimator is the one that devices run.

    Raises:
        RunError: the donor lacks a network, or has another one than the run's config builds.
    """
    estimator = donor.device_estimator
    if not donor.has_weights(estimator):
        raise RunError(f"{donor.path} has no estimator to start from")
    if not run.config.for_donor(donor.config).builds_alike("estimator", donor.config):
        raise RunError(f"{donor.path} has another estimator network than config {run.config.name}")
    run.adopt_redirector(donor)
    theirs, ours = Networks(donor.config).estimator, Networks(run.config).estimator
    load_weights(theirs, donor.weights_file(estimator))
    for layer in theirs.layers:
        ours.get_layer(layer.name).set_weights(layer.get_weights())
    with atomic_file(run.weights_file("estimator"), force=True) as temporary:
        save_weights(ours, temporary)
