"""Results of a quickstart, and functions that return the texts and tables of its report.

The texts and tables are HTML.
"""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

from mggr_edge.models.bundle import Bundle
from mggr_export.quickstart import BUNDLES, PORTRAIT, RUN
from mggr_export.quickstart.demo import Demo
from mggr_export.quickstart.observe import Following, Line
from mggr_tf.config.stages import STAGES, Stage
from mggr_tf.runs.folder import RunFolder


@dataclass(frozen=True)
class Outcome:
    """Results of a finished quickstart.

    Attributes:
        folder: Output folder. `mggr_export.quickstart` defines the names of the files in it.
        minutes: Requested training time in minutes.
        run: Trained run.
        bundles: Precision -> exported bundle. The "int8" bundle redirects the video.
        demo: Results of the redirection of the portrait.
        seconds: Duration of each part in seconds. The keys are the descriptions of the parts.
        first: Measurement by the iris model with the package's weights before fine-tuning. `None`
            if the training started from scratch.
    """

    folder: Path
    minutes: float
    run: RunFolder
    bundles: dict[str, Bundle]
    demo: Demo
    seconds: dict[str, float]
    first: Following | None = None

    def bundle_path(self, precision: str) -> Path:
        """Return the folder of the bundle with this precision."""
        return self.folder / BUNDLES[precision]

    def bundle_megabytes(self, precision: str) -> float:
        """Return the total size of all files of a bundle in megabytes (10^6 bytes)."""
        files = self.bundle_path(precision).rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file()) / 1e6

    def sample_sheet(self) -> Path | None:
        """Return the last sheet of sample pictures of the stage `joint`.

        The result is `None` if there is no sheet.
        """
        sheets = sorted((self.run.path / "sheets").glob("joint-*.png"))
        return sheets[-1] if sheets else None


@dataclass(frozen=True)
class Losses:
    """First loss and last loss in the log of a stage."""

    first: float
    last: float


def losses_of(run: RunFolder, stage: Stage) -> Losses:
    """Read the first loss and the last loss from the log of a stage."""
    with open(run.path / "logs" / f"{stage}.csv", newline="", encoding="utf-8") as handle:
        values = [float(row["loss"]) for row in csv.DictReader(handle)]
    return Losses(values[0], values[-1])


def tiles(demo: Demo) -> str:
    """Return the four main metrics as `<div>` elements of a `<dl>` element."""
    stray = demo.stray_pixels
    verdict = (
        '<span class="good">none</span>' if stray == 0 else f'<span class="bad">{stray}</span>'
    )
    facts = (
        ("yaw, measured by the iris model", number(demo.iris.yaw.slope), "slope (1 is ideal)"),
        ("pitch, measured by the iris model", number(demo.iris.pitch.slope), "slope (1 is ideal)"),
        ("frames with both eyes fully redirected", str(demo.fully_redirected), f"of {demo.frames}"),
        (f"changed pixels outside the eye masks, in all {demo.frames} frames", verdict, ""),
    )
    return "".join(
        f"<div><dt>{name}</dt><dd>{value} <small>{unit}</small></dd></div>"
        for name, value, unit in facts
    )


def following_rows(outcome: Outcome) -> str:
    """Return table rows with the fitted lines, one row for each measuring model and axis."""
    estimates: list[tuple[str, Following]] = [
        ("iris model", outcome.demo.iris),
        ("run’s own estimator", outcome.demo.own),
    ]
    if outcome.first is not None:
        estimates.insert(0, ("iris model, before fine-tuning", outcome.first))
    return "".join(
        _row([name, axis], _line_cells(line))
        for name, seen in estimates
        for axis, line in (("yaw", seen.yaw), ("pitch", seen.pitch))
    )


def _line_cells(line: Line) -> list[str]:
    return [
        number(line.slope),
        number(line.offset_deg, digits=1, sign=True) + "°",
        number(line.correlation),
    ]


def stage_rows(outcome: Outcome) -> str:
    """Return table rows with the steps, the time and the losses of each stage."""
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
    """Return table rows with the differences from Keras, one row for each output of each model."""
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
    """Return a rounded number as text, with a typographic minus sign. "-0.0" becomes "0.0"."""
    rounded = round(value, digits) + 0.0
    return f"{rounded:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def summary(outcome: Outcome) -> str:
    """Return the sentences below the title."""
    data = outcome.run.record.data
    yaw = outcome.demo.iris.yaw
    trained = (
        "A redirector was trained from scratch"
        if outcome.first is None
        else "The package’s redirector was fine-tuned"
    )
    return (
        f"{trained} on {data.patches} synthetic eyes of {len(data.subjects)} synthetic people. "
        "The redirector was exported for small devices. The exported redirector processed each "
        "frame of a moving photograph, which is not in the training data. A line was fitted to the "
        "yaw of the redirected irises as a function of the target yaw. The slope of this line is "
        f"{number(yaw.slope)} (1 is ideal), and the correlation is {number(yaw.correlation)}."
    )


def honest(outcome: Outcome) -> str:
    """Return paragraphs about the quality, which is limited because the training is short."""
    before = outcome.demo.before
    return _paragraphs(
        _expectation(outcome),
        "The estimated gaze of the original photograph shows the accuracy of the estimator on real "
        "eyes. The person looks into the lens, so the correct gaze is pitch 0° and yaw 0°. "
        f"The estimate is pitch {number(before.pitch_deg, digits=1, sign=True)}° and "
        f"yaw {number(before.yaw_deg, digits=1, sign=True)}°. The low resolution of the photograph "
        "also limits the quality. An eye in the photograph is 18 pixels wide and was enlarged "
        "nearly four times.",
    )


