"""Results of a quickstart, and the texts and tables of its report as HTML."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

from mggr_edge.models.bundle import Bundle
from mggr_export.quickstart import names
from mggr_export.quickstart.demo import Demo
from mggr_export.quickstart.names import BUNDLES
from mggr_export.quickstart.observe import Following, Line
from mggr_tf.config.stages import STAGES, Stage
from mggr_tf.runs.folder import RunFolder


@dataclass(frozen=True)
class Outcome:
    """Results of a finished quickstart.

    Attributes:
        folder: Output folder; its files have the names in `names`.
        minutes: Requested training time in minutes.
        run: Trained run.
        bundles: Exported bundles by precision; the "int8" bundle redirects the video.
        demo: Results of the redirection of the portrait.
        seconds: Duration of each part in seconds, by its description.
        first: Measurement by the iris model with the package's own weights, before fine-tuning;
            None if the training started from scratch.
    """

    folder: Path
    minutes: float
    run: RunFolder
    bundles: dict[str, Bundle]
    demo: Demo
    seconds: dict[str, float]
    first: Following | None = None

    def bundle_path(self, precision: str) -> Path:
        """Return the folder of a bundle."""
        return self.folder / BUNDLES[precision]

    def bundle_megabytes(self, precision: str) -> float:
        """Return the size of all files of a bundle, in 10^6 bytes."""
        files = self.bundle_path(precision).rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file()) / 1e6

    def sample_sheet(self) -> Path | None:
        """Return the last sample sheet of stage `joint`; None if there is none."""
        sheets = sorted((self.run.path / "sheets").glob("joint-*.png"))
        return sheets[-1] if sheets else None


@dataclass(frozen=True)
class Losses:
    """First and last loss in a stage's log."""

    first: float
    last: float


def losses_of(run: RunFolder, stage: Stage) -> Losses:
    """Read the first and last loss from a stage's log."""
    with open(run.path / "logs" / f"{stage}.csv", newline="", encoding="utf-8") as handle:
        values = [float(row["loss"]) for row in csv.DictReader(handle)]
    return Losses(values[0], values[-1])


def tiles(demo: Demo) -> str:
    """Return the four main metrics as `<div>`s of a `<dl>`."""
    stray = demo.stray_pixels
    verdict = (
        '<span class="good">none</span>' if stray == 0 else f'<span class="bad">{stray}</span>'
    )
    facts = (
        ("yaw, measured by the iris model", number(demo.iris.yaw.slope), "slope"),
        ("pitch, measured by the iris model", number(demo.iris.pitch.slope), "slope"),
        ("frames with both eyes fully redirected", str(demo.fully_redirected), f"of {demo.frames}"),
        (f"changed pixels outside the eye masks, all {demo.frames} frames", verdict, ""),
    )
    return "".join(
        f"<div><dt>{name}</dt><dd>{value} <small>{unit}</small></dd></div>"
        for name, value, unit in facts
    )


def following_rows(outcome: Outcome) -> str:
    """Return table rows with the fitted line for each measuring model and axis."""
    witnesses: list[tuple[str, Following]] = [
        ("iris model", outcome.demo.iris),
        ("run’s own estimator", outcome.demo.own),
    ]
    if outcome.first is not None:
        witnesses.insert(0, ("iris model, before fine-tuning", outcome.first))
    return "".join(
        _row([name, axis], _line_cells(line))
        for name, seen in witnesses
        for axis, line in (("yaw", seen.yaw), ("pitch", seen.pitch))
    )


def _line_cells(line: Line) -> list[str]:
    return [
        number(line.slope),
        number(line.offset_deg, digits=1, sign=True) + "°",
        number(line.correlation),
    ]


def stage_rows(outcome: Outcome) -> str:
    """Return table rows with steps, time and losses of each stage."""
    rows = []
    stages = outcome.run.record.stages
    for name in (name for name in STAGES if name in stages):
        stage = stages[name]
        if not outcome.run.logged(name, "loss"):
            continue  # not trained here: the stage's weights come from the package
        losses = losses_of(outcome.run, name)
        rows.append(
            _row(
                [name],
                [
                    str(stage.done),
                    f"{stage.seconds:.0f}",
                    number(losses.first, digits=4),
                    number(losses.last, digits=4),
                ],
            )
        )
    return "".join(rows)


