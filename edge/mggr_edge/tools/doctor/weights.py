"""The models that are there without a bundle."""

from __future__ import annotations

from mggr_edge.errors import BundleError, MissingPackageError
from mggr_edge.tools.doctor.check import Check
from mggr_edge.tools.doctor.machine import Machine


def check_landmark_models(machine: Machine) -> Check:
    """MediaPipe's face models, outside a bundle."""
    from mggr_edge.models.landmark_models import find_landmark_models

    try:
        models = find_landmark_models()
    except MissingPackageError as error:
        what, _, fix = str(error).partition("; ")
        return Check("landmark models", "missing", what, fix)
    folder = next(iter(models.values())).parent
    return Check("landmark models", "ok", f"{', '.join(models)} in {folder}")


def check_own_weights(machine: Machine) -> Check:
    """What `mggr-edge run` takes where no bundle is named."""
    from mggr_edge.models.default_bundle import NAMES, bundle_path
    from mggr_edge.models.landmark_models import find_landmark_models

    try:
        for name in NAMES:
            bundle_path(name)
        find_landmark_models()
    except MissingPackageError as error:
        _, _, fix = str(error).partition("; ")
        return Check("own weights", "missing", "they need the landmark models", fix)
    except BundleError:
        fix = "name a bundle: mggr-edge run INPUT --model BUNDLE"
        return Check("own weights", "missing", "none in this installation", fix)
    return Check("own weights", "ok", f"{' and '.join(NAMES)}: --model is not needed")
