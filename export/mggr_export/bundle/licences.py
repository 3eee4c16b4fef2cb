"""What a bundle's user may do with each of its parts, in words."""

from __future__ import annotations

from collections.abc import Sequence

from mggr_edge.models.installed import WHEEL
from mggr_tf.runs.record import UNKNOWN_DONORS, Origin

LANDMARK_LICENCE = "Apache-2.0, Copyright The MediaPipe Authors"

LICENCES_FILE = "LICENCES.txt"

_FACE_MODELS = f"""
landmarks/
    MediaPipe's face detection, face mesh and iris models, copied unchanged:
    {LANDMARK_LICENCE}
    They were taken from the package {WHEEL},
    whose own code (not part of this bundle) is under the MIT licence.
"""


def licences_text(
    sources: Sequence[Origin], *, complete: bool = True, face_models: bool = True
) -> str:
    """The text of `LICENCES.txt`.

    Args:
        sources: all data that the weights come from, each with its licence.
        complete: whether these are known to be all.
        face_models: whether the bundle carries them.
    """
    return f"""\
Licences of this bundle

models/{" and reference/" if face_models else ""}
    The networks' structure, and the program that trained and exported them,
    are mggr-tf's: Apache-2.0.
{_data_terms(sources, complete=complete)}
    What these terms do not allow with the data, do not do with the weights.
{_FACE_MODELS if face_models else ""}
contract.json, SHA256SUMS and this file
    Apache-2.0.

The Apache License 2.0 stands at https://www.apache.org/licenses/LICENSE-2.0
"""


def _data_terms(sources: Sequence[Origin], *, complete: bool) -> str:
    terms = dict.fromkeys((source.data, source.licence) for source in sources)
    pairs = [*terms, *([] if complete else [("other data", UNKNOWN_DONORS)])]
    lines = [
        f"    The weights were learned from: {data}\n    Its terms: {licence}"
        for data, licence in pairs
    ]
    if len(pairs) > 1:
        lines.append("    The terms of all of these data hold at once.")
    return "\n".join(lines)
