"""Quickstart: the two estimates, the report, the whole way."""

import base64
import functools
import math
import operator
import re
import shlex
from fractions import Fraction
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge.models.bundle import Bundle
from mggr_edge.models.contract import Artifact, Contract, Parity, Training
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.installed import find_landmark_models
from mggr_edge.models.runtimes import TFLiteRunner
from mggr_export.quickstart import (
    BUNDLES,
    CHART_SHEET,
    EYES_CLIP,
    FACES_CLIP,
    PORTRAIT,
    REDIRECTED,
    REPORT,
    RUN,
    STILLS_SHEET,
    STRIP_SHEET,
)
from mggr_export.quickstart.cli import quickstart
from mggr_export.quickstart.demo import STILL_TIMES_S, STRIP_TIMES_S, Demo, Timing, open_films
from mggr_export.quickstart.observe import Observer, following
from mggr_export.quickstart.portrait import FRAMES, SIZE_PX, clip_writer, photograph, portrait_frame
from mggr_export.quickstart.prose import Outcome, losses_of
from mggr_export.quickstart.report import report_text
from mggr_tf.config.files import load_config
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.listing import open_run
from mggr_tf.runs.record import DataRecord, StageRecord

TIMES_S = sorted({*STRIP_TIMES_S, *STILL_TIMES_S})
PX_PER_RAD = 13.0


def landmark_runners():
    return {name: TFLiteRunner(path.read_bytes()) for name, path in find_landmark_models().items()}


def bundle_that_shifts(share=1.0, *, estimate=(0.2, -0.2)):
    """Real face models, and a redirector that moves the iris by `share` of what was asked."""
    runners = landmark_runners()
    conventions = Conventions()
    y, x = np.mgrid[:64, :64].astype(np.float32) - 31.5
    near = np.clip((24 - np.hypot(x, 1.4 * y)) / 8, 0, 1)

    def redirector(inputs):
        pitch, yaw = np.radians(inputs["delta"] * conventions.delta_scale_deg).T
        shift = share * PX_PER_RAD * np.stack([-yaw, pitch], -1)
        flow = (near[..., None] * shift[:, None, None]).astype(np.float32)
        zeros = np.zeros_like(inputs["eye"])
        return {"flow": flow, "residual": zeros, "redirected": zeros}

    def estimator(inputs):
        return {"gaze": np.tile(np.float32(estimate), (len(inputs["eye"]), 1))}

    runners |= {"redirector": redirector, "estimator": estimator}
    parity = Parity("gaze", pairs=64, data="synthetic", max_abs=0.01, mean_abs=0.001, psnr_db=None)
    contract = Contract(
        models={
            name: (
                Artifact(
                    name,
                    "tflite",
                    "int8",
                    "",
                    parity=(parity,) if name in ("redirector", "estimator") else (),
                ),
            )
            for name in runners
        },
        training=Training(data="synthetic", licence="Apache-2.0"),
    )
    return Bundle(contract, runners.__getitem__)


# The pipeline under observation, on the moments that the sheets show.


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quick start")
    bundle, photo = bundle_that_shifts(), photograph()
    with open_films(folder) as films:
        observer = Observer(bundle, measuring=bundle, show=films.show)
        for time_s in TIMES_S:
            observer(portrait_frame(photo, time_s), time_s=time_s)
    films.write_sheets(folder, observer.sights)
    return folder, observer


@pytest.mark.extended
def test_the_iris_witness_sees_what_was_moved_and_the_other_says_what_it_says(demo_folder):
    _, observer = demo_folder
    sights = observer.sights
    assert len(sights) == observer.frames == len(TIMES_S)
    targets = [sight.target for sight in sights]
    by_iris = following(targets, [sight.by_iris for sight in sights])
    assert by_iris.yaw.correlation > 0.9
    assert 0.6 < by_iris.yaw.slope < 1.4
    estimated = following(targets, [sight.estimated for sight in sights])
    # Constant in the axes of each crop; crops are rotated by a few degrees, one eye is mirrored.
    assert estimated.yaw.slope == pytest.approx(0, abs=0.02)
    assert estimated.yaw.offset_deg == pytest.approx(0, abs=0.2)
    assert estimated.pitch.offset_deg == pytest.approx(2, abs=0.1)


