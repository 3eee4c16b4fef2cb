"""Writes what is seen of a stage: CSV files, and the same and more for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras

from mggr_tf.config.stages import Stage
from mggr_tf.runs.folder import RunFolder
from mggr_tf.training.sheets import write_png
from mggr_tf.training.validation import Validated

_FLUSH_MS = 30_000
"""Somebody may be looking on."""


class MetricsWriter:
    """Writes one stage's numbers, pictures and distributions into its run; a context.

    Besides the run's CSV files and sheets, TensorBoard gets, under `logs/STAGE`: scalars by the
    metrics' names, learning rates among them; `validation/METRIC`; the picture `sheet`; and with
    each validation the histograms `weights/NETWORK/VARIABLE` and, of the first validated pairs,
    `validation/flow` (pixels) and `validation/residual`.

    Args:
        run: where to.
        stage: which.
    """

    def __init__(self, run: RunFolder, stage: Stage) -> None:
        self._run, self._stage = run, stage
        folder = str(run.log_folder(stage))
        self._events = tf.summary.create_file_writer(folder, flush_millis=_FLUSH_MS)

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._events.close()

    def log(
        self, step: int, metrics: Mapping[str, float], *, learning_rates: Mapping[str, float]
    ) -> None:
        """What was measured on the way to `step`; learning rates are TensorBoard's alone."""
        self._run.log(self._stage, step, metrics)
        with self._events.as_default(step=step):
            for name, value in {**metrics, **learning_rates}.items():
                tf.summary.scalar(name, value)

    def validated(
        self, step: int, found: Validated, *, networks: Mapping[str, keras.Model]
    ) -> None:
        """What validation found after `step`, and how the trained networks' weights lie then."""
        self._run.log_validation(self._stage, step, found.metrics)
        with self._events.as_default(step=step):
            for name, value in found.metrics.items():
                tf.summary.scalar(f"validation/{name}", value)
            for name, output in found.outputs.items():
                tf.summary.histogram(f"validation/{name}", output)
            for name, network in networks.items():
                for where, variable in _weights(network):
                    tf.summary.histogram(f"weights/{name}/{where}", variable)
        self._events.flush()

    def sheet(self, step: int, picture: NDArray[np.uint8]) -> None:
        """A sample sheet, [H, W, 3] uint8 RGB, after `step`."""
        write_png(self._run.sheet_file(self._stage, step), picture)
        with self._events.as_default(step=step):
            tf.summary.image("sheet", picture[None])


def _weights(network: keras.Model) -> Iterator[tuple[str, tf.Variable]]:
    """The weights that are trained, by their place: two in one layer may share a name."""
    for path, variable in network.get_weight_paths().items():
        if variable.trainable:
            yield path.replace("._", "/").replace(".", "/"), variable
