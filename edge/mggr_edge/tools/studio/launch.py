"""`mggr-edge studio`: what its options ask for, put together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from mggr_edge.common.addresses import file_to_write, without_secrets
from mggr_edge.common.stopping import stopped_by_signals
from mggr_edge.common.user_folders import NO_HOME
from mggr_edge.errors import UsageError
from mggr_edge.media.files.looped import FOR_EVER
from mggr_edge.media.live.address import LiveAddress, live_address
from mggr_edge.media.live.camera_format import AS_IT_COMES, PictureFormat
from mggr_edge.media.live.file_playback import shown_file
from mggr_edge.models.bundle import Bundle
from mggr_edge.runs.profile import NO_PROFILE, Profile, chosen_profile, profile_path, read_profile
from mggr_edge.tools.studio.routes import import_bottle, studio_app
from mggr_edge.tools.studio.server import PageServer
from mggr_edge.tools.studio.session import Session, open_session

_LOOK_S = 0.1
"""How often is looked whether it shall end."""


def run_studio(
    source: str,
    *,
    model: str = "default",
    port: int = 8080,
    profile: str | None = None,
    wanted: PictureFormat = AS_IT_COMES,
    say: Callable[[str], None],
) -> None:
    """Serves the page until SIGINT or SIGTERM comes.

    Args:
        source: a camera, a stream, a video file or a picture.
        model: name or path of a bundle.
        port: on 127.0.0.1; 0 for any that is free.
        profile: file of a profile, which calibrating writes if it is not there; "none" for none;
            None for the user's own, where the source is a camera of this machine.
        wanted: how the source's pictures are wanted.
        say: takes where the page is, and which profile is used.

    Raises:
        MissingPackageError: bottle is not installed, or what the source is read with.
        StreamError: the port is in use, or no such file.
        UsageError: no source, or no profile of this model.
        BundleError: see `Bundle.open`.
    """
    # Mistakes first: models take a moment to load.
    import_bottle()
    address = _address(source, wanted)
    written = _written_profile(address, profile, say)
    stop = threading.Event()
    with stopped_by_signals(stop), PageServer(port) as server, Bundle.open(model) as bundle:
        known = _profile(address, profile, bundle)
        if known is not None:
            say(f"with the profile {profile_path(profile)}; --profile {NO_PROFILE} leaves it out")
        session = Session(
            address,
            bundle,
            wanted=wanted,
            profile=known,
            profile_path=written,
            stop=stop,
            say=say,
        )
        with open_session(session), server.serving(studio_app(session)):
            say(f"open {server.url} in a browser on this machine; Ctrl-C ends it")
            # Again and again: a signal that another thread receives does not wake this one.
            while not session.stop.wait(_LOOK_S):
                pass


def is_camera(address: LiveAddress) -> bool:
    """Whether somebody may sit before it."""
    return address.is_own_camera or address.scheme == "rtsp"


def _address(source: str, wanted: PictureFormat) -> LiveAddress:
    address = live_address(source)
    if address is not None:
        return address
    if wanted != AS_IT_COMES:
        raise UsageError(f"{without_secrets(source)} is no camera; leave out --input-...")
    return shown_file(source, loops=FOR_EVER)


def _written_profile(
    address: LiveAddress, named: str | None, say: Callable[[str], None]
) -> Path | None:
    """The file that calibrating writes; None where there is nobody or no place for it."""
    if not is_camera(address):
        return None
    if named not in (None, NO_PROFILE):
        return file_to_write("--profile", str(named))
    path = profile_path(named)
    if path is None:
        say(f"calibrating is not possible, {NO_HOME}; set HOME, or name --profile FILE")
    return path


def _profile(address: LiveAddress, named: str | None, bundle: Bundle) -> Profile | None:
    """What calibrating found; with a camera, it writes a file that is not there yet."""
    path = chosen_profile(named, own_camera=address.is_own_camera)
    if path is None or (is_camera(address) and not path.exists()):
        return None
    return read_profile(path, bundle.contract)
