"""Run a service: one thread for each camera, with shared models and fair load shedding.

The cameras share the loaded models, the processing time (`fair_turns`) and the level of work
(`shared_load`). If the run of a camera fails, the other cameras continue, and the run starts again
after a pause.

SIGHUP reloads the config. Cameras whose config did not change continue without interruption. If the
new config is invalid, an error is logged, and the current config stays in use. SIGTERM and SIGINT
end the service. All recordings are then complete.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from mggr_edge.common.process import stopped_by_signals
from mggr_edge.common.progress import no_progress
from mggr_edge.errors import MggrError, UsageError
from mggr_edge.runs.options import RunOptions
from mggr_edge.runs.redirect import redirect
from mggr_edge.runs.service.fair_turns import FairTurns
from mggr_edge.runs.service.load_shedding import hottest_c
from mggr_edge.runs.service.metrics import MetricsServer, open_endpoint
from mggr_edge.runs.service.shared_bundles import SharedBundles
from mggr_edge.runs.service.shared_load import SharedLoad
from mggr_edge.runs.service.supervisor import STUCK_S, Host, Systemd
from mggr_edge.runs.service_config import CameraConfig, ServiceConfig, read_service_config

_LOOK_S = 0.25
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_SOUND_S = 60.0
"""If a run lasted this time in seconds, the pause after its end is short again."""

_LEAVE_S = 10.0
"""Maximum time in seconds to wait for the end of a run. A driver that hangs may never return."""


_FIXED = ("prometheus", "max_temperature")
"""Keys of the config that cannot change during a run."""


class Report(Protocol):
    """Function that receives a message about the service or about one of its cameras."""

    def __call__(self, text: str, /, *, camera: str | None = None) -> None: ...


class CameraService:
    """Service with the cameras of a config file.

    Args:
        path: path of the config.
        note: receives messages.
        error: receives errors.
    """

    def __init__(self, path: Path, *, note: Report, error: Report) -> None:
        self._path, self._note, self._error = path, note, error
        self._config = read_service_config(path)
        self._bundles, self._turns = SharedBundles(), FairTurns()
        self._load = SharedLoad(
            temperature=hottest_c, notify=note, hot_c=self._config.max_temperature
        )
        self._cameras: dict[str, _Camera] = {}
        self._systemd = Systemd()

    def run(self) -> None:
        """Run until a signal ends the service.

        Raises:
            MggrError: a bundle cannot be loaded, or the port of the metrics is in use.
        """
        stop, reload = threading.Event(), threading.Event()
        with (
            stopped_by_signals(stop, reload=reload),
            self._endpoint() as metrics,
        ):
            for model in sorted({self._config.model_of(one) for one in self._config.camera}):
                # Report a wrong bundle now. The cameras open it again, from the disk's cache.
                with self._bundles.open(model) as bundle:
                    bundle.try_out(coarse=self._config.step_down)
            try:
                self._apply(self._config, metrics)
                self._systemd.ready()
                while not stop.wait(_LOOK_S):
                    if reload.is_set():
                        reload.clear()
                        self._systemd.reloading()
                        self._reload(metrics)
                        self._systemd.ready()
                    if all(camera.is_alive for camera in self._cameras.values()):
                        self._systemd.alive()
            finally:  # also after a second Ctrl-C, so that all recordings are complete
                self._systemd.stopping()
                self._end(tuple(self._cameras))

    def _endpoint(self) -> AbstractContextManager[MetricsServer | None]:
        if self._config.prometheus is None:
            return nullcontext()
        return open_endpoint(self._config.prometheus, self._config.names)

    def _reload(self, metrics: MetricsServer | None) -> None:
        try:
            config = read_service_config(self._path)
            for key in _FIXED:
                if getattr(config, key) != getattr(self._config, key):
                    named = key.replace("_", "-")
                    raise UsageError(
                        f"{self._path}: {named} has changed; restart the service",
                        code="service-needs-restart",
                        key=named,
                    )
        except MggrError as error:
            self._error(f"{error}; the current config stays in use")
            return
        changed = self._apply(config, metrics)
        self._note(f"{self._path} was loaded again: {changed}")

    def _apply(self, config: ServiceConfig, metrics: MetricsServer | None) -> str:
        """Start, restart and end cameras, so that they match a config.

        Returns:
            What changed, as text.
        """
        before = {name: camera.settings for name, camera in self._cameras.items()}
        wanted = {one.name: one for one in config.camera}
        after = {name: _settings(one, config) for name, one in wanted.items()}
        ending = [name for name in before if before[name] != after.get(name)]
        starting = [name for name in after if before.get(name) != after[name]]
        self._end(ending)
        self._config = config
        if metrics is not None:
            metrics.cameras = config.names
        for name in starting:
            camera = wanted[name]
            self._cameras[name] = _Camera(
                camera, config, self._host(camera, metrics), note=self._note, error=self._error
            )
            self._cameras[name].start()
        kept = len(after) - len(starting)
        removed = len([name for name in ending if name not in after])
        return f"{len(starting)} started, {removed} removed, {kept} unchanged"

    def _host(self, camera: CameraConfig, metrics: MetricsServer | None) -> Host:
        return Host(
            open_bundle=self._bundles.open,
            notifier=_Pulse(),
            turn=self._turns.join(),
            load=self._load,
            metrics=metrics,
            camera=camera.name,
        )

    def _end(self, names: list[str] | tuple[str, ...]) -> None:
        """End the runs of cameras, all at the same time."""
        for name in names:
            self._cameras[name].ask_to_stop()
        until_s = time.monotonic() + _LEAVE_S
        for name in names:
            if not self._cameras.pop(name).has_ended(within_s=until_s - time.monotonic()):
                self._error("the run does not end; the camera hangs in its driver", camera=name)


@dataclass
class _Pulse:
    """Receiver of the state of one camera's run."""

    beat_s: float = 0.0

    def ready(self) -> None:
        self.alive()

    def status(self, text: str) -> None:
        """Do nothing: the log contains the text."""

    def alive(self) -> None:
        self.beat_s = time.monotonic()

    def stopping(self) -> None:
        self.alive()