def bundle_rows(outcome: Outcome) -> str:
    """Return table rows with the size and speed of each bundle."""
    return "".join(
        _row(
            [outcome.bundle_path(precision).name],
            [
                f"{outcome.bundle_megabytes(precision):.1f} MB",
                f"{timing.median_ms:.1f} ms",
                f"{timing.most_ms:.1f} ms",
            ],
        )
        for precision, timing in outcome.demo.timings.items()
    )


def parity_rows(outcome: Outcome) -> str:
    """Return table rows with the differences from Keras, by bundle, model and output."""
    return "".join(
        _row(
            [outcome.bundle_path(precision).name, model, parity.output],
            [
                f"{parity.max_abs:.2g}",
                f"{parity.mean_abs:.2g}",
                "equal" if parity.psnr_db is None else f"{parity.psnr_db:.1f} dB",
            ],
        )
        for precision, bundle in outcome.bundles.items()
        for model, formats in sorted(bundle.contract.models.items())
        for artifact in formats
        for parity in artifact.parity
    )


def time_rows(outcome: Outcome) -> str:
    """Return table rows with the duration of each part."""
    seconds = {**outcome.seconds, "total": sum(outcome.seconds.values())}
    return "".join(_row([name], [f"{spent:.0f} s"]) for name, spent in seconds.items())


def _row(words: Iterable[str], figures: Iterable[str]) -> str:
    first, *rest = words
    cells = [f'<th scope="row">{escape(first)}</th>']
    cells += [f"<td>{escape(word)}</td>" for word in rest]
    cells += [f'<td class="n">{escape(figure)}</td>' for figure in figures]
    return f"<tr>{''.join(cells)}</tr>"


def number(value: float, *, digits: int = 2, sign: bool = False) -> str:
    """Return a rounded number with a typographic minus sign, and without "-0.0"."""
    rounded = round(value, digits) + 0.0
    return f"{rounded:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def summary(outcome: Outcome) -> str:
    """Return the two sentences below the title."""
    data = outcome.run.record.data
    yaw = outcome.demo.iris.yaw
    trained = (
        "A redirector was trained from scratch"
        if outcome.first is None
        else "The package’s redirector was fine-tuned"
    )
    return (
        f"{trained} on {data.patches} synthetic eyes of {len(data.subjects)} synthetic people, "
        "exported for small devices, and applied frame by frame to a photograph that is not in "
        "the training data. Yaw of the redirected irises over target yaw: slope "
        f"{number(yaw.slope)}, correlation {number(yaw.correlation)}."
    )


def honest(outcome: Outcome) -> str:
    """Return paragraphs about the limited quality after such a short training."""
    before = outcome.demo.before
    return _paragraphs(
        _expectation(outcome),
        "The estimated gaze of the original photograph shows the accuracy of the estimator on real "
        "eyes. The person looks into the lens, that is, pitch 0° and yaw 0°; the estimate is "
        f"pitch {number(before.pitch_deg, digits=1, sign=True)}° and "
        f"yaw {number(before.yaw_deg, digits=1, sign=True)}°. The resolution of the photograph is "
        "also a limit: an eye is 18 pixels wide and was enlarged nearly four times.",
    )


def _expectation(outcome: Outcome) -> str:
    spent = minutes(outcome.minutes)
    if outcome.first is not None:
        return (
            f"The package’s weights were fine-tuned for {spent} on this machine. They were trained "
            "on synthetic eyes only, without photographs. This fine-tuning demonstrates that "
            "training can continue from them; it should neither improve nor reduce the quality "
            "much. For good results, train on real eyes; the adversarial loss in particular was "
            "designed for them."
        )
    return (
        f"All networks were trained from scratch for {spent} on this machine, on synthetic eyes "
        "only, without photographs. This is enough to check that all parts work together, but not "
        "enough for good quality. Typical faults are: smeared irises or irises with a second rim "
        "at large shifts, lids that hardly follow the vertical gaze, and an error of some degrees "
        "at the target “camera”. For good results, train for hours on real eyes; the adversarial "
        "loss in particular was designed for them."
    )


