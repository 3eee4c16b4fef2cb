"""Config of a service with one or more cameras: a TOML file.

The help of `mggr-edge service` contains an example. The keys are the names of the options of
`mggr-edge run` without the leading dashes. The keys of a camera and of the top level are the fields
of `CameraConfig` and `ServiceConfig`. Relative paths are relative to the working directory, as on
the command line.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mggr_edge.common.addresses import output_address, redact_credentials, served_at
from mggr_edge.common.schema import read
from mggr_edge.errors import ConfigError, MggrError, MissingPackageError
from mggr_edge.media.live.address import CameraFormat, Flip, live_address
from mggr_edge.media.live.cameras import Controls
from mggr_edge.media.live.sinks import is_window, live_output
from mggr_edge.runs.options import RunOptions
from mggr_edge.runs.service.load_shedding import HOT_C
from mggr_edge.runs.service.supervisor import ServiceOptions

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LARGEST_BYTES = 1_000_000
_PORTS = range(1, 65_536)


@dataclass(frozen=True)
class CameraConfig:
    """One camera of a service. `mggr-edge run --help` describes the options.

    Attributes:
        name: name of the camera in the log, the metrics and the health.
        input: INPUT, a camera or a stream.
        output: OUTPUT. A recording needs `segment`, because a service may restart.
    """

    name: str
    input: str
    output: str
    model: str | None = None
    target: str = "camera"
    follow: str | None = None
    look_away: bool = False
    strength: float = 1.0
    max_faces: int = 4
    profile: str | None = None
    auto_calibrate: bool = False
    estimate_only: bool = False
    mark: bool = False
    overlay: bool = False
    metrics: str | None = None
    segment: float | None = None
    keep_hours: float | None = None
    keep_gb: float | None = None
    input_width: int | None = None
    input_height: int | None = None
    input_rate: int | None = None
    input_flip: Flip = "none"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name is {self.name!r}, expected 1 to 64 letters, digits, '_', '.' and '-'"
            )
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength is {self.strength:g}, expected 0 to 1")
        if self.max_faces < 1:
            raise ValueError(f"max-faces is {self.max_faces}, expected at least 1")
        for name in ("segment", "keep_hours", "keep_gb", "input_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                key = name.replace("_", "-")
                raise ValueError(f"{key} is {value:g}, expected a finite number above 0")

    def options(self, service: ServiceConfig) -> RunOptions:
        """Return the options of the run of this camera.

        Raises:
            UsageError: two options cannot be combined, or a value is invalid.
        """
        return RunOptions(
            model=service.model_of(self),
            profile=self.profile,
            camera_format=CameraFormat(
                self.input_width, self.input_height, self.input_rate, self.input_flip
            ),
            target=self.target,
            follow=self.follow,
            look_away=self.look_away,
            strength=self.strength,
            max_faces=self.max_faces,
            estimate_only=self.estimate_only,
            mark=self.mark,
            overlay=self.overlay,
            metrics=self.metrics,
            auto_calibrate=self.auto_calibrate,
            segment_minutes=self.segment,
            keep_hours=self.keep_hours,
            keep_gb=self.keep_gb,
            service=ServiceOptions(
                reconnect=True, step_down=service.step_down, hot_c=service.max_temperature
            ),
        )


@dataclass(frozen=True)
class ServiceConfig:
    """Config of a service.

    Attributes:
        camera: cameras, at least one.
        model: bundle of all cameras without their own `model`.
        prometheus: port of the metrics and of the health. `None` serves neither.
        max_temperature: lowest temperature in degrees Celsius at which the machine counts as hot.
        step_down: whether to reduce the work if the machine is overloaded or hot.
    """

    camera: tuple[CameraConfig, ...]
    model: str = "default"
    prometheus: int | None = None
    max_temperature: float = HOT_C
    step_down: bool = True

    def __post_init__(self) -> None:
        if not self.camera:
            raise ValueError("there is no [[camera]], expected at least one")
        names = Counter(camera.name for camera in self.camera)
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"several cameras have the name {twice[0]!r}; choose different names")
        if self.prometheus is not None and self.prometheus not in _PORTS:
            raise ValueError(f"prometheus is {self.prometheus}, expected a port from 1 to 65535")
        if not self.max_temperature >= 30:
            raise ValueError(f"max-temperature is {self.max_temperature:g}, expected at least 30")

    def model_of(self, camera: CameraConfig) -> str:
        """Return the name or the path of the bundle of a camera."""
        return camera.model or self.model

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cameras."""
        return tuple(camera.name for camera in self.camera)


