"""Options of a live picture that is left switched on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from mggr_edge.common.option_types import FiniteRange
from mggr_edge.runs.service.thermal import HOT_C

_OPTIONS = (
    click.option(
        "--reconnect",
        is_flag=True,
        help="Wait for a camera or stream that is lost or not yet there.",
    ),
    click.option(
        "--no-step-down",
        is_flag=True,
        help="Do all of the work of a live picture, however late it gets or hot the machine.",
    ),
    click.option(
        "--max-temperature",
        type=FiniteRange(min=30),
        default=HOT_C,
        show_default=True,
        metavar="CELSIUS",
        help="Above this temperature, reduce work: first skip the fine branch, then halve the "
        "processing rate.",
    ),
    click.option(
        "--prometheus",
        type=click.IntRange(1, 65535),
        metavar="PORT",
        help="Serve figures at http://127.0.0.1:PORT/metrics.",
    ),
)


def service_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options; the command takes them as one, `service`."""

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

    for option in reversed(_OPTIONS):
        with_service = option(with_service)
    return with_service
