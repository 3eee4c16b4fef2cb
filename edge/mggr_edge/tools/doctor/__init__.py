"""Check the setup of this machine, and suggest the commands that fix problems.

Each check tests one subject. It returns a `Check`, or `None` if the check does not apply to this
machine. No check installs anything, opens a device, changes a file or uses the network. The checks
need only the packages numpy and click.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mggr_edge.tools.doctor.cameras import (
    check_argus,
    check_cameras,
    check_csi,
    check_gstreamer,
    check_rtsp_output,
    check_virtual_camera,
)
from mggr_edge.tools.doctor.machine import Check, Machine, State, all_passed, report
from mggr_edge.tools.doctor.packages import (
    check_interpreter,
    check_landmark_models,
    check_numpy,
    check_opencv,
    check_own_weights,
    check_pillow,
    check_pyav,
    check_python,
    check_tensorrt,
)
from mggr_edge.tools.doctor.system import (
    check_disk,
    check_memory,
    check_own_kind,
    check_temperature,
)

CHECKS: Mapping[str, Callable[[Machine], Check | None]] = {
    "Python": check_python,
    "numpy": check_numpy,
    "interpreter": check_interpreter,
    "OpenCV": check_opencv,
    "PyAV": check_pyav,
    "Pillow": check_pillow,
    "landmark models": check_landmark_models,
    "own weights": check_own_weights,
    "TensorRT": check_tensorrt,
    "GStreamer": check_gstreamer,
    "RTSP output": check_rtsp_output,
    "cameras": check_cameras,
    "nvargus-daemon": check_argus,
    "CSI cameras": check_csi,
    "virtual camera": check_virtual_camera,
    "mggr-edge": check_own_kind,
    "temperature": check_temperature,
    "memory": check_memory,
    "disk": check_disk,
}
"""Name of each check -> function of the check. A check follows the checks on which it depends."""


def run_checks(machine: Machine | None = None) -> tuple[Check, ...]:
    """Run all checks and return the results.

    If a check raises an exception, its result is a warning.
    """
    looked_at = Machine() if machine is None else machine
    checks = (_looked(name, check, looked_at) for name, check in CHECKS.items())
    return tuple(check for check in checks if check is not None)


def _looked(name: str, check: Callable[[Machine], Check | None], machine: Machine) -> Check | None:
    try:
        return check(machine)
    except Exception as error:  # noqa: BLE001 - run the other checks nevertheless
        found = f"check failed: {type(error).__name__}: {error}"
        return Check(name, "warn", found)


__all__ = ["CHECKS", "Check", "Machine", "State", "all_passed", "report", "run_checks"]
