"""Options of every command that reads a camera."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

_FLIPS = ["none", "rotate-90", "rotate-180", "rotate-270", "horizontal", "vertical"]

_OPTIONS = (
    click.option(
        "--input-width", type=click.IntRange(min=16), help="Asked of a camera, in pixels."
    ),
    click.option(
        "--input-height", type=click.IntRange(min=16), help="Asked of a camera, in pixels."
    ),
    click.option("--input-rate", type=click.IntRange(min=1), help="Asked of a camera, per second."),
    click.option(
        "--input-flip",
        type=click.Choice(_FLIPS),
        default="none",
        show_default=True,
        help="How a live picture is turned (clockwise) or mirrored first.",
    ),
)


def camera_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options `--input-...`; the command takes them as one, `wanted`."""

    @functools.wraps(command)
    def with_format(
        *,
        input_width: int | None,
        input_height: int | None,
        input_rate: int | None,
        input_flip: Any,
        **rest: Any,
    ) -> None:
        from mggr_edge.media.live.camera_format import PictureFormat

        command(wanted=PictureFormat(input_width, input_height, input_rate, input_flip), **rest)

    for option in reversed(_OPTIONS):
        with_format = option(with_format)
    return with_format
