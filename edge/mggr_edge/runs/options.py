"""Options of the commands that read a source, and checks of these options."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from mggr_edge.common.addresses import (
    file_to_write,
    input_address,
    output_address,
    redact_credentials,
)
from mggr_edge.errors import UsageError
from mggr_edge.media.files.credentials import Signing
from mggr_edge.media.files.marks import ESTIMATED, REDIRECTED
from mggr_edge.media.live.address import ANY_FORMAT, CameraFormat, LiveAddress
from mggr_edge.media.live.retention import Retention
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.gaze_correction import NO_CORRECTION, GazeCorrection
from mggr_edge.pipeline.targets import (
    CAMERA,
    FixedTarget,
    Glances,
    TargetSource,
    parse_target,
    read_target_track,
)
from mggr_edge.runs.profile import NO_PROFILE, chosen_profile, read_profile
from mggr_edge.runs.service.supervisor import DEFAULT_SERVICE, ServiceOptions


@dataclass(frozen=True)
class SourceOptions:
    """Options that `run`, `calibrate` and `studio` share.

    Attributes:
        model: name or path of a bundle.
        profile: path of a calibration profile. The text "none" uses no profile. If the value is
            `None` and the source is a camera of this machine, the user's own profile is used.
        camera_format: frame size, rate and orientation to request from a camera.
    """

    model: str = "default"
    profile: str | None = None
    camera_format: CameraFormat = ANY_FORMAT

    def check_source(self, source: str, address: LiveAddress | None) -> None:
        """Reject camera options for a file.

        Args:
            source: path or address, as the user typed it.
            address: address of a live source; `None` for a file.

        Raises:
            UsageError: an option does not apply to this source.
        """
        if address is None and self.camera_format != ANY_FORMAT:
            named = redact_credentials(source)
            raise UsageError(
                f"{named} is not a live source; omit --input-width, --input-height, --input-rate "
                "and --input-flip",
                code="camera-options-for-file",
                path=named,
            )


@dataclass(frozen=True)
class RunOptions(SourceOptions):
    """Options of `mggr-edge run`; the help of that command describes each option.

    Raises:
        UsageError: two options cannot be combined, or the target is invalid.
    """

    target: str = "camera"
    follow: str | None = None
    look_away: bool = False
    strength: float = 1.0
    max_faces: int = 4
    estimate_only: bool = False
    mark: bool = False
    overlay: bool = False
    compare: bool = False
    metrics: str | None = None
    stats: bool = False
    stats_every_s: float | None = None
    headless: bool = False
    auto_calibrate: bool = False
    force: bool = False
    loops: int = 0
    segment_minutes: float | None = None
    keep_hours: float | None = None
    keep_gb: float | None = None
    sign: str | None = None
    certificate: str | None = None
    service: ServiceOptions = DEFAULT_SERVICE

    def __post_init__(self) -> None:
        if self.segment_minutes is None and (self.keep_hours or self.keep_gb):
            raise UsageError(
                "--keep-hours and --keep-gb delete files of a recording with --segment; add "
                "--segment, or omit them",
                code="keep-without-segment",
                keep_hours=self.keep_hours,
                keep_gb=self.keep_gb,
            )
        if (self.sign is None) != (self.certificate is None):
            raise UsageError(
                "--sign and --certificate need each other; pass both, or omit both",
                code="sign-without-certificate",
                sign=self.sign,
                certificate=self.certificate,
            )
        has_target = self.look_away or parse_target(self.target) != CAMERA
        if self.follow is not None and has_target:
            raise UsageError(
                "--follow sets the target at all times; omit --target and --look-away",
                code="follow-with-target",
                follow=self.follow,
            )
        changes = (
            has_target
            or self.follow is not None
            or self.strength != 1.0
            or self.mark
            or self.compare
        )
        if self.estimate_only and changes:
            raise UsageError(
                "--estimate-only redirects no eyes; omit --target, --follow, --look-away, "
                "--strength, --mark and --compare",
                code="estimate-only-with-changes",
            )

    def check_source(self, source: str, address: LiveAddress | None) -> None:
        """Reject options that do not apply to a source; see `SourceOptions.check_source`."""
        super().check_source(source, address)
        named = redact_credentials(source)
        if address is not None and self.loops:
            raise UsageError(
                f"{named} is a live source and cannot be repeated; omit --input-loop",
                code="loop-for-live-source",
                address=named,
            )
        if address is not None and self.sign is not None:
            raise UsageError(
                f"{named} is a live source, and --sign is for files only; omit --sign and "
                "--certificate",
                code="sign-for-live-source",
                address=named,
            )
        if address is None and self.service.reconnect:
            raise UsageError(
                f"{named} is a file, and --reconnect is for live sources only; omit --reconnect",
                code="reconnect-for-file",
                path=named,
            )
        if address is None and self.service.prometheus_port is not None:
            raise UsageError(
                f"{named} is a file, and --prometheus is for live sources only; omit --prometheus",
                code="prometheus-for-file",
                path=named,
            )

    def check_metrics(self, source: str, output: str | None) -> None:
        """Reject a metrics file that is also an input or the output of this run.

        Raises:
            UsageError: the metrics file is also an input or the output, or the metrics file is a
                folder.
        """
        if self.metrics is None:
            return
        file_to_write("--metrics", self.metrics)
        addresses = [input_address(source)]
        addresses += [] if output is None else [output_address(output)]
        others = [address.place for address in addresses if address.scheme == "file"]
        others += [text for text in (self.follow, self.model) if text]
        # Use realpath, because Path.resolve raises an error for a link that points to itself.
        if os.path.realpath(self.metrics) in [os.path.realpath(other) for other in others]:
            raise UsageError(
                f"--metrics {self.metrics} is also an input or the output of this run; choose "
                "another file",
                code="metrics-file-in-use",
                path=self.metrics,
            )

    @property
    def writes_nothing_unnamed(self) -> bool:
        """True if no pixel can change. In this case, only a named OUTPUT is written."""
        return self.estimate_only and not self.overlay

    @property
    def initial_strength(self) -> float:
        """Strength at the start of the run, in [0, 1]; 0 if gazes are only estimated."""
        return 0.0 if self.estimate_only else self.strength

    @property
    def comment(self) -> str:
        """Comment in the metadata of written videos."""
        return ESTIMATED if self.initial_strength == 0.0 else REDIRECTED

    def signing(self) -> Signing | None:
        """Return the key and the certificates that sign output files; `None` without `--sign`.

        Raises:
            UsageError: a file cannot be read, or the key and the certificates do not fit.
            MissingPackageError: c2pa-python is not installed.
        """
        if self.sign is None or self.certificate is None:
            return None
        return Signing.open(self.sign, self.certificate)

    @property
    def segment_s(self) -> float | None:
        """Duration in seconds of each file of a segmented recording; `None` for a single file."""
        return None if self.segment_minutes is None else 60 * self.segment_minutes

    @property
    def retention(self) -> Retention:
        """Limits on the files of a segmented recording."""
        return Retention(
            None if self.keep_hours is None else 3600 * self.keep_hours,
            None if self.keep_gb is None else 1e9 * self.keep_gb,
        )

    def target_source(self) -> TargetSource:
        """Return the target of the gaze as a function of time.

        Raises:
            UsageError: the text of the target is invalid.
            DataError: the file that `--follow` names cannot be read or is invalid.
        """
        if self.follow is not None:
            return read_target_track(self.follow)
        target = parse_target(self.target)
        return Glances(target) if self.look_away else FixedTarget(target)

    def correction(
        self, address: LiveAddress | None, bundle: Bundle, *, notify: Callable[[str], None]
    ) -> GazeCorrection:
        """Return the gaze correction of the selected profile.

        If no profile is named, the user's own profile is used for cameras of this machine, and the
        gazes of other sources are not corrected.

        Raises:
            UsageError: the profile is missing or damaged, or belongs to another model.
        """
        path = chosen_profile(
            self.profile, own_camera=address is not None and address.is_own_camera
        )
        if path is None:
            return NO_CORRECTION
        if self.profile is None:
            notify(f"using the profile {path}; to use no profile, pass --profile {NO_PROFILE}")
        return read_profile(path, bundle.contract).correction
