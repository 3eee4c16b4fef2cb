"""Logs, sample sheets and validation during the training of a stage.

A sample sheet is an image with examples of redirected eyes. A pair consists of two images of one
person with different gazes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TextIO

import cv2
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.common.atomic import atomic_file
from mggr_edge.models.network_io import image_from_network, image_to_network
from mggr_tf.config.stages import OF_GAZE, Stage
from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.protocol import pair_inputs
from mggr_tf.models.networks import Networks
from mggr_tf.runs.folder import RunFolder
from mggr_tf.training.distribution import Distribution
from mggr_tf.training.loop import Batch, LoopCallbacks, Values
from mggr_tf.training.progress_line import ProgressLine, images_a_step
from mggr_tf.training.stage_parts import trained_networks
from mggr_tf.training.validation import Validated, stage_validation

_ZOOM = 2
_PAIRS = 8


class SampleSheet:
    """Creates sample sheets of a few pairs. All sheets of a stage show the same pairs.

    The eyes are redirected by the redirector with averaged weights.

    Args:
        networks: networks of the run.
        samples: samples to select the pairs from.

    Raises:
        DataError: no two samples form a pair.
    """

    def __init__(self, networks: Networks, samples: EyeSamples) -> None:
        pairs = all_pairs(samples, limit=_PAIRS, seed=networks.config.seed)
        self._networks = networks
        self._inputs = pair_inputs(samples, pairs, networks.config.conventions)
        self._target = image_to_network(samples.images[pairs[:, 1]])

    def __call__(self) -> NDArray[np.uint8]:
        """Return the sample sheet for the current weights; see `sheet`."""
        made = self._networks.averaged.joined(self._inputs, training=False)
        shown = {name: np.asarray(made[name]) for name in ("coarse", "residual", "redirected")}
        return sheet(source=self._inputs["eye"], target=self._target, **shown)


def sheet(
    *,
    source: NDArray[np.float32],
    coarse: NDArray[np.float32],
    residual: NDArray[np.float32],
    redirected: NDArray[np.float32],
    target: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """Return a sample sheet. Each row shows one eye: source, coarse, residual, redirected, target.

    All arguments are in network units, which are in [-1, 1] for images. The coarse branch predicts
    a flow, and the fine branch adds details to the image.

    Args:
        source: [B, H, W, 3] float32 source images.
        coarse: [B, H, W, 3] float32 outputs of the coarse branch.
        residual: [B, H, W, 3] float32 values that the fine branch adds. The sheet shows 0 as grey.
        redirected: [B, H, W, 3] float32 redirected images.
        target: [B, H, W, 3] float32 real images with the target gaze.

    Returns:
        [2 B H, 10 W, 3] uint8 RGB.
    """
    columns = [image_from_network(c) for c in (source, coarse, residual, redirected, target)]
    grid = np.concatenate([np.concatenate(list(column), axis=0) for column in columns], axis=1)
    return grid.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an RGB image to a PNG file. An existing file is replaced."""
    done, content = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert done, "OpenCV writes PNG"
    with atomic_file(path, force=True) as temporary:
        temporary.write_bytes(content.tobytes())


_FLUSH_MS = 30_000
"""Time between two writes of TensorBoard events, milliseconds.

The time is short, so that a user can watch the training.
"""


