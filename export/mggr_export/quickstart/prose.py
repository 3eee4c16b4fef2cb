"""The words of the report, as HTML."""

from __future__ import annotations

import shlex
from html import escape

from mggr_export.quickstart import names
from mggr_export.quickstart.demo import Demo
from mggr_export.quickstart.outcome import Outcome
from mggr_export.quickstart.tables import number


def summary(outcome: Outcome) -> str:
    """Two sentences under the title."""
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
    """What may be expected of so short a training."""
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
    """Who saw what, and how far that may be believed."""
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
    """What was trained on, and in which order."""
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
    """What a bundle is, and with which one the clip was made."""
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
    """The commands to go on, with the paths of this run."""
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
    """The chart for those who cannot see it."""
    return (
        "Target, iris model and estimator over time. Iris model: yaw slope "
        f"{demo.iris.yaw.slope:.2f}, pitch slope {demo.iris.pitch.slope:.2f}. Own estimator: yaw "
        f"slope {demo.own.yaw.slope:.2f}, pitch slope {demo.own.pitch.slope:.2f}."
    )


def _paragraphs(*texts: str) -> str:
    return "".join(f"<p>{text}</p>" for text in texts)


def minutes(count: float) -> str:
    """A number of minutes in words.

    Example:
        >>> minutes(1.0), minutes(2.5)
        ('1 minute', '2.5 minutes')
    """
    return f"{count:g} minute" + ("" if count == 1 else "s")