_Settings = tuple[str, str, RunOptions]
"""Input, output and options of a camera. If they change, its run must start again."""


def _settings(camera: CameraConfig, service: ServiceConfig) -> _Settings:
    return camera.input, camera.output, camera.options(service)


class _Camera:
    """One camera of a service, in its own thread."""

    def __init__(
        self,
        config: CameraConfig,
        service: ServiceConfig,
        host: Host,
        *,
        note: Report,
        error: Report,
    ) -> None:
        assert isinstance(host.notifier, _Pulse)
        self.settings = _settings(config, service)
        self._config, self._options, self._host = config, config.options(service), host
        self._pulse = host.notifier
        # A run sets its own event when it ends, so each run gets a new one.
        self._stop, self._stop_of_run = threading.Event(), threading.Event()
        self._note: Callable[[str], None] = partial(note, camera=config.name)
        self._error: Callable[[str], None] = partial(error, camera=config.name)
        self._is_pausing = False
        self._thread = threading.Thread(target=self._run, name=f"camera {config.name}", daemon=True)

    def start(self) -> None:
        self._pulse.alive()
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """True if the run makes progress, or if it failed and waits for its next start."""
        return self._is_pausing or time.monotonic() - self._pulse.beat_s < STUCK_S

    def ask_to_stop(self) -> None:
        self._stop.set()
        self._stop_of_run.set()

    def has_ended(self, *, within_s: float) -> bool:
        """Wait for the end of the run, and return whether it has ended."""
        self._thread.join(max(within_s, 0.0))
        return not self._thread.is_alive()

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stop.is_set():
            began_s = time.monotonic()
            self._run_once()
            if self._stop.is_set():
                return
            lasted_s = time.monotonic() - began_s
            pause_s = _FIRST_PAUSE_S if lasted_s > _SOUND_S else pause_s
            self._note(f"starts again in {pause_s:g} s")
            self._is_pausing = True
            self._stop.wait(pause_s)
            self._pulse.alive()
            self._is_pausing = False
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _run_once(self) -> None:
        self._stop_of_run = threading.Event()
        if self._stop.is_set():
            return
        try:
            summary = redirect(
                self._config.input,
                self._config.output,
                self._options,
                progress=no_progress,
                notify=self._note,
                host=replace(self._host, stop=self._stop_of_run),
            )
        except MggrError as error:
            self._error(str(error))
        except Exception:  # noqa: BLE001 - an error of one camera must not end the others
            self._error(traceback.format_exc())
        else:
            self._note(summary.in_words())
            if summary.lost is not None:
                self._error(summary.lost)
