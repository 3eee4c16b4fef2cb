"""Synthetic training patches in memory.

A patch is a small image of one eye. All patches of one person, one side (left or right eye) and one
head pose form a group. A group also has one illumination and one closure of the lids. The images of
a group differ only in the gaze and in the camera noise. Any two images of a group can be a training
pair of a redirector (a network that changes the gaze in images).

Some groups show half-closed eyes. From these groups, a redirector learns to keep half-closed eyes
half closed.
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
"""Sides of an eye. `SyntheticSamples.side` contains indices of this tuple."""

PITCH_RANGE_DEG = 15.0
YAW_RANGE_DEG = 20.0
HEAD_PITCH_RANGE_DEG = 15.0
HEAD_YAW_RANGE_DEG = 30.0
HEAD_ROLL_DEG = 2.5
"""Standard deviation of the head roll, in degrees."""

HALF_CLOSED_SHARE = 0.15
HALF_CLOSED_RANGE = (0.2, 0.65)
"""Closures of the lids: the fraction of groups with half-closed eyes, and the range of closures.

The other groups show eyes that are as open as is normal for the gaze.
"""

Progress = Callable[[int, int], None]
"""Callback for the progress. Its arguments are the numbers (done, total) of images."""


@dataclass(frozen=True)
class SyntheticSamples:
    """Synthetic patches and their labels. The patches are not mirrored.

    Attributes:
        images: [N, 64, 64, 3] uint8 RGB.
        gaze_deg: [N, 2] float32 (pitch, yaw) of the gaze, degrees.
        head_deg: [N, 2] float32 (pitch, yaw) of the head, degrees. All images of a group have the
            same head pose.
        side: [N] int8 side of the eye: 0 for the subject's right eye, 1 for the left eye.
        subject: [N] int32 number of the subject. The first number is 0.
        closure: [N] float32 closure of the lids. 0 means that the eye is as open as normal for this
            gaze. 1 means closed. The images of a group have the same closure. Only in samples of
            `closing.draw_closing_eyes`, the closure varies within a group.
        landmarks: [N, 6, 2] float32 points in pixels; see `rendered.LANDMARKS`.
        lid_region: [N, 16, 2] float32 points in pixels; see `rendered.lid_region`.
        state: [N, 3] float32 eye state; see `rendered.eye_state`.
        flows: [G, P, P, 64, 64, 2] int8 `flow_codes` for G groups of P images. Entry [g, i, j] is
            the backward flow from image j to image i of group g. The groups are in the order of the
            images. `None` if no flow was requested.
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
    """Parameters for rendering all images of one person.

    Attributes:
        subject: number of the person.
        per_group: number of images for each side and head pose.
        heads: number of head poses for each side.
        seed: seed of all random numbers.
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
    """Render `subjects * 2 * heads * per_group` patches.

    Equal arguments always give equal results. The number of workers changes only the duration. The
    images of a person do not depend on the number of people.

    Args:
        subjects: number of people.
        per_group: number of images for each person, side and head pose. All images of a group have
            the same crop; see `render.Crop`.
        seed: seed of all random numbers.
        heads: number of head poses for each person and side. Each head pose has its own
            illumination.
        with_flow: True to also compute the exact flow between any two images of a group.
        workers: number of processes. Python starts these processes with the method `spawn`.
            Therefore a script must call this function below `if __name__ == "__main__"`.
        progress: called after each person.

    Returns:
        The patches, sorted by person.

    Raises:
        ValueError: a count is below 1, or the seed is negative.
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
    """Render people one after the other, or in several processes.

    Args:
        draw: function that renders one person. The function must be defined at module level, so
            that other processes can import it.
        orders: parameters for at least one person. All people must have the same number of images.
        workers: number of processes.
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
    # The method `fork` is not safe here, because TensorFlow threads may run in the calling process.
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
    """Return the samples of one person.

    Args:
        eyes: rendered eyes of the person.
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
    """Return the codes [P, P, H, W, 2] of the flow between any two of the P images of a group."""
    codes = _room_for_flows(1, len(group))[0]
    for i, source in enumerate(group):
        for j, target in enumerate(group):
            found = flow_between(source, target, edges=False)
            codes[i, j] = flow_codes(found.flow, found.seen)
    return codes


def spread(
    rng: np.random.Generator, count: int, pitch_range_deg: float, yaw_range_deg: float
) -> NDArray[np.float32]:
    """Choose angles (pitch, yaw) at random, with evenly distributed yaws.

    Each angle has a uniform distribution between minus and plus the given range, in degrees. The
    range of the yaw is divided into `count` equal intervals, and each interval contains one yaw.
    Therefore even a small group has pairs with large yaw differences and pairs with small yaw
    differences.

    Returns:
        [count, 2] angles, degrees.
    """
    strips = (rng.permutation(count) + rng.uniform(size=count)) / count
    pitch = rng.uniform(-pitch_range_deg, pitch_range_deg, count)
    return np.stack([pitch, yaw_range_deg * (2 * strips - 1)], axis=1).astype(np.float32)