def test_a_redirector_that_does_nothing_is_seen_to_do_nothing():
    bundle, photo = bundle_that_shifts(share=0.0), photograph()
    observer = Observer(bundle, measuring=bundle, show=lambda *_: None)
    for time_s in TIMES_S[::3]:
        observer(portrait_frame(photo, time_s), time_s=time_s)
    seen = following([s.target for s in observer.sights], [s.by_iris for s in observer.sights])
    assert abs(seen.yaw.slope) < 0.05
    assert seen.yaw.offset_deg == pytest.approx(0, abs=0.2)


@pytest.mark.extended
def test_one_stray_pixel_is_counted(demo_folder, monkeypatch):
    _, observer = demo_folder
    assert observer.stray_pixels == 0
    bundle = bundle_that_shifts()
    careless = Observer(bundle, measuring=bundle, show=lambda *_: None)
    process = careless._redirector.process

    def stray(frame, *, time_s):
        result = process(frame, time_s=time_s)
        result.frame[5, 7, 1] ^= 1
        return result

    monkeypatch.setattr(careless._redirector, "process", stray)
    careless(portrait_frame(photograph(), 0.2), time_s=0.2)
    assert careless.stray_pixels == 1
    careless(np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8), time_s=0.24)  # nobody is there
    assert (careless.frames, len(careless.sights), careless.stray_pixels) == (2, 1, 2)


def test_sheets_and_clips_are_there(demo_folder):
    folder, _ = demo_folder
    for name in (STRIP_SHEET, STILLS_SHEET, CHART_SHEET):
        assert cv2.imread(str(folder / name)).std() > 10
    assert frames_in(folder / FACES_CLIP) == len(TIMES_S)
    assert frames_in(folder / EYES_CLIP) == len(TIMES_S)


def frames_in(path):
    import av

    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_clip_starts_with_its_index_and_keeps_colours(tmp_path):
    import av

    colour = np.full((32, 48, 3), (200, 120, 60), np.uint8)
    path = tmp_path / "clip.mp4"
    with clip_writer(path, size=(32, 48), rate=Fraction(25), comment="drawn") as write:
        for _ in range(5):
            write(colour)
        with pytest.raises(ValueError, match="expected uint8"):
            write(colour[:-2])
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(path)) as container:
        assert container.metadata["comment"] == "drawn"
        assert container.streams.video[0].average_rate == 25
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == 5
    assert np.abs(decoded[0].mean((0, 1)) - (200, 120, 60)).max() < 4


# The report.


@pytest.fixture(scope="module")
def outcome(demo_folder):
    folder, observer = demo_folder
    config = load_config("quickstart")
    data = DataRecord("synthetic", ("00000", "00001"), ("00002",), 60, "Apache-2.0")
    run = RunFolder.create(folder / RUN, config, data)
    for stage in ("estimator", "coarse", "joint"):
        run.update_stage(stage, StageRecord(steps=9, done=9, complete=True, seconds=4.0))
        run.log(stage, 5, {"loss": 0.75})
        run.log(stage, 9, {"loss": 0.25})
    sights = tuple(observer.sights)
    targets = [sight.target for sight in sights]
    demo = Demo(
        frames=observer.frames,
        stray_pixels=observer.stray_pixels,
        sights=sights,
        own=following(targets, [sight.estimated for sight in sights]),
        iris=following(targets, [sight.by_iris for sight in sights]),
        timings={"int8": Timing(21.25, 30.5), "float32": Timing(22.75, 31.5)},
    )
    bundles = {name: bundle_that_shifts() for name in ("int8", "float32")}
    return Outcome(folder, 3.0, run, bundles, demo, {"training": 180.0, "the portrait": 20.0})


@pytest.fixture(scope="module")
def page(outcome):
    return report_text(outcome)


