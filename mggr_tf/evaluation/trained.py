"""Load the networks of a run with their trained weights."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import RunError
from mggr_tf.evaluation.protocol import Judge, Redirect
from mggr_tf.evaluation.state_scores import Outputs
from mggr_tf.models.networks import Networks, load_weights
from mggr_tf.runs.folder import RunFolder


def load_redirector(run: RunFolder) -> Networks:
    """Load the networks of a run with the weights that are scored and exported.

    If a run was trained only up to its coarse stage, its fine branch is untrained, and the residual
    is zero. The estimator has the weights for devices (`RunFolder.device_estimator`). If the run
    has no such weights, the estimator is untrained.

    Raises:
        RunError: no stage that trains a redirector is complete.
    """
    if not run.can_redirect():
        last = run.config.last_stage(portraits=False)
        raise RunError(
            f"{run.path} has no trained redirector; run: "
            f"mggr-tf train --stage {last} --out {shlex.quote(str(run.path))} --resume",
            code="no-redirector",
            path=run.path,
            stage=last,
        )
    networks = Networks(run.config)
    if run.has_weights("estimator"):
        load_weights(networks.estimator, run.weights_file(run.device_estimator))
    for name in run.config.models.parts:
        if run.has_weights(name):
            load_weights(networks.averaged.part(name), run.weights_file(name))
    return networks


def load_exported(run: RunFolder) -> Networks:
    """Load the networks of a run that a device needs: the redirector and the gaze estimator.


    Raises:
        RunError: no stage that trains a redirector is complete. This error is also raised if the
            run has no estimator.
    """
    networks = load_redirector(run)
    if not run.has_weights("estimator"):
        raise RunError(
            f"{run.path} has no gaze estimator, but a device needs one; run: mggr-tf train "
            f"--stage estimator --out {shlex.quote(str(run.path))} --resume",
            code="no-estimator",
            path=run.path,
            stage="estimator",
        )
    return networks


def redirect_with(networks: Networks) -> Redirect:
    """Return the redirector with averaged weights as a function. Its inputs are numpy arrays."""
    model = networks.averaged.joined

    def redirect(inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        made = model(dict(inputs), training=False)
        return {name: np.asarray(value) for name, value in made.items()}

    return redirect


def load_judge(run: RunFolder) -> Judge:
    """Load the judge of a run as a function. Its inputs are numpy arrays.

    A judge is a gaze estimator that only scores redirected pictures.

    Raises:
        RunError: the run has no judge.
    """
    return _load(run, "judge")


def load_estimator(run: RunFolder) -> Judge:
    """Load the gaze estimator for devices from a run. The result is a function of numpy arrays.

    Raises:
        RunError: the run has no estimator.
    """
    return _load(run, "estimator")


def load_estimator_outputs(run: RunFolder) -> Outputs:
    """Load the gaze estimator for devices from a run. The function returns a dict of all outputs.

    Raises:
        RunError: the run has no estimator.
    """
    return _outputs(run, "estimator")


def _load(run: RunFolder, name: Literal["judge", "estimator"]) -> Judge:
    outputs = _outputs(run, name)
    return lambda inputs: outputs(inputs)["gaze"]


def _outputs(run: RunFolder, name: Literal["judge", "estimator"]) -> Outputs:
    if not run.has_weights(name):
        raise RunError(
            f"{run.path} has no {name}; run: mggr-tf train --stage {name}",
            code=f"no-{name}",
            path=run.path,
            stage=name,
        )
    model = getattr(Networks(run.config), name)
    weights = run.device_estimator if name == "estimator" else name
    load_weights(model, run.weights_file(weights))

    def outputs(inputs: Mapping[str, NDArray[np.float32]], /) -> dict[str, NDArray[np.float32]]:
        made = model(dict(inputs), training=False)
        return {name: np.asarray(value) for name, value in made.items()}

    return outputs
