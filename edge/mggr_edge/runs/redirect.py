"""Run `mggr-edge run`: open the input and the output, and process the frames between them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mggr_edge.common.addresses import redact_credentials
from mggr_edge.common.progress import Progress
from mggr_edge.common.timing import StageClock
from mggr_edge.errors import UsageError
from mggr_edge.media.files.credentials import Signing
from mggr_edge.media.files.paths import NOWHERE
from mggr_edge.media.live.address import LiveAddress, live_address
from mggr_edge.media.live.cameras import KEYS, Controls
from mggr_edge.media.live.file_playback import shown_file
from mggr_edge.media.live.sinks import LiveOutput, is_shown, is_window, live_output
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.runs.chain import FrameChain, open_chain
from mggr_edge.runs.file_run import run
from mggr_edge.runs.live_run import run_live
from mggr_edge.runs.options import RunOptions
from mggr_edge.runs.service.supervisor import ALONE, Host, Notifier
from mggr_edge.runs.summary import RunSummary


def redirect(
    source: str,
    output: str | None,
    options: RunOptions,
    *,
    progress: Progress,
    notify: Callable[[str], None],
    host: Host = ALONE,
) -> RunSummary:
    """Redirect the gaze in a file, a folder or a live source, and write the result to an output.

    Args:
        source: path or address, as the user typed it.
        output: path or address, as the user typed it. `None` derives the name from the source.
        options: options of the run.
        progress: function that shows the progress with files.
        notify: function that receives messages.
        host: parts of a live run that the process provides.

    Raises:
        MggrError: see `file_run.run`, `live_run.run_live`, `Bundle.open` and `open_chain`.
    """
    # Check the arguments first, because loading models is slow.
    if (output is None and options.writes_nothing_unnamed) or (
        is_window(output) and options.headless
    ):
        output = NOWHERE
    address = live_address(source)
    options.check_source(source, address)
    if address is None and is_shown(output):
        address = shown_file(source, loops=options.loops)
    if address is None and options.segment_minutes is not None:
        named = redact_credentials(source)
        raise UsageError(
            f"{named} is a file, and --segment is for recordings of live sources only; omit "
            "--segment",
            code="segment-for-file",
            path=named,
        )
    options.check_metrics(source, output)
    controls = Controls(
        strength=options.initial_strength,
        overlay=options.overlay,
        stop=host.stop or threading.Event(),
    )
    sink = None
    if address is not None:
        sink = live_output(
            output,
            comment=options.comment,
            force=options.force,
            segment_s=options.segment_s,
            retention=options.retention,
            controls=controls,
        )
    targets = options.target_source()
    signing = options.signing()
    clock = StageClock()
    bundle = host.open_bundle(options.model)
    if sink is not None:
        # Load the models here. Errors and loading times then do not occur in the frame loop.
        bundle.try_out(coarse=options.service.step_down)
    redirector = Redirector(
        bundle,
        correction=options.correction(address, bundle, notify=notify),
        strength=controls.strength,
        max_faces=options.max_faces,
        stages=clock,
    )
    if is_window(output):
        notify(KEYS)
    with open_chain(
        options,
        redirector,
        targets,
        address=address,
        is_live=sink is not None,
        in_window=is_window(output),
        controls=controls,
        clock=clock,
        notify=notify,
        host=host,
    ) as chain:
        if address is not None and sink is not None:
            summary = _run_live(
                chain, address, sink, options, controls, host.notifier, notify=notify
            )
        else:
            summary = run(
                source,
                output,
                process=chain.process,
                columns=_columns(options),
                stages=clock,
                comment=options.comment,
                force=options.force,
                loops=options.loops,
                progress=progress,
                reset=chain.reset,
                signing=None if signing is None else _of_model(signing, bundle, options),
            )
    if options.stats or options.stats_every_s is not None:
        notify(chain.stats())
    return replace(summary, notes=(*summary.notes, *chain.notes()))


def _run_live(
    chain: FrameChain,
    address: LiveAddress,
    sink: LiveOutput,
    options: RunOptions,
    controls: Controls,
    notifier: Notifier | None,
    *,
    notify: Callable[[str], None],
) -> RunSummary:
    supervisor = chain.supervisor
    assert supervisor is not None
    return run_live(
        address,
        sink,
        process=chain.process,
        columns=_columns(options),
        stages=chain.clock,
        camera_format=options.camera_format,
        stop=controls.stop,
        reconnect=options.service.reconnect,
        workload=supervisor.workload,
        counts=supervisor.counts,
        notifier=notifier,
        notify=notify,
    )


def _of_model(signing: Signing, bundle: Bundle, options: RunOptions) -> Signing:
    """Return the signing with the name and the checksum of the redirector."""
    redirector = bundle.contract.models["redirector"][0]
    return replace(signing, model=Path(options.model).name, model_sha256=redirector.sha256)


def _columns(options: RunOptions) -> int:
    """Return the number of frames that are side by side in the output."""
    return 2 if options.compare else 1
