"""What the benchmark says: the floor, the document's two forms, the tables."""

import numpy as np
import pytest

from mggr_tf.benchmark.benchmark import smoothed
from mggr_tf.benchmark.document import Picture, Section, Table, to_html, to_markdown
from mggr_tf.benchmark.plan import BenchmarkEntry, Plan
from mggr_tf.benchmark.report import Results, TrainingCost, floor_of, sections_of
from mggr_tf.evaluation.bootstrap import Interval
from mggr_tf.evaluation.metrics import PairScores
from mggr_tf.evaluation.report import Comparison

rng = np.random.default_rng(0)


def scores(shift, copy):
    return PairScores(
        subject=np.array(["a"] * len(shift)),
        shift_deg=shift,
        head_yaw_deg=np.zeros(len(shift), np.float32),
        metrics={"copy": {"l1": copy}},
        features={},
        absent={},
    )


def test_the_floor_is_where_the_line_meets_zero():
    shift = rng.choice([5.0, 10.0, 15.0, 30.0], 400)
    copy = 0.03 + 0.002 * shift + rng.normal(0, 1e-4, 400)
    copy[shift == 30] = 5.0  # beyond what the line is drawn through
    assert floor_of(scores(shift, copy), "l1") == pytest.approx(0.03, abs=1e-4)


def test_a_curve_is_the_means_of_equal_parts_in_the_order_of_steps():
    steps, values = smoothed({step: step / 10 for step in [*range(800, 0, -5)]})
    assert len(steps) == 40
    np.testing.assert_allclose(steps, np.arange(12.5, 800, 20))
    np.testing.assert_allclose(values, steps / 10)
    assert [part.tolist() for part in smoothed({25: 0.5, 50: 0.25})] == [[25, 50], [0.5, 0.25]]


def test_one_shift_makes_no_line():
    with pytest.raises(ValueError, match="two shifts"):
        floor_of(scores(np.full(9, 5.0), np.ones(9)), "l1")


SECTIONS = [
    Section(
        "A & B",
        ("some < text", Table(("", "x|y"), (("row", "1"),)), Picture("p.png", 'a "picture"')),
    )
]


def test_markdown_keeps_its_columns():
    text = to_markdown("Title", SECTIONS)
    assert text.startswith("# Title\n\n## A & B\n\nsome < text")
    assert "|  | x\\|y |\n|---|---|\n| row | 1 |" in text
    assert '![a "picture"](p.png)' in text


def test_html_escapes_what_it_is_given():
    page = to_html("T<", SECTIONS)
    assert "<title>T&lt;</title>" in page
    assert "<p>some &lt; text</p>" in page
    assert '<img src="p.png" alt="a &quot;picture&quot;">' in page
    assert "<td>row</td><td>1</td>" in page


NUMBERS = ("l1", "psnr_db", "ssim", "st_lpips", "fd_vgg", "kd_vgg", "gaze_error_deg")


def row(value):
    return {**dict.fromkeys(NUMBERS, value), "outside_iris": value}


def results():
    overall = {
        "copy": row(2.0),
        "mggr": row(1.0),
        "mggr-estimated": row(1.25),
        "rival": row(1.5),
        "target": row(0.5),
    }
    better = Comparison(Interval(-0.5, -0.7, -0.3), None, "ahead")
    unsure = Comparison(Interval(0.1, -0.2, 0.4), None, "undecided")
    found = {"l1": better, "st_lpips": better, "fd_vgg": unsure, "gaze_error_deg": better}
    return Results(
        overall=overall,
        by_shift={"0 to 15 deg": overall, "22+ deg": overall},
        by_head={"+0 deg": overall},
        against={"mggr": {"rival": found}, "mggr-estimated": {"mggr": found}},
        floor={"l1": 0.6, "st_lpips": 0.8},
        effort={n: TrainingCost(350_000, 58.7, 40.0, 9000, 144_000) for n in ("mggr", "rival")},
    )


def test_the_report_says_who_is_ahead_and_what_it_cost():
    plan = Plan(data="patches", train=("a",), report=("b", "c"), minutes=40)
    entrants = (
        BenchmarkEntry("mggr", "MGGR", "mggr-edge", "method"),
        BenchmarkEntry("rival", "a rival", "mggr-edge", "method"),
    )
    text = to_markdown("t", sections_of(plan, entrants, results()))
    assert "scored on b, c," in text
    assert "| MGGR | 0.35 M | 59 | 40 | 9000 | 144000 |" in text
    assert "-0.5000 [-0.7000, -0.3000] ahead" in text
    assert "+0.100 [-0.200, +0.400] undecided" in text
    assert "0.30 of the L1 of copy, 0.40 of the ST-LPIPS of copy" in text
    # Above the judge's own error, which is 0.5 in every bin.
    assert "| MGGR | +0.50 | +0.50 |" in text
    assert "| judge on real targets | 0.50 | 0.50 |" in text
    assert "| MGGR, estimated source | +0.75 | +0.75 |" in text
    assert "| MGGR, estimated source | 1.2500 |" in text
    assert "## MGGR, estimated source: comparisons" in text
    assert "without such rows: a rival." in text
    assert "Ablations" not in text
