"""The benchmark: its plan, its entrants, and a whole small one with real processes."""

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import yaml

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import ConfigError, UsageError
from mggr_tf.benchmark import campaign
from mggr_tf.benchmark.benchmark import run_benchmark
from mggr_tf.benchmark.campaign import judge_path, run_path, train_entrants
from mggr_tf.benchmark.plan import (
    ABLATIONS,
    CONTROL,
    ENTRANTS,
    BenchmarkEntry,
    Plan,
    chosen,
    open_plan,
)
from mggr_tf.benchmark.scoring import _refuse_seen, scores_file
from mggr_tf.config import config_to_plain
from mggr_tf.config.files import load_config
from mggr_tf.data.columbia import write_dataset
from mggr_tf.runs.adoption import adopt
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord, StageRecord
from refusals import refusal

DATA = DataRecord("patches", ("a", "b"), (), 1, "none")
PLAN = Plan(data="patches", train=("a", "b"), report=("c", "d", "e"), minutes=1.0)


def test_every_entrant_has_a_config_of_its_own():
    names = [e.name for e in ENTRANTS]
    assert len(set(names)) == len(names)
    trained_as = [e for e in ENTRANTS if e.group != "equal-steps"]
    loaded = [load_config(e.config, changes=e.changes) for e in trained_as]
    control = [e for e in ENTRANTS if e.name == CONTROL]
    assert len(control) == 1
    # Only the control is trained as MGGR itself is.
    assert sum(config == load_config("mggr-edge") for config in loaded) == 2


def test_ablations_differ_from_their_control_in_what_their_title_says():
    changed = {e.name: load_config(e.config, changes=e.changes) for e in ABLATIONS}
    assert changed["no-gazemap"].models.guidance == ("delta", "head_pose")
    assert changed["no-delta"].models.guidance == ("gazemap", "head_pose")
    assert changed["no-head-pose"].models.guidance == ("gazemap", "delta")
    assert changed["fine-only"].models.coarse is None
    assert changed["coarse-only"].recipe[-1] == "coarse"
    assert "coarse" not in changed["one-stage"].recipe

    def losses(name):
        return {loss.name for loss in changed[name].stage("joint").active}

    adversary = {"adversarial", "discriminator_gaze"}
    assert losses(CONTROL) - losses("no-discriminator") == adversary
    assert losses(CONTROL) - losses("no-gaze-head") == {"discriminator_gaze"}


def test_ablations_make_as_many_steps_as_their_control():
    control, *others = ABLATIONS
    assert (control.name, control.steps_of) == (CONTROL, None)
    assert {e.steps_of for e in others} == {CONTROL}


@pytest.mark.parametrize(
    ("config", "recipe", "expected"),
    [
        ("mggr-edge", "[estimator, coarse, joint]", {"estimator": 7, "coarse": 11, "joint": 13}),
        ("mggr-edge", "[estimator, joint]", {"estimator": 7, "joint": 24}),
        ("mggr-edge", "[estimator, coarse]", {"estimator": 7, "coarse": 24}),
        ("deepwarp-edge", "[joint]", {"joint": 24}),
    ],
)
def test_steps_of_another_are_shared_out(tmp_path, monkeypatch, config, recipe, expected):
    pace = BenchmarkEntry("pace", "pace", "mggr-edge", "method")
    changes = (f"recipe={recipe}",)
    follower = BenchmarkEntry("follower", "follower", config, "ablation", changes, steps_of="pace")
    run = RunFolder.create(run_path(tmp_path, pace), load_config("mggr-edge"), DATA)
    for stage, steps in (("estimator", 7), ("coarse", 11), ("joint", 13)):
        run.update_stage(stage, StageRecord(steps=steps, done=steps, complete=True))
    commands = []

    def ran(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(campaign.subprocess, "run", ran)
    train_entrants(tmp_path, PLAN, [follower], field=[pace, follower], notify=print)
    (command,) = commands
    assert not {"--minutes", "--steps"} & set(command)
    given = load_config(config, changes=[c for c in command if "=" in c])
    assert {s: given.stage(s).steps for s in given.recipe} == expected


@pytest.mark.parametrize("rival", ["deepwarp", "prgan"])
def test_rivals_forms_are_those_of_their_own_configs_and_learn_as_mggr(rival):
    form = next(e for e in ABLATIONS if e.name == f"{rival}-form")
    config, own = load_config(form.config, changes=form.changes), load_config(f"{rival}-edge")
    assert config.method == own.method
    for part in ("coarse", "fine", "generator", "guidance"):
        assert getattr(config.models, part) == getattr(own.models, part)
    assert config.stage("joint") == load_config("mggr-edge").stage("joint")


def test_no_judge_is_trained_on_whom_it_scores():
    for folds in (1, 2, 3):
        plan = replace(PLAN, folds=folds)
        scored = [name for fold in plan.report_folds() for name in fold]
        assert sorted(scored) == sorted(plan.report)
        for fold, people in enumerate(plan.report_folds()):
            assert not set(people) & set(plan.judge_subjects(fold))
            assert set(plan.train) <= set(plan.judge_subjects(fold))
    assert PLAN.judge_subjects(0) == ("a", "b", "d")


def test_plans_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="subjects used for both training and scores: b"):
        replace(PLAN, report=("b", "c"))
    with pytest.raises(ValueError, match="folds must lie between 1 and"):
        replace(PLAN, folds=4)