def witnesses(demo: Demo) -> str:
    """Return paragraphs about the two measuring models and their reliability."""
    return _paragraphs(
        "The <strong>iris model</strong> is MediaPipe’s; training does not use it. It detects the "
        "iris in every frame before and after redirection. The geometry of the eyeball converts "
        "the shift of the iris to degrees. The gaze before redirection is assumed to be exactly "
        "into the lens.",
        "The <strong>run’s own estimator</strong> (from the float bundle) is not independent: it "
        "is part of a loss in training, so a redirector may learn to exploit its errors. It was "
        "trained on the same synthetic eyes, so it is inaccurate on photographs. The mean gaze "
        f"error of the redirected eyes is {demo.own.mean_error_deg:.1f}° by this estimator and "
        f"{demo.iris.mean_error_deg:.1f}° by the iris model. For a reliable score, use a judge "
        "that was trained on photographs of other people: <code>mggr-tf evaluate</code>.",
        "The changed pixels were counted between the decoded frames and the redirected frames, "
        "before encoding.",
    )


def training_text(outcome: Outcome) -> str:
    """Return sentences about the training data and the order of the stages."""
    data = outcome.run.record.data
    return (
        f"Training data: {data.patches} synthetic patches of {len(data.subjects)} people. Held-out "
        f"people, shown in the sheet below: {len(data.held_out)}. {_order(outcome)} The number of "
        "steps was chosen from the measured speed, for "
        f"{minutes(outcome.minutes)} in total."
    )


def _order(outcome: Outcome) -> str:
    if outcome.first is not None:
        return (
            "The estimator and both branches start from the package’s weights; only the branches "
            "are fine-tuned."
        )
    return (
        "The estimator is trained first, then the coarse branch (warp), then both branches "
        "together."
    )


def bundle_text(outcome: Outcome) -> str:
    """Return sentences about the content of a bundle and the bundle used for the video."""
    estimator = outcome.bundles["int8"].contract.models["estimator"][0].precision
    stays = (
        ""
        if estimator == "int8"
        else " Its estimator stays float32, because the int8 file exceeded a limit."
    )
    return (
        "A bundle contains everything that a device needs: the networks, the face models, and the "
        "contract with their conventions. The clips above were made with the int8 bundle: its "
        f"convolutions are 8-bit, and its warp is float.{stays}"
    )


def commands(outcome: Outcome) -> str:
    """Return the commands for the next steps, with the paths of this run."""
    folder = outcome.folder.resolve()
    run, bundle = folder / names.RUN, outcome.bundle_path("int8").resolve()
    better = "runs/better"
    steps = (
        (
            "Train longer and on more synthetic people, starting from this run (without "
            "<code>--from</code>, training starts from scratch):",
            ["mggr-tf", "train", "--from", str(run), "--minutes", "30", "--out", better],
        ),
        (
            "Train on your own eye patches with file names as in the Columbia Gaze Data Set "
            "(check them first with <code>mggr-tf data check</code>):",
            ["mggr-tf", "train", "--data", "patches/", "--minutes", "30", "--out", "runs/mine"],
        ),
        ("Export for a device:", ["mggr-tf", "export", better, "--int8"]),
        (
            "Redirect a video, a picture or a folder of pictures, for example the clip above:",
            ["mggr-edge", "run", str(folder / names.PORTRAIT), "--model", str(bundle)]
            + ["--target", "0,10"],
        ),
        (
            "Redirect the gaze in your own video into the camera:",
            ["mggr-edge", "run", "clip.mp4", "--model", f"{better}/bundle-int8"]
            + ["--target", "camera"],
        ),
        ("Check this machine’s setup:", ["mggr-edge", "doctor"]),
    )
    return "".join(
        f"<p>{text}</p><pre tabindex='0'><code>{escape(shlex.join(command))}</code></pre>"
        for text, command in steps
    )


def chart_in_words(demo: Demo) -> str:
    """Return a text alternative to the chart, for readers who cannot see it."""
    return (
        "Chart of target gaze and measured gaze over time. Iris model: yaw slope "
        f"{demo.iris.yaw.slope:.2f}, pitch slope {demo.iris.pitch.slope:.2f}. Run’s estimator: yaw "
        f"slope {demo.own.yaw.slope:.2f}, pitch slope {demo.own.pitch.slope:.2f}."
    )


def _paragraphs(*texts: str) -> str:
    return "".join(f"<p>{text}</p>" for text in texts)


def minutes(count: float) -> str:
    """Return a number of minutes in words.

    Example:
        >>> minutes(1.0), minutes(2.5)
        ('1 minute', '2.5 minutes')
    """
    return f"{count:g} minute" + ("" if count == 1 else "s")
