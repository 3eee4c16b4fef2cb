"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from mggr_edge.common.cli_group import FiniteRange
from mggr_edge.runs.service.load_shedding import HOT_C

_FLIPS = ["none", "rotate-90", "rotate-180", "rotate-270", "horizontal", "vertical"]

_OPTIONS = (
    click.option(
        "--input-width",
        type=click.IntRange(min=16),
        help="Request this frame width from a camera, in pixels.",
    ),
    click.option(
        "--input-height",
        type=click.IntRange(min=16),
        help="Request this frame height from a camera, in pixels.",
    ),
    click.option(
        "--input-rate",
        type=click.IntRange(min=1),
        help="Request this frame rate from a camera, in frames per second.",
    ),
    click.option(
        "--input-flip",
        type=click.Choice(_FLIPS),
        default="none",
        show_default=True,
        help="Mirror the frames of a live source, or rotate them clockwise by these degrees, "
        "before the gaze is redirected.",
    ),
)


def camera_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options `--input-...` and pass them to the command as argument `camera_format`."""

    @functools.wraps(command)
    def with_format(
        *,
        input_width: int | None,
        input_height: int | None,
        input_rate: int | None,
        input_flip: Any,
        **rest: Any,
    ) -> None:
        from mggr_edge.media.live.address import CameraFormat

        wanted = CameraFormat(input_width, input_height, input_rate, input_flip)
        command(camera_format=wanted, **rest)

    for option in reversed(_OPTIONS):
        with_format = option(with_format)
    return with_format


_OPTIONS_SERVICE = (
    click.option(
        "--reconnect",
        is_flag=True,
        help="If the camera or stream is lost or not yet available, keep trying to open it.",
    ),
    click.option(
        "--no-step-down",
        is_flag=True,
        help="Turn off load shedding: do not reduce the work if the machine is overloaded or hot.",
    ),
    click.option(
        "--max-temperature",
        type=FiniteRange(min=30),
        default=HOT_C,
        show_default=True,
        metavar="CELSIUS",
        help="If the temperature reaches this value in degrees Celsius, reduce the work. The first "
        "step skips the fine branch, the network that adds details. The second step also "
        "processes at most every second frame.",
    ),
    click.option(
        "--prometheus",
        type=click.IntRange(1, 65535),
        metavar="PORT",
        help="Serve Prometheus metrics at http://127.0.0.1:PORT/metrics, and the health of the run "
        "at http://127.0.0.1:PORT/health (status 200, or 503 if no frame was written for 30 "
        "seconds).",
    ),
)


def service_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of live runs and pass them to the command as argument `service`."""

    @functools.wraps(command)
    def with_service(
        *,
        reconnect: bool,
        no_step_down: bool,
        max_temperature: float,
        prometheus: int | None,
        **rest: Any,
    ) -> None:
        from mggr_edge.runs.service.supervisor import ServiceOptions

        options = ServiceOptions(reconnect, not no_step_down, max_temperature, prometheus)
        command(service=options, **rest)

    for option in reversed(_OPTIONS_SERVICE):
        with_service = option(with_service)
    return with_service


log_format_option = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Format of messages on stderr. `json` writes one JSON object per line, with the keys "
    "time, level and message. In a service, the key camera is the name of the camera.",
)