def test_drawn_people_have_one_name_in_a_plan(tmp_path):
    drawn = replace(PLAN, data="synthetic", train=("00000",), report=("00001", "drawn-1-00002"))
    named = drawn.with_present_names(seed=1)
    assert named.train == ("drawn-1-00000",)
    assert named.report == ("drawn-1-00001", "drawn-1-00002")
    with pytest.raises(
        ValueError, match="subjects used for both training and scores: drawn-1-00001"
    ):
        replace(drawn, train=("drawn-1-00001",)).with_present_names(seed=1)
    # One of an earlier version goes on.
    open_plan(tmp_path / "bench", drawn)
    assert open_plan(tmp_path / "bench", named, seed=1) == named


def test_entrants_and_judges_are_not_scored_on_people_of_their_donors(tmp_path, tiny_config):
    entrant = BenchmarkEntry("mggr", "MGGR", "mggr-edge", "method")

    def made(path, people):
        return RunFolder.create(path, tiny_config, DataRecord("eyes", people, (), 1, "none"))

    donor = made_with_weights(made, tmp_path / "donor", ("d",))
    run = made(run_path(tmp_path, entrant), ("a", "b"))
    judges = [made(judge_path(tmp_path, fold), PLAN.judge_subjects(fold)) for fold in (0, 1)]
    _refuse_seen(tmp_path, PLAN, [entrant], notify=print)
    adopt(run, donor, stage="joint")
    with refusal(UsageError, "subjects-seen", trained="entrant mggr's source run donor on eyes"):
        _refuse_seen(tmp_path, PLAN, [entrant], notify=print)
    _refuse_seen(tmp_path, PLAN, [], notify=print)
    adopt(judges[0], made_with_weights(made, tmp_path / "other", ("c",)), stage="judge")
    with refusal(UsageError, "subjects-seen", trained="judge 1's source run other on eyes"):
        _refuse_seen(tmp_path, PLAN, [], notify=print)


def made_with_weights(make, path, people):
    run = make(path, people)
    run.weights_file("estimator").write_bytes(b"weights, some day")
    return run


def test_a_plan_stays_what_it_was(tmp_path):
    folder = tmp_path / "bench"
    assert open_plan(folder, PLAN) == PLAN
    assert open_plan(folder, PLAN) == PLAN
    with refusal(UsageError, "plan-differs", path=folder, changes="minutes 1.0 -> 2.0"):
        open_plan(folder, replace(PLAN, minutes=2.0))
    (folder / "plan.json").write_text("{")
    with refusal(ConfigError, "plan-damaged", path=folder / "plan.json"):
        open_plan(folder, PLAN)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with refusal(UsageError, "folder-without-plan", path=tmp_path / "other"):
        open_plan(tmp_path / "other", PLAN)


def test_entrants_are_chosen_by_name_or_group_and_keep_their_order():
    assert chosen(None) == ENTRANTS
    assert [e.name for e in chosen(["prgan", "mggr"])] == ["mggr", "prgan"]
    assert {e.group for e in chosen(["ablation"])} == {"ablation"}
    with refusal(UsageError, "entrant-unknown", found="beauty"):
        chosen(["beauty"])


