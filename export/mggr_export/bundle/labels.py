"""What a model file says of itself when it is met outside its bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mggr_edge.common.schema import plain
from mggr_edge.common.version import __version__
from mggr_export.formats.model_format import FileFormat
from mggr_export.formats.registry import model_format
from mggr_tf.runs.folder import Origin, RunFolder
from mggr_tf.runs.provenance import training_of

LABEL = "mggr"
"""Name of the entry among a file's metadata."""


def label_of(run: RunFolder, model: str, *, fitted_on: Sequence[Origin] = ()) -> str:
    """JSON: which model it is, what a pixel and an angle are, and what its licence allows.

    Args:
        run: whose model it is.
        model: its name.
        fitted_on: data that its weights were fitted on after the run.
    """
    facts = {
        "model": model,
        "mggr-tf": __version__,
        "conventions": plain(run.config.conventions),
        "licence": training_of(run, further=fitted_on).licence,
    }
    return json.dumps(facts, sort_keys=True, ensure_ascii=False)


def labelled(content: bytes, file_format: FileFormat, label: str) -> bytes:
    """The same file with a label among its metadata."""
    return model_format(file_format).with_metadata(content, LABEL, label)


def read_label(content: bytes, file_format: FileFormat) -> dict[str, Any]:
    """What a file says of itself; empty where it has no label."""
    found = model_format(file_format).metadata_of(content)
    return dict(json.loads(found[LABEL])) if LABEL in found else {}
