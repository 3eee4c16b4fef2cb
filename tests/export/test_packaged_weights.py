"""The weights that this package carries are small, whole, what their run says, and good."""

import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge.geometry.angles import Gaze, angular_error_deg
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.installed import NAMES, bundle_path, packaged_bundles
from mggr_tf.cli import main
from mggr_tf.data.columbia import SYNTHETIC_LICENCE
from mggr_tf.drawn_eyes import draw_subject, render_eye
from mggr_tf.drawn_eyes.render import Crop
from mggr_tf.runs.listing import open_run, packaged_run

HEADS = (Gaze(0, 0), Gaze(5, -18), Gaze(-5, 18))
SHIFTS = ((Gaze(0, -14), Gaze(4, 10)), (Gaze(-9, 6), Gaze(0, 0)), (Gaze(8, 15), Gaze(-6, -9)))


def test_devices_get_four_megabytes_at_most():
    files = [file for name in NAMES for file in bundle_path(name).rglob("*.tflite")]
    assert len(files) == 4
    assert sum(file.stat().st_size for file in files) <= 4 * 2**20


def test_the_card_travels_with_the_weights():
    texts = {
        (home / "MODEL_CARD.md").read_text(encoding="utf-8")
        for home in (packaged_bundles(), packaged_run())
    }
    (text,) = texts
    for part in ("Apache-2.0", "| skin: dark |", "| glasses: worn |", "## Limits"):
        assert part in text


def test_all_of_their_training_data_may_be_used():
    run = open_run("default")
    assert run.record.data.source == "synthetic"
    assert run.record.data.licence == SYNTHETIC_LICENCE
    assert run.record.portraits.source == "us-congress-portraits"
    assert "public domain" in run.record.portraits.licence
    # The weights continue earlier packaged weights, which were trained on the same kinds of data.
    licences = {SYNTHETIC_LICENCE, run.record.portraits.licence}
    assert {origin.licence for origin in run.record.origins} <= licences
    for name in NAMES:
        training = Bundle.open(name).contract.training
        assert training.data == "synthetic, us-congress-portraits"
        assert training.stages == {k: v.done for k, v in run.record.stages.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_bundles_are_the_packaged_run(name):
    done = CliRunner().invoke(main, ["verify", name, "--pairs", "32"])
    assert done.exit_code == 0, done.output


@pytest.mark.extended
@pytest.mark.parametrize("name", NAMES)
def test_they_work_on_people_who_were_never_drawn_before(name):
    bundle = Bundle.open(name)
    copied, made, misses, asked = [], [], [], []
    for number in range(8):
        person = draw_subject([123, number])
        side = ("right", "left")[number % 2]
        for head in HEADS:
            for source, target in SHIFTS:
                # As on a device, the target has the crop of the source.
                here, there = (
                    render_eye(
                        person,
                        gaze=gaze,
                        head_pose=head,
                        side=side,
                        seed=1,
                        crop=Crop(gaze=source, seed=1),
                    )
                    for gaze in (source, target)
                )
                found = bundle.estimate_gaze(here.image, side=side, head_pose=head)
                redirected = bundle.redirect_eye(
                    here.image, side=side, target=target, source=source, head_pose=head
                )
                after = bundle.estimate_gaze(redirected, side=side, head_pose=head)
                real = there.image.astype(float)
                copied.append(np.abs(here.image - real).mean())
                made.append(np.abs(redirected - real).mean())
                misses.append(angular_error_deg(found.array(), source.array()))
                asked.append(angular_error_deg(after.array(), target.array()))
    assert np.mean(made) < 0.8 * np.mean(copied)
    assert np.mean(misses) < 6
    assert np.mean(asked) < 7
