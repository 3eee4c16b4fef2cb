"""The weights of the package: how they are made, put in, and found by name."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from mggr_edge.cli import main as edge
from mggr_edge.common.progress import no_progress
from mggr_edge.errors import BundleError, RunError, UsageError
from mggr_edge.models import installed as default_bundle
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.bundle_archive import read_bundle_files
from mggr_edge.models.installed import LANDMARK_MODEL_FILES, bundle_path
from mggr_export.exporting import export_run as exporting
from mggr_export.exporting import verify as verifying
from mggr_export.formats.keras_models import models_of_run
from mggr_export.tools import weights as making
from mggr_export.tools import weights_measures as measuring
from mggr_export.tools.weights import main as weights_command
from mggr_export.tools.weights_measures import model_card
from mggr_tf.cli import main
from mggr_tf.config import config_to_plain
from mggr_tf.config.files import load_config
from mggr_tf.data.names import drawn_person
from mggr_tf.drawn_eyes import draw_subject
from mggr_tf.models.networks import Networks, save_weights
from mggr_tf.runs import listing as default_run
from mggr_tf.runs.folder import RunFolder
from refusals import error_of, refusal

pytestmark = pytest.mark.extended

CARD = "# A card\n"
TINY = (
    "models.coarse={widths: [4, 6], blocks: 1, decoder: [4], stem_stride: 2}",
    "models.fine={widths: [4, 6], blocks: 1, decoder: [4], stem_stride: 2, detail: 3, "
    "alpha: true, by_blocks: true}",
    "models.estimator=[4, 4, 6]",
    "models.features_precision=float32",
    "synthetic={subjects: 3, per_group: 2, seed: 3, closing_subjects: 2}",
)


def quiet(text):
    pass


@pytest.fixture
def made(run, converted_before, tmp_path, monkeypatch):
    """What `make_weights` leaves, from the tiny run, in one format to save time."""
    monkeypatch.setattr(making, "FORMATS", ("tflite",))
    folder = tmp_path / "made"
    making.lay_out(run, folder, notify=quiet)
    (folder / making.CARD).write_text(CARD)
    return folder


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """An installation without weights of its own."""
    home = tmp_path / "site-packages"
    for module in (default_bundle, making, verifying):
        monkeypatch.setattr(module, "packaged_bundles", lambda: home / "mggr_edge" / "default")
    for module in (default_run, making, exporting):
        monkeypatch.setattr(module, "packaged_run", lambda: home / "mggr_tf" / "default_run")
    return home


def test_without_weights_the_message_says_what_to_name(installation, tmp_path):
    with refusal(BundleError, "packaged-bundle-missing", name="default") as caught:
        bundle_path("default")
    assert "--model BUNDLE" in str(caught.value)
    with refusal(RunError, "no-packaged-weights"):
        default_run.open_run("default")
    done = CliRunner().invoke(edge, ["run", str(tmp_path / "me.jpg")])
    error_of(done, "packaged-bundle-missing", name="default")


def test_lean_bundles_carry_models_alone_and_take_face_models_from_here(made):
    files = read_bundle_files(made / "int8")
    assert {name.split("/")[0] for name in files} == {"models", "contract.json", "LICENCES.txt"}
    assert b"landmarks/" not in files["LICENCES.txt"]
    bundle = Bundle.open(made / "int8")
    assert not set(LANDMARK_MODEL_FILES) & set(bundle.contract.models)
    for name in LANDMARK_MODEL_FILES:
        assert bundle.model(name) is not None
    with refusal(BundleError, "model-not-in-bundle", model="mouth"):
        bundle.model("mouth")


def test_what_was_put_in_is_found_by_name(made, installation, run):
    making.put_into_package(made, notify=quiet)
    assert (bundle_path("default") / "MODEL_CARD.md").exists() is False
    for home in (installation / "mggr_edge" / "default", default_run.packaged_run()):
        assert (home / "MODEL_CARD.md").read_text() == CARD
    assert Bundle.open("default").contract.models["redirector"][0].precision == "float32"
    assert Bundle.open("default-int8").contract.models["redirector"][0].precision == "int8"
    found = default_run.open_run("default")
    assert found.config == run.config
    assert {p.name for p in found.path.rglob("*") if p.is_file()} == {
        *("run.json", "config.yaml", "MODEL_CARD.md"),
        *("estimator.npz", "coarse.npz", "fine.npz"),
    }
    # Again, over what is there: a retrained set replaces the old one as a whole.
    (made / "float" / "LICENCES.txt").rename(made / "float" / "SPOILT")
    making.put_into_package(made, notify=quiet)
    with refusal(BundleError, "file-missing", file="LICENCES.txt"):
        Bundle.open("default")


def test_a_folder_of_that_name_is_a_folder(
    installation, made, converted_before, tmp_path, monkeypatch
):
    shutil.copytree(made / "float", tmp_path / "default")
    monkeypatch.chdir(tmp_path)
    assert Bundle.open("./default").contract.models
    with refusal(BundleError, "packaged-bundle-missing", name="default"):
        Bundle.open("default")
    shutil.rmtree(tmp_path / "default")
    shutil.copytree(made / "run", tmp_path / "default")
    exported = CliRunner().invoke(main, ["export", "./default"])
    assert exported.exit_code == 0, exported.output
    assert (tmp_path / "default" / "bundle-float").is_dir()
    refused = CliRunner().invoke(main, ["export", "default"])
    error_of(refused, "no-packaged-weights")


@pytest.mark.slow
def test_commands_know_the_packaged_weights(
    made, installation, converted_before, tmp_path, monkeypatch
):
    making.put_into_package(made, notify=quiet)
    monkeypatch.chdir(tmp_path)
    exported = CliRunner().invoke(main, ["export", "default"])
    assert exported.exit_code == 0, exported.output
    assert "face_mesh" in Bundle.open(tmp_path / "bundle-float").contract.models
    again = CliRunner().invoke(main, ["export", "default"])
    assert again.exit_code == 0, again.output
    assert (tmp_path / "bundle-float-2").is_dir()
    assert not list(default_run.packaged_run().glob("bundle*"))
    verified = CliRunner().invoke(main, ["verify", "default-int8", "--pairs", "4"])
    assert verified.exit_code == 0, verified.output
    started = CliRunner().invoke(
        main,
        [
            *("train", "--from", "default", "--stage", "joint", "--steps", "1", "--out", "mine"),
            *("--set", "synthetic={subjects: 2, per_group: 2, seed: 3}"),
            *(f"--set={change}" for change in _networks(made)),
            *("--set", "stages.joint.losses=[{name: l1, weight: 1.0}]"),
        ],
    )
    assert started.exit_code == 0, started.output
    assert RunFolder.open(tmp_path / "mine").is_complete("joint")


def _networks(made):
    config = RunFolder.open(made / "run").config.models
    return (
        f"models.coarse.widths={list(config.coarse.widths)}",
        f"models.coarse.blocks={config.coarse.blocks}",
        f"models.coarse.decoder={list(config.coarse.decoder)}",
        f"models.fine.widths={list(config.fine.widths)}",
        f"models.fine.blocks={config.fine.blocks}",
        f"models.fine.decoder={list(config.fine.decoder)}",
        f"models.fine.detail={config.fine.detail}",
        f"models.estimator={list(config.estimator)}",
    )


def test_a_training_of_other_people_is_not_taken_for_ours(tmp_path, run):
    shutil.copytree(run.path, tmp_path / "run")
    with refusal(UsageError, "run-with-other-config", path=tmp_path / "run"):
        making.make_weights(tmp_path, minutes=1, people=3, notify=quiet)


@pytest.mark.slow
def test_weights_are_made_by_one_command_that_goes_on(tmp_path, monkeypatch, installation):
    config = load_config("mggr-synthetic", changes=[*TINY, "stages.judge.steps=2"])
    text = yaml.safe_dump(config_to_plain(config), sort_keys=False)
    (tmp_path / "tiny.yaml").write_text(text)
    monkeypatch.setattr(making, "CONFIG", str(tmp_path / "tiny.yaml"))
    monkeypatch.setattr(measuring, "PEOPLE", 2)
    monkeypatch.setattr(measuring, "PAIRS", 10)
    # Two steps move nothing that a check of the pictures would see.
    monkeypatch.setattr(exporting, "faults_of", lambda proofs: "")
    out = tmp_path / "weights"
    command = ["--out", str(out), "--minutes", "0.02"]
    first = CliRunner().invoke(weights_command, [*command, "--no-install"], catch_exceptions=False)
    assert first.exit_code == 0, first.output
    assert not installation.exists()
    trained = (out / "run" / "run.json").read_bytes(), (out / "judge" / "run.json").read_bytes()
    again = CliRunner().invoke(weights_command, command, catch_exceptions=False)
    assert again.exit_code == 0, again.output
    assert trained == (
        (out / "run" / "run.json").read_bytes(),
        (out / "judge" / "run.json").read_bytes(),
    )
    assert Bundle.open("default-int8").contract.training.data == "synthetic"
    assert (default_run.packaged_run() / making.CARD).is_file()


@pytest.mark.slow
def test_the_card_has_a_row_for_every_kind_of_people(made, run, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "PEOPLE", 3)
    monkeypatch.setattr(measuring, "PAIRS", 40)
    judge = RunFolder.create(tmp_path / "judge", run.config, run.record.data)
    save_weights(Networks(run.config).judge, judge.weights_file("judge"))
    found = measuring.measure(made, judge=judge, progress=no_progress, notify=quiet)
    assert len(found.scores.subject) == len(found.estimator_error_deg) <= 40
    for kinds in found.groups.values():
        np.testing.assert_array_equal(sum(kinds.values()), 1)
    dark = [drawn_person(str(s)) for s in found.scores.subject[found.groups["skin"]["dark"]]]
    assert {person.seed for person in dark} <= {measuring.SEED}
    assert all(draw_subject([p.seed, p.index]).skin.melanin >= 1.2 for p in dark)
    contracts = {name: Bundle.open(made / name).contract for name in making._BUNDLES}
    text = model_card(run, found, contracts)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    kinds = sum(len(kinds) for kinds in found.groups.values())
    assert len(rows) == 1 + 2 * (1 + kinds) + 1 + 4
    assert text.count(", estimated source |") == 1 + kinds
    (int8,) = (line for line in rows if line.startswith("| int8 | redirector | int8 | "))
    assert int8.count(" dB |") == 2  # the whole picture, and the eye opening
    assert "Apache-2.0" in text


def test_a_training_that_is_complete_is_found_whatever_its_machine_settled(run):
    """A recipe that leaves the precision to the machine, and a run that has one."""
    precision = {"features_precision": "auto"}
    recipe = replace(run.config, models=replace(run.config.models, **precision))
    last, said = run.config.recipe[-1], []
    found = making._trained(run.path, recipe, last, making.Budget(), notify=said.append)
    assert found.config == run.config
    assert said == [f"{run.path}: stage {last} is complete"]
    other = replace(recipe, seed=recipe.seed + 1)
    with refusal(UsageError, "run-with-other-config", path=run.path):
        making._trained(run.path, other, last, making.Budget(), notify=said.append)


def test_an_adapted_estimator_is_kept_and_exported(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    networks = Networks(run.config)
    changed = [weight + 1 for weight in networks.adapted.get_weights()]
    networks.adapted.set_weights(changed)
    adapted = RunFolder.open(tmp_path / "run")
    save_weights(networks.adapted, adapted.weights_file("adapted"))
    making._copy_lean(adapted, tmp_path / "lean")
    lean = RunFolder.open(tmp_path / "lean")
    assert {file.stem for file in (lean.path / "weights").iterdir()} == {*making._KEPT}
    for weight, other in zip(models_of_run(lean)["estimator"].get_weights(), changed, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_the_packaged_run_names_no_folder_of_the_machine(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    record = json.loads(file.read_text())
    record["portraits"] = {**record["data"], "source": "/home/somebody/eyes"}
    file.write_text(json.dumps(record))
    making._copy_lean(RunFolder.open(tmp_path / "run"), tmp_path / "lean")
    lean = RunFolder.open(tmp_path / "lean")
    assert lean.record.portraits.source == "eyes"
    assert lean.record.data == run.record.data


def test_packaged_weights_can_be_exported_again(made, installation, converted_before, tmp_path):
    table = "| bundle | model | format | precision | PSNR against Keras | inside the eye opening |"
    (made / "MODEL_CARD.md").write_text(f"before\n\n{table}\n|---|\n| old |\n\nafter\n")
    making.put_into_package(made, notify=quiet)
    again = making.export_again(tmp_path / "again", notify=quiet)
    lines = (again / "MODEL_CARD.md").read_text().splitlines()
    assert lines[:3] == ["before", "", table]
    assert lines[-1] == "after"
    files = [line.split("|")[1:4] for line in lines[4:-2]]
    assert [[cell.strip() for cell in row] for row in files] == [
        [bundle, model, kind]
        for bundle in ("float", "int8")
        for model in ("estimator", "redirector")
        for kind in ("tflite",)
    ]
    for name in ("float", "int8"):
        assert read_bundle_files(again / name) == read_bundle_files(made / name)
