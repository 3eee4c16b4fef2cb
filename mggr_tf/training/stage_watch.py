"""What is seen of a stage while it trains: logs, sample sheets, validation, a batch gone wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TextIO

import numpy as np

from mggr_edge.common.atomic import atomic_file
from mggr_tf.config.stages import OF_GAZE, Stage
from mggr_tf.data.schema import EyeSamples
from mggr_tf.models.networks import Networks
from mggr_tf.runs.folder import RunFolder
from mggr_tf.training.distribution import Distribution
from mggr_tf.training.loop import Batch, Hooks, Values
from mggr_tf.training.metrics_writer import MetricsWriter
from mggr_tf.training.progress_line import ProgressLine, images_a_step
from mggr_tf.training.sheets import SampleSheet
from mggr_tf.training.trained_parts import trained_networks
from mggr_tf.training.validation import stage_validation

_SHEETS_A_STAGE = 5


class StageWatch:
    """Watches one stage of a run. With several workers all compute, and the chief writes.

    Args:
        run: where everything goes.
        stage: which.
        networks: which are trained.
        shown: people for validation and sheets.
        closing: eyes that close, for the validation of a stage that learns the state of eyes.
        portraits: held-out photographs, for the validation of a stage that reads gaze.
        distribution: the devices.
        stream: where a line shows how far it is; None: nowhere.
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
    ) -> Iterator[Hooks]:
        """What the loop tells, while it trains from step `done` to `total`.

        Args:
            total: steps there will be.
            done: steps there are.
            saved: called when a checkpoint at a step is on disk.
            rates: gives the learning rates of the last update.
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

            yield Hooks(
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
        """Of several replicas the first one's part."""
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
