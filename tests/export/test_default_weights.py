"""The weights of the package: how they are made, put in, and found by name."""

import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge import default_bundle
from mggr_edge.bundle import Bundle, read_bundle_files
from mggr_edge.cli import main as edge
from mggr_edge.default_bundle import bundle_path
from mggr_edge.errors import BundleError, RunError
from mggr_edge.landmark_models import LANDMARK_MODEL_FILES
from mggr_edge.progress import no_progress
from mggr_export import export_run as exporting
from mggr_export.export_run import export_run
from mggr_export.weights import making, measuring
from mggr_export.weights.card import model_card
from mggr_tf.cli import main
from mggr_tf.data.synthetic import draw_subject
from mggr_tf.models.networks import Networks, save_weights
from mggr_tf.training import default_run
from mggr_tf.training.run_folder import RunFolder

CARD = "# A card\n"


def quiet(text):
    pass


@pytest.fixture
def made(run, converted_before, tmp_path):
    """What `make_weights` leaves, from the tiny run."""
    folder = tmp_path / "made"
    making._copy_lean(run, folder / "run")
    for name, int8 in making._BUNDLES.items():
        export_run(
            run,
            folder / name,
            int8=int8,
            data=None,
            force=False,
            progress=no_progress,
            say=quiet,
            lean=True,
        )
    (folder / making.CARD).write_text(CARD)
    return folder


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """An installation without weights of its own."""
    home = tmp_path / "site-packages"
    for module in (default_bundle, making):
        monkeypatch.setattr(module, "packaged_bundles", lambda: home / "mggr_edge" / "default")
    for module in (default_run, making, exporting):
        monkeypatch.setattr(module, "packaged_run", lambda: home / "mggr_tf" / "default_run")
    return home


def test_without_weights_the_message_says_what_to_name(installation, tmp_path):
    with pytest.raises(BundleError, match="--model BUNDLE"):
        bundle_path("default")
    with pytest.raises(RunError, match="no weights of its own"):
        default_run.open_run("default")
    done = CliRunner().invoke(edge, ["run", str(tmp_path / "me.jpg")])
    assert done.exit_code == 2
    assert done.output.startswith("error: this installation carries no weights")


def test_lean_bundles_carry_models_alone_and_take_face_models_from_here(made):
    files = read_bundle_files(made / "int8")
    assert {name.split("/")[0] for name in files} == {"models", "contract.json", "LICENCES.txt"}
    assert b"landmarks/" not in files["LICENCES.txt"]
    bundle = Bundle.open(made / "int8")
    assert not set(LANDMARK_MODEL_FILES) & set(bundle.contract.models)
    for name in LANDMARK_MODEL_FILES:
        assert bundle.model(name) is not None
    with pytest.raises(BundleError, match="no model 'mouth'"):
        bundle.model("mouth")


def test_what_was_put_in_is_found_by_name(made, installation, run):
    making.put_into_package(made, say=quiet)
    assert (bundle_path("default") / "MODEL_CARD.md").exists() is False
    for home in (installation / "mggr_edge" / "default", default_run.packaged_run()):
        assert (home / "MODEL_CARD.md").read_text() == CARD
    assert Bundle.open("default").contract.models["redirector"].precision == "float32"
    assert Bundle.open("default-int8").contract.models["redirector"].precision == "int8"
    found = default_run.open_run("default")
    assert found.config == run.config
    assert {p.name for p in found.path.rglob("*") if p.is_file()} == {
        *("run.json", "config.yaml", "MODEL_CARD.md"),
        *("estimator.npz", "coarse.npz", "fine.npz"),
    }
    # Again, over what is there: a retrained set replaces the old one as a whole.
    (made / "float" / "LICENCES.txt").rename(made / "float" / "SPOILT")
    making.put_into_package(made, say=quiet)
    with pytest.raises(BundleError, match="missing"):
        Bundle.open("default")


def test_a_folder_of_that_name_is_a_folder(installation, made, tmp_path, monkeypatch):
    shutil.copytree(made / "float", tmp_path / "default")
    monkeypatch.chdir(tmp_path)
    assert Bundle.open("./default").contract.models
    with pytest.raises(BundleError, match="no weights of its own"):
        Bundle.open("default")


def test_commands_know_the_packaged_weights(
    made, installation, converted_before, tmp_path, monkeypatch
):
    making.put_into_package(made, say=quiet)
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
    with pytest.raises(Exception, match="begun with another config"):
        making.make_weights(tmp_path, minutes=1, people=3, say=quiet)


@pytest.mark.slow
def test_the_card_has_a_row_for_every_kind_of_people(made, run, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "PEOPLE", 3)
    monkeypatch.setattr(measuring, "PAIRS", 40)
    judge = RunFolder.create(tmp_path / "judge", run.config, run.record.data)
    save_weights(Networks(run.config).judge, judge.weights_file("judge"))
    found = measuring.measure(made, judge=judge, progress=no_progress, say=quiet)
    assert len(found.scores.subject) == len(found.estimator_error_deg) <= 40
    for kinds in found.groups.values():
        np.testing.assert_array_equal(sum(kinds.values()), 1)
    dark = [str(s) for s in found.scores.subject[found.groups["skin"]["dark"]]]
    assert all(draw_subject([measuring.SEED, int(s)]).skin.melanin >= 1.2 for s in dark)
    text = model_card(run, found)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + sum(len(kinds) for kinds in found.groups.values())
    assert "Apache-2.0" in text