class Reader(HTMLParser):
    """Balanced tags, everything a browser would fetch, and all commands."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.commands, self.without_words = [], [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.fetched += [attributes[k] for k in ("src", "href", "poster") if k in attributes]
        if tag == "img" and not attributes.get("alt"):
            self.without_words.append(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        if self.open[-2:] == ["pre", "code"]:
            self.commands.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-2:] == ["pre", "code"]:
            self.commands[-1] += data


@pytest.fixture(scope="module")
def reader(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_the_report_fetches_nothing_and_says_what_its_pictures_show(page, reader):
    assert len(reader.fetched) >= 5
    assert all(uri.startswith("data:") for uri in reader.fetched)
    words = re.sub(r"data:[^\"]+", "", page)
    assert "http" not in words
    assert "url(" not in words
    assert "@import" not in words
    assert reader.without_words == []


def test_no_placeholder_is_left(page):
    assert not re.search(r"\$[a-z{]", re.sub(r"data:[^\"]+", "", page))
    assert "None" not in page
    assert "nan" not in re.sub(r"data:[^\"]+", "", page).split()


def test_pictures_and_clips_in_the_report_decode(reader, tmp_path):
    kinds = []
    for number, uri in enumerate(reader.fetched):
        head, body = uri.split(";base64,")
        kinds.append(head)
        content = base64.b64decode(body, validate=True)
        if head == "data:video/mp4":
            path = tmp_path / f"{number}.mp4"
            path.write_bytes(content)
            assert frames_in(path) == len(TIMES_S)
        else:
            assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is not None
    assert kinds.count("data:video/mp4") == 2


def headings(page):
    return re.findall(r"<h[12][^>]*>([^<]*)<", page)


def test_the_report_tells_the_numbers(page, outcome):
    assert headings(page)[0] == "Gaze redirection after 3 minutes of training"
    for text in ("0.7500", "0.2500", "21.2 ms", "31.5 ms", "180 s", "200 s"):
        assert text in page
    assert f"{outcome.demo.iris.yaw.slope:.2f}" in page
    assert ">none<" in page
    assert losses_of(outcome.run, "joint").last == 0.25


def test_the_report_of_a_training_that_went_on_tells_what_it_began_with(page, outcome):
    from dataclasses import replace

    assert measured_by(page) == ["iris model", "run’s own estimator"]
    gone_on = report_text(replace(outcome, first=outcome.demo.own))
    assert headings(gone_on)[0] == "Gaze redirection after 3 minutes of fine-tuning"
    first, *others = measured_by(gone_on)
    assert first.startswith("iris model, before")
    assert others == measured_by(page)
    assert "from scratch" in page.split("<section")[0]
    assert "from scratch" not in gone_on.split("<section")[0]


def measured_by(page):
    """The models that measured the gaze, in the order of the table."""
    section = page.split('aria-labelledby="follow"')[1].split("</section>")[0]
    return list(dict.fromkeys(re.findall(r'<th scope="row">([^<]*)<', section)))


def test_changed_pixels_are_not_hidden(outcome):
    from dataclasses import replace

    page = report_text(replace(outcome, demo=replace(outcome.demo, stray_pixels=3)))
    assert ">none<" not in page
    assert '<span class="bad">3</span>' in page


def test_the_commands_of_the_report_are_understood(reader, outcome):
    """Parsed by the commands themselves; a folder with a space in its name survives."""
    from mggr_edge.cli import main as edge
    from mggr_export.cli import export
    from mggr_tf.cli.train import train

    parsers = {("mggr-tf", "train"): train, ("mggr-tf", "export"): export}
    parsers |= {("mggr-edge", name): edge.commands[name] for name in ("run", "doctor")}
    commands = [shlex.split(command) for command in reader.commands]
    for program, name, *arguments in commands:
        parsers[program, name].make_context(name, arguments)
    assert str(outcome.folder.resolve() / RUN) in commands[0]
    assert str(outcome.folder.resolve() / "bundle-int8") in functools.reduce(
        operator.iadd, commands, []
    )


def test_quickstart_trains_the_networks_of_the_device_size():
    quick = load_config("quickstart")
    for other in (
        load_config("mggr-edge"),
        load_config("mggr-synthetic"),
        open_run("default").config,
    ):
        # Weights that hold nothing to predict the state of an eye with are taken without it.
        fitting = quick.for_donor(other)
        assert all(fitting.builds_alike(name, other) for name in ("estimator", "coarse", "fine"))
        assert quick.conventions == other.conventions
    shares = [quick.stage(name).share for name in ("estimator", "coarse", "joint")]
    assert math.isclose(sum(shares), 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["--from-nothing"]], ids=["go-on", "from-nothing"])
def test_the_whole_way(tmp_path, how):
    out = tmp_path / "q"
    result = CliRunner().invoke(
        quickstart, ["--out", str(out), "--minutes", "0.2", *how], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert result.stdout.strip() == str(out / "report.html")
    for name in (PORTRAIT, REDIRECTED, FACES_CLIP, EYES_CLIP):
        assert frames_in(out / name) == FRAMES
    for name in BUNDLES.values():
        Bundle.open(out / name)
    assert RunFolder.open(out / RUN).is_complete("joint")
    page = (out / REPORT).read_text(encoding="utf-8")
    assert f"of {FRAMES}" in page
    assert ">none<" in page
    assert ("before fine-tuning" in page) == (how == [])
    assert not [file for file in out.rglob("*") if ".partial-" in file.name]