@pytest.fixture
def field(tmp_path, tiny_config):
    """Two tiny methods, and one that takes its steps from the first."""
    files = {}
    for name, changes in (("mggr", {}), ("rival", {"recipe": ["estimator", "joint"]})):
        files[name] = tmp_path / f"{name}.yaml"
        plain = {**config_to_plain(tiny_config), "name": name, **changes}
        files[name].write_text(yaml.safe_dump(plain))
    return (
        BenchmarkEntry("mggr", "MGGR", str(files["mggr"]), "method"),
        BenchmarkEntry("rival", "a rival", str(files["rival"]), "method"),
        BenchmarkEntry(
            "rival-steps", "equal steps", str(files["rival"]), "equal-steps", steps_of="mggr"
        ),
    )


@pytest.mark.slow
def test_a_benchmark_trains_scores_reports_and_goes_on_where_it_stopped(tmp_path, field):
    data = tmp_path / "patches"
    write_dataset(data, count=8 * 210, seed=1)
    plan = Plan(
        data=str(data),
        train=("0001", "0002"),
        report=("0003", "0004", "0005", "0006", "0007", "0008"),
        minutes=0.05,
        judge_steps=3,
        folds=2,
        pairs=60,
    )
    out, said = tmp_path / "bench", []

    def run(entrants):
        run_benchmark(out, plan, entrants, progress=no_progress, notify=said.append, field=field)

    pace = {"entrant": "rival-steps", "steps_of": "mggr"}
    with refusal(UsageError, "steps-of-untrained-entrant", **pace):
        run(field[2:])
    run(field[:1])
    first = (run_path(out, field[0]) / "weights" / "fine.npz").stat().st_mtime_ns
    scored = scores_file(out, "mggr").stat().st_mtime_ns
    run(field)
    assert (run_path(out, field[0]) / "weights" / "fine.npz").stat().st_mtime_ns == first
    assert scores_file(out, "mggr").stat().st_mtime_ns == scored
    record = json.loads((out / "benchmark.json").read_text())
    results = record["results"]
    rows = {"mggr", "rival", "rival-steps"}
    assert set(results["overall"]) == {"copy", "target", *rows, *(f"{n}-estimated" for n in rows)}
    assert results["overall"]["mggr-estimated"] != results["overall"]["mggr"]
    assert results["overall"]["target"]["l1"] == 0
    assert results["overall"]["copy"]["outside_iris"] == 0
    assert results["effort"]["rival-steps"]["steps"] == results["effort"]["mggr"]["steps"]
    pace, follower = (RunFolder.open(run_path(out, e)).record.stages for e in field[::2])
    assert follower["estimator"].done == pace["estimator"].done
    assert set(results["against"]["mggr"]) == {"copy", "rival", "rival-steps"}
    assert set(results["against"]["mggr-estimated"]) == {
        *("copy", "mggr", "rival-estimated", "rival-steps-estimated")
    }
    text = (out / "benchmark.md").read_text()
    assert "| a rival |" in text
    assert "ahead" in text
    for name in ("grid", "sweep", "shift", "head", "curves"):
        assert f"pictures/{name}.png" in text
        assert (out / "pictures" / f"{name}.png").stat().st_size > 1000
    of_the_reported = (out / "pictures" / "grid.png").read_bytes()
    run_benchmark(
        out, plan, field, progress=no_progress, notify=said.append, show="synthetic", field=field
    )
    assert (out / "pictures" / "grid.png").read_bytes() != of_the_reported
    assert json.loads((out / "benchmark.json").read_text())["results"] == results
    estimated = scores_file(out, "mggr-estimated")
    estimated.unlink()  # as in a folder that an earlier version scored
    run(field)
    assert estimated.is_file()
    assert json.loads((out / "benchmark.json").read_text())["results"] == results
    run_benchmark(
        out,
        plan,
        field,
        progress=no_progress,
        notify=said.append,
        field=field,
        sources=("labelled",),
    )
    only = json.loads((out / "benchmark.json").read_text())["results"]["overall"]
    assert set(only) == {"copy", "target", *rows}
    with np.load(scores_file(out, "mggr")) as stored:
        assert len(stored["st_lpips"]) == 60
