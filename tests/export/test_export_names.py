"""Two exports at the same time: each bundle gets a name of its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import UsageError
from mggr_export.exporting import export_run as module
from mggr_export.exporting.request import ExportRequest
from refusals import refusal


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Exports nothing but a file; another program creates `meanwhile` before the end."""
    state = SimpleNamespace(meanwhile=None)

    def proven_files(*_: object, **__: object) -> dict[str, bytes]:
        state.meanwhile.mkdir()
        return {"contract.json": b"{}"}

    monkeypatch.setattr(module, "_check_complete", lambda run: None)
    monkeypatch.setattr(module, "models_of_run", lambda run: {"estimator": None})
    monkeypatch.setattr(module, "samples_for_export", lambda *_, **__: (None, None))
    monkeypatch.setattr(module, "closing_for_export", lambda *_, **__: None)
    monkeypatch.setattr(module, "choose_eyes", lambda *_, **__: None)
    monkeypatch.setattr(module, "_exporters", lambda *_, **__: [])
    monkeypatch.setattr(module, "_proven_files", proven_files)
    config = SimpleNamespace(conventions=None, models=SimpleNamespace(estimator_state=False))
    trained = SimpleNamespace(path=tmp_path, config=config)

    def export(out: Path | None, *, meanwhile: Path, force: bool = False) -> Path:
        state.meanwhile = meanwhile
        return module.export_run(
            trained, out, ExportRequest(), force=force, progress=no_progress, notify=print
        )

    return export


@pytest.mark.parametrize("force", [False, True])
def test_an_unnamed_bundle_gets_the_next_number(tmp_path: Path, run, force: bool) -> None:
    first = tmp_path / "bundle-float"
    assert run(None, meanwhile=first, force=force) == tmp_path / "bundle-float-2"
    assert list(first.iterdir()) == []
    third = run(None, meanwhile=tmp_path / "bundle-float-3", force=force)
    assert third == tmp_path / "bundle-float-4"
    assert (third / "contract.json").is_file()


def test_a_named_bundle_is_kept_under_another_name(tmp_path: Path, run) -> None:
    out = tmp_path / "v1.0"
    moved = tmp_path / "v1.0-2"
    with refusal(UsageError, "output-created-meanwhile", path=out, moved=moved):
        run(out, meanwhile=out)
    assert (tmp_path / "v1.0-2" / "contract.json").is_file()
