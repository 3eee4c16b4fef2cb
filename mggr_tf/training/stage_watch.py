"""What is seen of a stage while it trains: logs, sample sheets, validation, a batch gone wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from mggr_edge.atomic import atomic_file
from mggr_edge.progress import Progress
from mggr_tf.config import Stage
from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.redirect_pairs import pair_inputs
from mggr_tf.models.networks import Networks
from mggr_tf.training.distribution import Distribution
from mggr_tf.training.loop import Batch, Hooks, Values
from mggr_tf.training.run_folder import RunFolder
from mggr_tf.training.sheets import sheet, write_png
from mggr_tf.training.validation import stage_validation

_SHEETS_A_STAGE = 5
_SHEET_PAIRS = 8


class StageWatch:
    """Watches one stage of a run. With several workers all compute, and the chief writes.

    Args:
        run: where everything goes.
        stage: which.
        networks: which are trained.
        shown: people for validation and sheets.
        distribution: the devices.
        progress: shows how far it is.
    """

    def __init__(
        self,
        run: RunFolder,
        stage: Stage,
        networks: Networks,
        *,
        shown: EyeSamples,
        distribution: Distribution,
        progress: Progress,
    ) -> None:
        self._run, self._stage, self._networks = run, stage, networks
        self._shown, self._distribution, self._progress = shown, distribution, progress
        self._config = run.config.stage(stage).validation
        self._validation = stage_validation(
            networks, stage, samples=shown, pairs=self._config.pairs
        )

    @contextmanager
    def hooks(self, total: int, *, done: int, saved: Callable[[int], None]) -> Iterator[Hooks]:
        """What the loop tells, while it trains from step `done` to `total`."""
        with self._progress(self._stage, total) as advance, self._writer() as log:
            advance(done)
            yield Hooks(
                advance=lambda steps, values: advance(steps),
                log=log,
                saved=saved,
                sheet=self._sheet,
                sheet_steps=_sheet_steps(total, self._stage),
                bad_batch=self._keep_batch,
                validate=self._validate,
                validated_steps=lambda step: self._config.is_due(step, total),
            )

    @contextmanager
    def _writer(self) -> Iterator[Callable[[int, Values], None]]:
        if not self._distribution.is_chief:
            yield lambda step, values: None
            return
        events = tf.summary.create_file_writer(str(self._run.log_folder(self._stage)))

        def log(step: int, values: Values) -> None:
            self._run.log(self._stage, step, values)
            with events.as_default(step=step):
                for name, value in values.items():
                    tf.summary.scalar(name, value)

        yield log
        events.close()

    def _validate(self, step: int) -> float:
        return self._distribution.agreed(self._validation().value)

    def _keep_batch(self, step: int, batch: Batch) -> str:
        """Of several replicas the first one's part."""
        local = self._distribution.strategy.experimental_local_results
        first = {name: np.asarray(local(value)[0]) for name, value in batch.items()}
        file = self._run.bad_batch_file(self._stage, step)
        if self._distribution.is_chief:
            with atomic_file(file, force=True) as temporary:
                np.savez_compressed(temporary, **first)
        return str(file)

    def _sheet(self, step: int) -> None:
        pairs = all_pairs(self._shown, limit=_SHEET_PAIRS, seed=self._run.config.seed)
        inputs = pair_inputs(self._shown, pairs, self._run.config.conventions)
        made = {k: np.asarray(v) for k, v in self._networks.averaged.joined(inputs).items()}
        picture = sheet(
            source=inputs["eye"],
            coarse=made["coarse"],
            residual=made["residual"],
            redirected=made["redirected"],
            target=self._shown.images[pairs[:, 1]].astype(np.float32) / 127.5 - 1,
        )
        if self._distribution.is_chief:
            write_png(self._run.sheet_file(self._stage, step), picture)


def _sheet_steps(total: int, stage: Stage) -> frozenset[int]:
    if stage in ("estimator", "judge"):
        return frozenset()
    return frozenset(max(1, round(total * i / _SHEETS_A_STAGE)) for i in range(1, 6))