def _expectation(outcome: Outcome) -> str:
    spent = minutes(outcome.minutes)
    if outcome.first is not None:
        return (
            f"The package’s weights were fine-tuned for {spent} on this machine. The weights were "
            "trained on synthetic eyes only, without photographs. The fine-tuning demonstrates "
            "that training can continue from these weights. The fine-tuning should hardly change "
            "the quality of the weights. For good results, train on real eyes. The adversarial "
            "loss in particular was designed for real eyes."
        )
    return (
        f"All networks were trained from scratch for {spent} on this machine. The training used "
        "synthetic eyes only, without photographs. Such a short training is enough to check that "
        "all parts work together, but not enough for good quality. Three errors are typical. After "
        "large gaze shifts, irises are smeared or have a second rim. Lids hardly follow the "
        "vertical gaze. With the target “camera”, the gaze error is some degrees. For good "
        "results, train for hours on real eyes. In particular, the adversarial loss was designed "
        "for real eyes."
    )


def estimates(demo: Demo) -> str:
    """Return paragraphs about the two models that measure the gaze, and about their reliability."""
    return _paragraphs(
        "The <strong>iris model</strong> is a model of MediaPipe that the training does not use. "
        "The iris model detects the iris in every frame before and after redirection. The shift of "
        "the iris is converted to degrees with the geometry of the eyeball. The measurement "
        "assumes that the original eyes look exactly into the lens.",
        "The <strong>run’s own estimator</strong> (from the float bundle) is not independent. "
        "This estimator is part of a loss in the training. A redirector may therefore learn to "
        "exploit the errors of the estimator. The estimator was trained on the same synthetic "
        "eyes, so it is inaccurate on photographs. For the redirected "
        "eyes, this estimator measures a mean gaze error of "
        f"{demo.own.mean_error_deg:.1f}°. The iris model measures "
        f"{demo.iris.mean_error_deg:.1f}°. For a reliable score, use <code>mggr-tf evaluate</code> "
        "with a judge. A judge is a gaze estimator that was trained on photographs of other "
        "people and is used only for scores.",
        "To count the changed pixels, each redirected frame was compared with the original frame, "
        "before the redirected video was encoded.",
    )


def training_text(outcome: Outcome) -> str:
    """Return sentences about the training data and about the order of the stages."""
    data = outcome.run.record.data
    return (
        f"Training data: {data.patches} synthetic patches of {len(data.subjects)} people. Number "
        f"of held-out people: {len(data.held_out)}. {_order(outcome)} The number of "
        "steps was computed from the measured speed, so that the training takes "
        f"{minutes(outcome.minutes)} in total."
    )


def _order(outcome: Outcome) -> str:
    if outcome.first is not None:
        return (
            "The estimator and both branches start from the package’s weights. Only the branches "
            "are fine-tuned."
        )
    return (
        "First, the estimator is trained. Then the coarse branch (warp) is trained. Finally, both "
        "branches are trained together."
    )


def bundle_text(outcome: Outcome) -> str:
    """Return sentences about the content of a bundle, and about the bundle of the video."""
    estimator = outcome.bundles["int8"].contract.models["estimator"][0].precision
    stays = (
        ""
        if estimator == "int8"
        else " The estimator stays float32, because the int8 file exceeded a limit."
    )
    return (
        "A bundle contains all files that a device needs. These are the networks, the models that "
        "find faces and eyes, and the contract, which describes the models. The int8 bundle "
        "redirected the videos above. The convolutions of this bundle compute with 8-bit integers, "
        f"and the warp computes in float.{stays}"
    )


def commands(outcome: Outcome) -> str:
    """Return the commands for the next steps, with the paths of this quickstart."""
    folder = outcome.folder.resolve()
    run, bundle = folder / RUN, outcome.bundle_path("int8").resolve()
    better = "runs/better"
    steps = (
        (
            "Train longer and on more synthetic people, starting from this run. (Without "
            "<code>--from</code>, the training starts from scratch.)",
            ["mggr-tf", "train", "--from", str(run), "--minutes", "30", "--out", better],
        ),
        (
            "Train on your own eye patches. Name the files as in the Columbia Gaze Data Set. First "
            "check the patches with <code>mggr-tf data check</code>.",
            ["mggr-tf", "train", "--data", "patches/", "--minutes", "30", "--out", "runs/mine"],
        ),
        ("Export for a device:", ["mggr-tf", "export", better, "--int8"]),
        (
            "Redirect a video, a picture or a folder of pictures, for example the video above:",
            ["mggr-edge", "run", str(folder / PORTRAIT), "--model", str(bundle)]
            + ["--target", "0,10"],
        ),
        (
            "Redirect the gaze in your own video to the camera:",
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
    """Return a text alternative to the chart, for readers who cannot see the chart."""
    return (
        "Chart of the target gaze and the measured gaze over time. Iris model: yaw slope "
        f"{demo.iris.yaw.slope:.2f}, pitch slope {demo.iris.pitch.slope:.2f}. Run’s estimator: yaw "
        f"slope {demo.own.yaw.slope:.2f}, pitch slope {demo.own.pitch.slope:.2f}."
    )


def _paragraphs(*texts: str) -> str:
    return "".join(f"<p>{text}</p>" for text in texts)


def minutes(count: float) -> str:
    """Return a number of minutes as text with the unit.

    Example:
        >>> minutes(1.0), minutes(2.5)
        ('1 minute', '2.5 minutes')
    """
    return f"{count:g} minute" + ("" if count == 1 else "s")