def read_service_config(path: Path) -> ServiceConfig:
    """Read and check the config of a service.

    The check includes all addresses and combinations of options, but opens no camera and no model.

    Raises:
        ConfigError: the file cannot be read, or it is not valid. The message contains the key.
        MissingPackageError: the package tomli is not installed (Python 3.10 only).
    """
    data = _parsed(path)
    tables = data.get("camera")
    cameras = [_underscored(one) for one in tables] if isinstance(tables, list) else tables
    try:
        config = read(ServiceConfig, {**_underscored(data), "camera": cameras or ()})
        outputs: dict[str, str] = {}
        for camera in config.camera:
            _check(camera, config, outputs)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}", code=error.code, **error.fields) from error
    return config


def _parsed(path: Path) -> dict[str, Any]:
    try:
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
    except ModuleNotFoundError as error:
        raise MissingPackageError("tomli", "edge") from error
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
        if len(content) > _LARGEST_BYTES:
            raise ValueError(f"it has more than {_LARGEST_BYTES} bytes")
        return tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        code = "service-config-not-readable"
    except ValueError as error:  # wrong TOML, or not UTF-8
        reason, code = str(error), "service-config-not-toml"
    raise ConfigError(f"{path} cannot be read: {reason}", code=code, path=path, reason=reason)


def _underscored(table: object) -> Any:
    """Return a table with the names of the dataclass fields, which contain no hyphen."""
    if not isinstance(table, Mapping):
        return table
    return {key.replace("-", "_"): value for key, value in table.items()}


def _check(camera: CameraConfig, service: ServiceConfig, outputs: dict[str, str]) -> None:
    """Check one camera.

    Args:
        camera: config of the camera.
        service: config of the service.
        outputs: place of each output -> name of its camera. The function adds this camera.

    Raises:
        ConfigError: an address or a combination of options is invalid.
    """
    try:
        address = live_address(camera.input)
        if address is None:
            shown = redact_credentials(camera.input)
            raise ValueError(f"input {shown} is not a camera or a stream")
        options = camera.options(service)
        options.check_source(camera.input, address)
        options.check_metrics(camera.input, camera.output)
        options.target_source()
        if is_window(camera.output):
            raise ValueError("output is a window, and a service opens no windows")
        live_output(
            camera.output,
            force=True,  # a service never replaces a file; see the next check
            segment_s=options.segment_s,
            retention=options.retention,
            controls=Controls(),
        )
        place = output_address(camera.output)
        if place.scheme == "file" and camera.segment is None:
            raise ValueError("a recording of a service needs segment, for example segment = 60")
    except (MggrError, ValueError) as error:
        raise _wrong(camera, str(error)) from error
    key = f"{place.scheme}:{place.place}"
    if place.scheme == "file":
        key = f"file:{Path(place.place).absolute()}"
    elif place.scheme == "rtsp":
        key = f"port:{served_at(place).port}"
    elif place.scheme == "null":
        return
    if key in outputs:
        raise _wrong(
            camera,
            f"the output or its port is also that of the camera {outputs[key]}; choose another one",
        )
    outputs[key] = camera.name


def _wrong(camera: CameraConfig, reason: str) -> ConfigError:
    return ConfigError(
        f"camera {camera.name}: {reason}",
        code="service-camera-invalid",
        camera=camera.name,
        reason=reason,
    )