class MetricsWriter:
    """Context manager that writes the metrics, sample sheets and histograms of a stage.

    It writes the CSV files and the sample sheets of the run. It also writes TensorBoard events
    under `logs/STAGE`. The events contain these values:

    - The metrics and the learning rates, as scalars.
    - The validation metrics `validation/METRIC`, as scalars.
    - The sample sheet `sheet`, as an image.
    - The histograms `weights/NETWORK/VARIABLE`, at each validation.
    - The histograms `validation/flow` (in pixels) and `validation/residual`, for the first pairs of
      each validation.

    Args:
        run: run to write to.
        stage: stage that is trained.
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
        """Write the metrics after `step`. The learning rates are written only for TensorBoard."""
        self._run.log(self._stage, step, metrics)
        with self._events.as_default(step=step):
            for name, value in {**metrics, **learning_rates}.items():
                tf.summary.scalar(name, value)

    def validated(
        self, step: int, found: Validated, *, networks: Mapping[str, keras.Model]
    ) -> None:
        """Write the result of the validation after `step`, and write histograms of the weights."""
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
        """Write the sample sheet of `step`. It is an image [H, W, 3], uint8 RGB."""
        write_png(self._run.sheet_file(self._stage, step), picture)
        with self._events.as_default(step=step):
            tf.summary.image("sheet", picture[None])


def _weights(network: keras.Model) -> Iterator[tuple[str, tf.Variable]]:
    """Yield the path and the value of each trainable weight.

    A path is used instead of a name, because two weights of a layer may have the same name.
    """
    for path, variable in network.get_weight_paths().items():
        if variable.trainable:
            yield path.replace("._", "/").replace(".", "/"), variable


_SHEETS_A_STAGE = 5


class StageWatch:
    """Logging, sample sheets and validation of one stage.

    With several workers (processes), all workers compute the results, but only the first worker
    writes files.

    Args:
        run: run to write to.
        stage: stage that is trained.
        networks: networks of the run.
        shown: samples for validation and sample sheets.
        closing: synthetic eyes at all stages from open to closed. A stage that learns the eye state
            needs them.
        portraits: held-out photographs, for the validation of a gaze estimator.
        distribution: devices that train.
        stream: stream for the progress line. `None` shows no progress.
    """

    def __init__(
        self,
        run: RunFolder,
        stage: Stage,
        networks: Networks,
        *,
        shown: EyeSamples,
        closing: EyeSamples | None = None,
        portraits: EyeSamples | None = None,
        distribution: Distribution,
        stream: TextIO | None,
    ) -> None:
        self._run, self._stage, self._networks = run, stage, networks
        self._shown, self._distribution, self._stream = shown, distribution, stream
        self._config = run.config.stage(stage).validation
        self._sheet = SampleSheet(networks, shown)
        self._validation = stage_validation(
            networks,
            stage,
            samples=shown,
            pairs=self._config.pairs,
            closing=closing,
            portraits=portraits,
        )

    @contextmanager
    def hooks(
        self,
        total: int,
        *,
        done: int,
        saved: Callable[[int], None],
        rates: Callable[[], Values],
    ) -> Iterator[LoopCallbacks]:
        """Return a context manager with the functions that the training loop calls.

        Args:
            total: total number of steps.
            done: number of steps that are already complete.
            saved: called after a checkpoint has been written, with its step.
            rates: function that returns the learning rates of the last update.
        """
        with ExitStack() as opened:
            line = opened.enter_context(self._line(total, done))
            writer = self._writer(opened)

            def log(step: int, values: Values) -> None:
                if writer is not None:
                    writer.log(step, values, learning_rates=rates())

            def validate(step: int) -> float:
                with line.pause():
                    return self._validate(step, writer)

            def sheet(step: int) -> None:
                with line.pause():
                    picture = self._sheet()
                    if writer is not None:
                        writer.sheet(step, picture)

            yield LoopCallbacks(
                tell=line.tell,
                log=log,
                saved=saved,
                sheet=sheet,
                sheet_steps=_sheet_steps(total, self._stage),
                bad_batch=self._keep_batch,
                validate=validate,
                validated_steps=lambda step: self._config.is_due(step, total),
            )

    def _line(self, total: int, done: int) -> ProgressLine:
        images = images_a_step(self._stage, self._run.config.stage(self._stage))
        return ProgressLine(
            self._stage, total, images_a_step=images, stream=self._stream, done=done
        )

    def _writer(self, opened: ExitStack) -> MetricsWriter | None:
        if not self._distribution.is_chief:
            return None
        return opened.enter_context(MetricsWriter(self._run, self._stage))

    def _validate(self, step: int, writer: MetricsWriter | None) -> float:
        found = self._validation()
        if writer is not None:
            networks = trained_networks(self._networks, self._stage)
            writer.validated(step, found, networks=networks)
        return self._distribution.agreed(found.value)

    def _keep_batch(self, step: int, batch: Batch) -> str:
        """Write the batch of a failed step to a file, and return the file name.

        With several devices, the file contains only the part of the batch for the first device.
        """
        local = self._distribution.strategy.experimental_local_results
        first = {name: np.asarray(local(value)[0]) for name, value in batch.items()}
        file = self._run.bad_batch_file(self._stage, step)
        if self._distribution.is_chief:
            with atomic_file(file, force=True) as temporary:
                np.savez_compressed(temporary, **first)
        return str(file)


def _sheet_steps(total: int, stage: Stage) -> frozenset[int]:
    if stage in OF_GAZE:
        return frozenset()
    return frozenset(max(1, round(total * i / _SHEETS_A_STAGE)) for i in range(1, 6))
