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
        ("yaw, by the iris model", number(demo.iris.yaw.slope), "slope"),
        ("pitch, by the iris model", number(demo.iris.pitch.slope), "slope"),
        ("frames with both eyes fully redirected", str(demo.fully_redirected), f"of {demo.frames}"),
        (f"pixels changed outside the eyes' masks, all {demo.frames} frames", verdict, ""),
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
        witnesses.insert(0, ("iris model, before this training", outcome.first))
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
    seconds = {**outcome.seconds, "all of it": sum(outcome.seconds.values())}
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
        "A redirector trained from nothing"
        if outcome.first is None
        else "The package’s redirector, trained further"
    )
    return (
        f"{trained} on {data.patches} drawn eyes of {len(data.subjects)} "
        "people who do not exist, exported for a small device and run, frame by frame, on a "
        "photograph it never saw. The yaw of its irises over the yaw that was asked for: slope "
        f"{number(yaw.slope)}, correlation {number(yaw.correlation)}."
    )


def honest(outcome: Outcome) -> str:
    """Return paragraphs about the limited quality after such a short training."""
    before = outcome.demo.before
    return _paragraphs(
        _expectation(outcome),
        "How well real eyes are understood shows before anything is redirected: she looks into the "
        "lens, which is pitch 0° and yaw 0°, and this run takes her to look to "
        f"pitch {number(before.pitch_deg, digits=1, sign=True)}° and "
        f"yaw {number(before.yaw_deg, digits=1, sign=True)}°. The photograph is small, too: an "
        "eye is 18 pixels wide in it and was enlarged nearly four times, so nothing here is "
        "sharper than that.",
    )


def _expectation(outcome: Outcome) -> str:
    spent = minutes(outcome.minutes).capitalize()
    if outcome.first is not None:
        return (
            f"{spent} on this machine, from the weights that come with the package. Those learned "
            "from drawn eyes alone and were never shown a photograph; a few minutes more show "
            "that training goes on from them, and shall do no harm. Training on real eyes is what "
            "the method, its adversary above all, is made for."
        )
    return (
        f"{spent} of synthetic eyes only, on this machine: enough to see that every part works "
        "together, and not enough to be good. No photograph was trained on. Expect irises that "
        "smear or wear a second rim where they go far, lids that hardly follow a look up or down, "
        "and a rest that is some degrees beside the camera. Hours of training on real eyes are "
        "what the method, its adversary above all, is made for."
    )


def witnesses(demo: Demo) -> str:
    """Return paragraphs about the two measuring models and their reliability."""
    return _paragraphs(
        "The <strong>iris model</strong> is MediaPipe’s; training never saw it. It finds the iris "
        "in every frame before and after, and how far it moved is turned into degrees by the "
        "geometry of an eyeball. It takes her to look exactly into the lens before.",
        "The <strong>run’s own estimator</strong> (from the float bundle) is not independent: its "
        "opinion was a loss in training, so a redirector may learn to please it. It was trained on "
        "the same drawn eyes, and is as wrong about photographs as they are. On average it sees "
        f"the redirected eyes {demo.own.mean_error_deg:.1f}° from the target, the iris model "
        f"{demo.iris.mean_error_deg:.1f}°. An honest score needs a judge that was trained on other "
        "people’s photographs: <code>mggr-tf evaluate</code>.",
        "Pixels were compared on every frame as decoded and as redirected, before encoding.",
    )


def training_text(outcome: Outcome) -> str:
    """Return sentences about the training data and the order of the stages."""
    data = outcome.run.record.data
    return (
        f"{data.patches} drawn patches of {len(data.subjects)} people; {len(data.held_out)} more "
        f"people were kept aside for the sheet below. {_order(outcome)} Steps were set by timing: "
        f"{minutes(outcome.minutes)} in all."
    )


def _order(outcome: Outcome) -> str:
    if outcome.first is not None:
        return "Estimator and both branches began with the package’s weights; the branches went on."
    return (
        "The estimator comes first, then the coarse branch that warps, then both branches together."
    )


def bundle_text(outcome: Outcome) -> str:
    """Return sentences about the content of a bundle and the bundle used for the video."""
    estimator = outcome.bundles["int8"].contract.models["estimator"][0].precision
    stays = (
        ""
        if estimator == "int8"
        else " In it the estimator stayed float32: in int8 it missed its limit."
    )
    return (
        "A bundle is all that a device needs: the networks, the face models, and the contract "
        "that says how to use them. The clip above was made with the int8 bundle, in which "
        f"convolutions are 8-bit and the warp is float.{stays}"
    )


def commands(outcome: Outcome) -> str:
    """Return the commands for the next steps, with the paths of this run."""
    folder = outcome.folder.resolve()
    run, bundle = folder / names.RUN, outcome.bundle_path("int8").resolve()
    better = "runs/better"
    steps = (
        (
            "Train longer and with more drawn people, starting from this run "
            "(or from nothing, without <code>--from</code>):",
            ["mggr-tf", "train", "--from", str(run), "--minutes", "30", "--out", better],
        ),
        (
            "Train on your own eye patches, named like the Columbia Gaze Data Set "
            "(<code>mggr-tf data check</code> looks them over first):",
            ["mggr-tf", "train", "--data", "patches/", "--minutes", "30", "--out", "runs/mine"],
        ),
        ("Export for a device:", ["mggr-tf", "export", better, "--int8"]),
        (
            "Redirect a video, a picture or a folder of pictures. This bundle and this clip first:",
            ["mggr-edge", "run", str(folder / names.PORTRAIT), "--model", str(bundle)]
            + ["--target", "0,10"],
        ),
        (
            "Then your own, into the camera:",
            ["mggr-edge", "run", "clip.mp4", "--model", f"{better}/bundle-int8"]
            + ["--target", "camera"],
        ),
        ("See what this machine has for it:", ["mggr-edge", "doctor"]),
    )
    return "".join(
        f"<p>{text}</p><pre tabindex='0'><code>{escape(shlex.join(command))}</code></pre>"
        for text, command in steps
    )


def chart_in_words(demo: Demo) -> str:
    """Return a text alternative to the chart, for readers who cannot see it."""
    return (
        "Target, iris model and estimator over time. Iris model: yaw slope "
        f"{demo.iris.yaw.slope:.2f}, pitch slope {demo.iris.pitch.slope:.2f}. Own estimator: yaw "
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
