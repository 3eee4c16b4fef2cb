"""Synthetic patches in memory, for training: people x sides x head poses x gazes.

A group is one person, one side, one head pose, under one light, with lids held equally
open; its pictures differ in gaze and in the camera's noise only, so any two of it are a
pair. Some groups are of tired eyes: a redirector must not open them.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.geometry.eye_crop import DEFAULT_SIZE_PX
from mggr_tf.drawn_eyes.flow import flow_codes
from mggr_tf.drawn_eyes.population import draw_light, draw_subject
from mggr_tf.drawn_eyes.render import Crop, flow_between, render_eye
from mggr_tf.drawn_eyes.rendered import RenderedEye, eye_state

SIDES: tuple[Side, Side] = ("right", "left")
"""`SyntheticSamples.side` is an index into this."""

PITCH_RANGE_DEG = 15.0
YAW_RANGE_DEG = 20.0
HEAD_PITCH_RANGE_DEG = 15.0
HEAD_YAW_RANGE_DEG = 30.0
HEAD_ROLL_DEG = 2.5
"""Standard deviation."""

HALF_CLOSED_SHARE = 0.15
HALF_CLOSED_RANGE = (0.2, 0.65)
"""How many groups have lids that are partly closed, and by how much."""

Progress = Callable[[int, int], None]
"""Called with (done, total) pictures."""


@dataclass(frozen=True)
class SyntheticSamples:
    """Drawn patches, as photographed: nothing mirrored.

    Attributes:
        images: [N, 64, 64, 3] uint8 RGB.
        gaze_deg: [N, 2] float32 (pitch, yaw).
        head_deg: [N, 2] float32 (pitch, yaw); equal within a group.
        side: [N] int8, 0 the subject's right eye, 1 the left.
        subject: [N] int32, from 0.
        closure: [N] float32, 0 as open as the gaze has it, 1 closed; equal within a group, but
            for that of `closing.draw_closing_eyes`.
        landmarks: [N, 6, 2] float32 pixels, see `rendered.LANDMARKS`.
        lid_region: [N, 16, 2] float32 pixels, see `mggr_tf.drawn_eyes.lids`.
        state: [N, 3] float32, see `eye_state.eye_state`.
        flows: [G, P, P, 64, 64, 2] int8 `flow_codes`: how picture j of group g is read out of
            its picture i; groups follow each other as in the rows above. None where not asked for.
    """

    images: NDArray[np.uint8]
    gaze_deg: NDArray[np.float32]
    head_deg: NDArray[np.float32]
    side: NDArray[np.int8]
    subject: NDArray[np.int32]
    closure: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    lid_region: NDArray[np.float32]
    state: NDArray[np.float32]
    flows: NDArray[np.int8] | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Order:
    """What one worker draws at a time: all pictures of one person.

    Attributes:
        subject: number of the person.
        per_group: pictures of one side and head pose.
        heads: head poses per side.
        seed: of everything.
        with_flow: see `draw_samples`.
    """

    subject: int
    per_group: int
    heads: int
    seed: int
    with_flow: bool = False


def draw_samples(
    *,
    subjects: int,
    per_group: int,
    seed: int,
    heads: int = 3,
    with_flow: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> SyntheticSamples:
    """Draws `subjects * 2 * heads * per_group` patches.

    The result is a pure function of the counts and the seed; `workers` changes
    the time it takes and nothing else. Person i is the same for every number of
    subjects.

    Args:
        subjects: number of people.
        per_group: pictures of one person, side and head pose; 2 make a pair. They share a crop:
            that of one of them, see `render.Crop`.
        seed: of everything.
        heads: head poses per person and side, each under a light of its own.
        with_flow: also follow every point from each picture of a group to each other.
        workers: processes. More than one starts them by `spawn`, so the calling
            script needs its `if __name__ == "__main__"`.
        progress: called after each person.

    Raises:
        ValueError: a count below 1, or a negative seed.
    """
    for name, value in (("subjects", subjects), ("per_group", per_group), ("heads", heads)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    orders = [Order(index, per_group, heads, seed, with_flow) for index in range(subjects)]
    return in_parallel(_draw_person, orders, workers=workers, progress=progress)


def in_parallel(
    draw: Callable[[Order], SyntheticSamples],
    orders: list[Order],
    *,
    workers: int,
    progress: Progress | None,
) -> SyntheticSamples:
    """Draws people one after the other or in several processes.

    Args:
        draw: draws one person; a function of a module, which other processes can import.
        orders: at least one, of equally many pictures each.
        workers: processes.
        progress: called after each person.
    """
    made: dict[str, NDArray] = {}
    with _mapped(draw, orders, workers) as drawn:
        for index, person in enumerate(drawn):
            for name, part in _parts(person).items():
                if index == 0:
                    made[name] = np.empty((len(orders) * len(part), *part.shape[1:]), part.dtype)
                made[name][index * len(part) : (index + 1) * len(part)] = part
            if progress is not None:
                progress((index + 1) * len(person), len(orders) * len(person))
    return SyntheticSamples(**made)


def _parts(person: SyntheticSamples) -> dict[str, NDArray]:
    values = {field.name: getattr(person, field.name) for field in dataclasses.fields(person)}
    return {name: value for name, value in values.items() if value is not None}


def _room_for_flows(groups: int, per_group: int) -> NDArray[np.int8]:
    size = DEFAULT_SIZE_PX
    return np.empty((groups, per_group, per_group, size, size, 2), np.int8)


@contextmanager
def _mapped(
    draw: Callable[[Order], SyntheticSamples], orders: list[Order], workers: int
) -> Iterator[Iterator[SyntheticSamples]]:
    if workers <= 1:
        yield map(draw, orders)
        return
    # Never fork: the caller may hold TensorFlow's threads.
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, initializer=_use_one_thread) as pool:
        yield pool.imap(draw, orders)


def _use_one_thread() -> None:
    cv2.setNumThreads(1)


def _draw_person(order: Order) -> SyntheticSamples:
    person = draw_subject([order.seed, order.subject])
    rng = np.random.default_rng([order.seed, order.subject, 1])
    head_deg = spread(rng, order.heads, HEAD_PITCH_RANGE_DEG, HEAD_YAW_RANGE_DEG)
    eyes: list[RenderedEye] = []
    flows = []
    for side in SIDES:
        for number, head in enumerate(head_deg):
            light = draw_light([order.seed, order.subject, 3, number])
            lit = dataclasses.replace(person, light=light)
            own = np.random.default_rng([order.seed, order.subject, 4, number])
            closure = _draw_closure(own)
            roll_deg = float(HEAD_ROLL_DEG * own.standard_normal())
            gazes = [
                Gaze.from_array(gaze)
                for gaze in spread(rng, order.per_group, PITCH_RANGE_DEG, YAW_RANGE_DEG)
            ]
            crop = Crop(
                gaze=gazes[int(own.integers(len(gazes)))],
                seed=[order.seed, order.subject, 5, len(eyes)],
            )
            group = [
                render_eye(
                    lit if side == "right" else lit.other_eye(),
                    gaze=gaze,
                    head_pose=Gaze.from_array(head),
                    side=side,
                    seed=[order.seed, order.subject, 2, len(eyes) + index],
                    roll_deg=roll_deg,
                    closure=closure,
                    crop=crop,
                )
                for index, gaze in enumerate(gazes)
            ]
            eyes += group
            if order.with_flow:
                flows.append(_flows_within(group))
    return samples_of(eyes, order.subject, flows=np.stack(flows) if flows else None)


def samples_of(
    eyes: Sequence[RenderedEye], subject: int, *, flows: NDArray[np.int8] | None = None
) -> SyntheticSamples:
    """The pictures of one person.

    Args:
        eyes: as drawn.
        subject: number of the person.
        flows: see `SyntheticSamples`.
    """
    return SyntheticSamples(
        images=np.stack([eye.image for eye in eyes]),
        gaze_deg=np.stack([eye.gaze.array() for eye in eyes]),
        head_deg=np.stack([eye.head_pose.array() for eye in eyes]),
        side=np.asarray([SIDES.index(eye.side) for eye in eyes], np.int8),
        subject=np.full(len(eyes), subject, np.int32),
        closure=np.asarray([eye.closure for eye in eyes], np.float32),
        landmarks=np.stack([eye.landmarks() for eye in eyes]),
        lid_region=np.stack([eye.lid_region() for eye in eyes]),
        state=np.stack([eye_state(eye) for eye in eyes]),
        flows=flows,
    )


def _draw_closure(rng: np.random.Generator) -> float:
    return float(rng.uniform(*HALF_CLOSED_RANGE)) if rng.uniform() < HALF_CLOSED_SHARE else 0.0


def _flows_within(group: Sequence[RenderedEye]) -> NDArray[np.int8]:
    """[P, P, H, W, 2] codes from each picture of a group to each other one."""
    codes = _room_for_flows(1, len(group))[0]
    for i, source in enumerate(group):
        for j, target in enumerate(group):
            found = flow_between(source, target, edges=False)
            codes[i, j] = flow_codes(found.flow, found.seen)
    return codes


def spread(
    rng: np.random.Generator, count: int, pitch_range_deg: float, yaw_range_deg: float
) -> NDArray[np.float32]:
    """[count, 2] (pitch, yaw), uniform in the ranges, and spread out over the yaws.

    One yaw falls into each of `count` equal strips, so that a small group holds
    far and near pairs alike.
    """
    strips = (rng.permutation(count) + rng.uniform(size=count)) / count
    pitch = rng.uniform(-pitch_range_deg, pitch_range_deg, count)
    return np.stack([pitch, yaw_range_deg * (2 * strips - 1)], axis=1).astype(np.float32)
