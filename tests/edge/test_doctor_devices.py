"""The doctor and what is plugged in, loaded or running: cameras, daemons, processes, heat."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from fake_machine import FakeMachine
from mggr_edge.tools.doctor import CHECKS
from mggr_edge.tools.doctor.cameras import INSTALL, KEEP, LOAD, PYVIRTUALCAM, UNLOAD

RESTART = "sudo systemctl restart nvargus-daemon"
IS_ACTIVE = "systemctl is-active nvargus-daemon"


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


# Cameras


def test_cameras_are_found_in_the_order_of_their_numbers(fake: FakeMachine) -> None:
    check = fake.look("cameras")
    assert (check.state, check.fix) == ("missing", None)
    for name in ("video10", "video2", "videonotes"):
        fake.write(f"/dev/{name}")
    check = fake.look("cameras")
    assert (check.state, check.found, check.fix) == (
        "ok",
        "/dev/video2, /dev/video10, not in use",
        None,
    )


def test_permissions_are_tried(fake: FakeMachine) -> None:
    for name in ("video0", "video1"):
        fake.write(f"/dev/{name}")
    fake.forbidden = {"video1"}
    check = fake.look("cameras")
    assert (check.state, check.needed) == ("warn", False)
    assert "no permission for video1" in check.found
    assert check.fix == 'sudo usermod -aG video "$USER", then log in again'


def test_a_busy_camera_names_who_holds_it(fake: FakeMachine) -> None:
    fake.write("/dev/video0")
    fake.run(123, "cheese", "cheese", holds="/dev/video0")
    fake.run(124, "bash", "bash", holds="/dev/null")
    check = fake.look("cameras")
    assert check.state == "warn"
    assert check.found.startswith("/dev/video0; ")
    assert "/dev/video0 is in use by cheese (pid 123)" in check.found
    assert check.fix == "kill 123"


def test_a_device_of_a_similar_name_is_another_one(fake: FakeMachine) -> None:
    fake.write("/dev/video1")
    fake.run(123, "cheese", "cheese", holds="/dev/video10")
    assert fake.look("cameras").state == "ok"


def test_who_writes_a_virtual_camera_keeps_no_camera_busy(fake: FakeMachine) -> None:
    fake.write("/dev/video0")
    fake.write("/dev/video10")
    fake.write("/sys/devices/virtual/video4linux/video10/name", "mggr-edge\n")
    fake.run(123, "obs", "obs", holds="/dev/video10")
    check = fake.look("cameras")
    assert (check.state, check.found) == ("ok", "/dev/video0, not in use")


def test_what_others_processes_hold_is_said_to_be_unknown(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.write("/dev/video0")
    fake.run(123, "cheese", "cheese", holds="/dev/video0")
    real = os.listdir

    def listdir(path: Path) -> list[str]:
        if Path(path).parent.name == "123":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    check = fake.look("cameras")
    assert check.state == "ok"
    assert check.found.startswith("/dev/video0; 1 processes of other users")
    assert "root" in check.found


def test_a_process_that_has_ended_meanwhile_is_passed_over(fake: FakeMachine) -> None:
    fake.write("/dev/video0")
    fake.run(123, "cheese", "cheese")
    (fake.root / "proc/123/fd").rmdir()
    assert fake.look("cameras").state == "ok"


# nvargus-daemon and CSI sensors


@pytest.mark.parametrize("name", ["nvargus-daemon", "CSI cameras"])
def test_other_machines_have_no_argus(fake: FakeMachine, name: str) -> None:
    assert CHECKS[name](fake.machine) is None


@pytest.mark.parametrize(
    ("said", "state", "found", "fix"),
    [
        ("active", "ok", f"running; if cameras deliver no frames, run: {RESTART}", None),
        ("failed", "warn", "not running; state in systemd: failed", RESTART),
        ("activating", "warn", "not running; state in systemd: activating", RESTART),
        (
            "inactive",
            "missing",
            "not running; state in systemd: inactive",
            "sudo systemctl enable --now nvargus-daemon",
        ),
        (None, "missing", "not running", "sudo systemctl enable --now nvargus-daemon"),
    ],
)
def test_the_daemon_is_as_systemd_says(
    fake: FakeMachine, said: str | None, state: str, found: str, fix: str | None
) -> None:
    fake.become_jetson()
    if said is not None:
        fake.answers[IS_ACTIVE] = said
    check = fake.look("nvargus-daemon")
    assert (check.state, check.found, check.fix) == (state, found, fix)


def test_a_stuck_daemon_is_not_well_whatever_systemd_says(fake: FakeMachine) -> None:
    fake.become_jetson()
    fake.answers[IS_ACTIVE] = "active"
    fake.run(77, "nvargus-daemon", "/usr/sbin/nvargus-daemon")
    assert fake.look("nvargus-daemon").state == "ok"
    fake.write("/proc/77/stat", "77 (nvargus-daemon) D 1 1")
    check = fake.look("nvargus-daemon")
    assert check.state == "warn"
    assert "stuck: nvargus-daemon (pid 77)" in check.found
    assert "(state D)" in check.found
    assert check.fix == RESTART


def test_without_systemctl_the_process_tells(fake: FakeMachine) -> None:
    fake.become_jetson()
    fake.run(77, "nvargus-daemon", "/usr/sbin/nvargus-daemon")
    assert fake.look("nvargus-daemon").state == "ok"


def test_csi_sensors_are_told_from_usb_cameras(fake: FakeMachine) -> None:
    fake.become_jetson()
    fake.write("/dev/video0")
    fake.write("/sys/class/video4linux/video0/name", "HD Webcam\n")
    check = fake.look("CSI cameras")
    assert check.state == "missing"
    assert check.found == "no sensor on a CSI connector"
    assert check.fix.startswith("sudo /opt/nvidia/jetson-io/jetson-io.py")
    fake.write("/dev/video1")
    fake.write("/sys/class/video4linux/video1/name", "vi-output, imx219 9-0010\n")
    check = fake.look("CSI cameras")
    assert (check.state, check.fix) == ("ok", None)
    assert check.found.startswith("imx219 9-0010 at /dev/video1; use csi://0 ")


# v4l2loopback


def make_loopback(fake: FakeMachine, *, exclusive: str = "Y,N", numbers: str = "10,-1") -> None:
    fake.write("/sys/module/v4l2loopback/parameters/exclusive_caps", f"{exclusive}\n")
    fake.write("/sys/module/v4l2loopback/parameters/video_nr", f"{numbers}\n")
    fake.write("/sys/devices/virtual/video4linux/video10/name", "mggr-edge\n")
    fake.packages["pyvirtualcam"] = "0.15.0"


def keep_loopback(fake: FakeMachine) -> None:
    fake.write("/etc/modprobe.d/v4l2loopback.conf", "options v4l2loopback exclusive_caps=1\n")
    fake.write("/etc/modules-load.d/v4l2loopback.conf", "v4l2loopback\n")


def test_a_virtual_camera_that_is_right_in_all(fake: FakeMachine) -> None:
    make_loopback(fake)
    keep_loopback(fake)
    check = fake.look("virtual camera")
    assert (check.state, check.fix) == ("ok", None)
    assert check.found.startswith("/dev/video10 (mggr-edge), exclusive_caps=1, ")


def test_a_module_that_is_nowhere_is_installed_loaded_and_kept(fake: FakeMachine) -> None:
    fake.write("/proc/sys/kernel/osrelease", "5.15.148-tegra\n")
    check = fake.look("virtual camera")
    assert check.state == "missing"
    assert "v4l2loopback is not loaded" in check.found
    assert check.fix.splitlines() == [
        f"{INSTALL} linux-headers-5.15.148-tegra",
        LOAD,
        *KEEP.splitlines(),
        PYVIRTUALCAM,
    ]
    assert "exclusive_caps=1" in LOAD
    fake.become_jetson()
    assert fake.look("virtual camera").fix.startswith(f"{INSTALL} nvidia-l4t-kernel-headers\n")


def test_a_module_that_is_built_is_only_loaded(fake: FakeMachine) -> None:
    fake.write("/proc/sys/kernel/osrelease", "6.8.0\n")
    fake.write("/lib/modules/6.8.0/modules.dep", "updates/dkms/v4l2loopback.ko.zst: kernel/x.ko\n")
    fake.packages["pyvirtualcam"] = "0.15.0"
    keep_loopback(fake)
    assert fake.look("virtual camera").fix == LOAD


@pytest.mark.parametrize(
    ("exclusive", "numbers"),
    [("N,N", "10,-1"), ("Y,N", "4,10"), ("0", "-1"), ("", "")],
)
def test_a_device_without_exclusive_caps(fake: FakeMachine, exclusive: str, numbers: str) -> None:
    make_loopback(fake, exclusive=exclusive, numbers=numbers)
    keep_loopback(fake)
    check = fake.look("virtual camera")
    assert check.state == "warn"
    assert "without exclusive_caps=1" in check.found
    assert check.found.endswith(" video10")
    assert check.fix.splitlines() == [UNLOAD, LOAD]


def test_options_are_in_the_order_of_devices_where_no_number_was_asked_for(
    fake: FakeMachine,
) -> None:
    make_loopback(fake, exclusive="Y,Y", numbers="-1,-1")
    keep_loopback(fake)
    assert fake.look("virtual camera").state == "ok"


def test_a_module_without_devices(fake: FakeMachine) -> None:
    make_loopback(fake)
    keep_loopback(fake)
    (fake.root / "sys/devices/virtual/video4linux/video10/name").unlink()
    (fake.root / "sys/devices/virtual/video4linux/video10").rmdir()
    check = fake.look("virtual camera")
    assert (check.state, check.found) == ("missing", "v4l2loopback has no device")
    assert check.fix.splitlines() == [UNLOAD, LOAD]


def test_what_is_gone_after_a_reboot(fake: FakeMachine) -> None:
    make_loopback(fake)
    check = fake.look("virtual camera")
    assert (check.state, check.fix) == ("warn", KEEP)
    assert check.found.endswith("not loaded after a reboot")
    keep_loopback(fake)
    fake.write("/etc/modprobe.d/v4l2loopback.conf", "options v4l2loopback video_nr=10\n")
    assert fake.look("virtual camera").fix == KEEP


def test_a_virtual_camera_that_nothing_writes_to(fake: FakeMachine) -> None:
    make_loopback(fake)
    keep_loopback(fake)
    del fake.packages["pyvirtualcam"]
    check = fake.look("virtual camera")
    assert (check.state, check.fix) == ("missing", PYVIRTUALCAM)


# Another mggr-edge


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (
            ("/venv/bin/python", "/venv/bin/mggr-edge", "run", "csi://0", "v4l2loopback:///dev/v"),
            "mggr-edge run csi://0 v4l2loopback:///dev/v (pid 55)",
        ),
        (
            (
                "/usr/bin/python3.12",
                "-u",
                "-m",
                "mggr_edge",
                "run",
                "rtsp://me:secret@cam/live",
                "null://",
            ),
            "mggr-edge run rtsp://me:...@cam/live null:// (pid 55)",
        ),
        (("mggr-edge", "calibrate", "/dev/video0"), "mggr-edge calibrate /dev/video0 (pid 55)"),
    ],
)
def test_a_second_one_would_fight_for_the_camera(
    fake: FakeMachine, arguments: tuple[str, ...], shown: str
) -> None:
    fake.run(55, "mggr-edge", *arguments)
    check = fake.look("mggr-edge")
    assert check.state == "warn"
    assert check.found.startswith(f"{shown}: ")
    assert check.fix == "kill -INT 55"


def test_a_service_is_stopped_by_systemd(fake: FakeMachine) -> None:
    fake.run(55, "mggr-edge", "mggr-edge", "run", "/dev/video0", "null://")
    fake.write("/proc/55/cgroup", "0::/system.slice/mggr-edge.service\n")
    assert fake.look("mggr-edge").fix == "sudo systemctl stop mggr-edge.service"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("vim", "mggr-edge"), "no other process"),
        (("mggr-edge", "doctor"), "no other process"),
        (("sudo", "mggr-edge", "run", "csi://0"), "no other process"),
        (("",), "no other process"),
        (("mggr-edge", "run", "a.mp4"), "mggr-edge run a.mp4 (pid 55); files only"),
        (("mggr-edge",), "no other process"),
    ],
)
def test_what_takes_no_camera_is_no_trap(
    fake: FakeMachine, arguments: tuple[str, ...], found: str
) -> None:
    fake.run(55, "x", *arguments)
    check = fake.look("mggr-edge")
    assert (check.state, check.fix) == ("ok", None)
    assert check.found == found


def test_this_process_is_not_another_one(fake: FakeMachine) -> None:
    fake.run(1, "mggr-edge", "mggr-edge", "run", "csi://0")
    assert fake.look("mggr-edge").found == "no other process"


# Heat, memory, disk


def test_the_hottest_zone_is_named(fake: FakeMachine) -> None:
    assert fake.look("temperature").state == "missing"
    for number, (name, text) in enumerate(
        [
            ("cpu-thermal", "51500"),
            ("gpu-thermal", "62400"),
            ("cv0-thermal", ""),
            ("iwlwifi", "-256000"),
            ("PMIC-Die", "100000"),
        ]
    ):
        fake.write(f"/sys/class/thermal/thermal_zone{number}/type", f"{name}\n")
        fake.write(f"/sys/class/thermal/thermal_zone{number}/temp", f"{text}\n")
    check = fake.look("temperature")
    assert (check.state, check.fix) == ("ok", None)
    assert check.found == "62 °C in gpu-thermal, the hottest of 2 zones"
    fake.write("/sys/class/thermal/thermal_zone0/temp", "91000\n")
    check = fake.look("temperature")
    assert check.state == "warn"
    assert check.found.startswith("91 °C in cpu-thermal, the hottest of 2 zones; ")
    assert "--input-width 640" in check.fix


@pytest.mark.parametrize(("kilobytes", "state"), [(400_000, "warn"), (4_000_000, "ok")])
def test_little_memory_is_a_warning(fake: FakeMachine, kilobytes: int, state: str) -> None:
    fake.write("/proc/meminfo", f"MemTotal: 8000000 kB\nMemAvailable:   {kilobytes} kB\n")
    check = fake.look("memory")
    assert check.state == state
    if state == "warn":
        assert check.found == "only 410 MB free"
        assert check.fix.startswith("ps -eo pid,rss,comm --sort=-rss | head")


def test_memory_that_is_not_told(fake: FakeMachine) -> None:
    check = fake.look("memory")
    assert (check.state, check.found) == (
        "warn",
        "the free memory cannot be read from /proc/meminfo",
    )


@pytest.mark.parametrize(("free", "state"), [(700_000_000, "warn"), (70_000_000_000, "ok")])
def test_a_disk_that_is_nearly_full_is_a_warning(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    check = fake.look("disk")
    assert check.state == state
    if state == "warn":
        assert check.found == f"only 700 MB free in {fake.root}"
        assert check.fix.startswith(f"du -xh -d 1 {fake.root} | sort -h | tail")
    else:
        assert check.found == f"70.0 GB free in {fake.root}"
