"""Drawn eyes that close, as samples: what the estimator learns the state of eyes from.

They come beside whatever data is trained on, and show people of their own: nobody of them is
among those whom `source` draws by the same seed.
"""

from __future__ import annotations

from dataclasses import dataclass

from mggr_edge.common.progress import Progress, from_counts, no_progress
from mggr_tf.config.data import SyntheticConfig
from mggr_tf.data.drawn_people import drawn_name
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import drawing_processes, samples_of_drawn
from mggr_tf.drawn_eyes import draw_closing_eyes
from mggr_tf.drawn_eyes.closing import FIRST_CLOSING

_PER_GROUP = 6
_HELD_OUT = 0.1
_FIRST_UNSEEN = 2 * FIRST_CLOSING
"""Number of the first person whom no training draws."""


@dataclass(frozen=True)
class ClosingEyes:
    """Drawn eyes that close.

    Attributes:
        train: of people to train on.
        held_out: of others, for validation.
    """

    train: EyeSamples
    held_out: EyeSamples


def closing_people(how: SyntheticConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the people of `ClosingEyes.train` and of `ClosingEyes.held_out`."""
    people = [drawn_name(how.seed, FIRST_CLOSING + i) for i in range(how.closing_subjects)]
    trained = len(people) - max(1, round(_HELD_OUT * len(people)))
    return tuple(people[:trained]), tuple(people[trained:])


def closing_eyes(how: SyntheticConfig, *, progress: Progress = no_progress) -> ClosingEyes:
    """Draws them; a pure function of the config.

    Args:
        how: how many people, and the seed.
        progress: counts pictures.
    """
    samples = _drawn(how.seed, how.closing_subjects, first=FIRST_CLOSING, progress=progress)
    train, held_out = closing_people(how)
    return ClosingEyes(samples.of_subjects(train), samples.of_subjects(held_out))


def unseen_closing_eyes(seed: int, people: int, *, progress: Progress = no_progress) -> EyeSamples:
    """Eyes of people whom no training draws, with this seed or with another one.

    Args:
        seed: of a run's `synthetic.seed`.
        people: how many.
        progress: counts pictures.
    """
    return _drawn(seed, people, first=_FIRST_UNSEEN, progress=progress)


def trained_closing_eyes(seed: int, people: int, *, progress: Progress = no_progress) -> EyeSamples:
    """Eyes of the first people of a training by this seed.

    Args:
        seed, people, progress: as of `unseen_closing_eyes`.
    """
    return _drawn(seed, people, first=FIRST_CLOSING, progress=progress)


def _drawn(seed: int, people: int, *, first: int, progress: Progress) -> EyeSamples:
    with progress("drawing eyes that close", None) as advance:
        drawn = draw_closing_eyes(
            subjects=people,
            per_group=_PER_GROUP,
            seed=seed,
            first=first,
            workers=drawing_processes(people),
            progress=from_counts(advance),
        )
    return samples_of_drawn(drawn, seed=seed)
