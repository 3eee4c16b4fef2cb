"""A tree of files that looks like a machine, and the little that is not in files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mggr_edge.media.live.csi import GStreamer
from mggr_edge.tools.doctor import CHECKS, Check, Machine

JETSON = "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref\n"


def fake_cv2(*, gstreamer: bool = False, windows: bool = False) -> SimpleNamespace:
    """An OpenCV that only tells how it was built."""
    information = (
        f"  GUI:                           {'GTK3' if windows else 'NONE'}\n"
        f"    GStreamer:                   {'YES (1.16.3)' if gstreamer else 'NO'}\n"
    )
    return SimpleNamespace(
        __version__="4.8.0", __file__="/usr/lib/cv2.so", getBuildInformation=lambda: information
    )


@dataclass
class FakeMachine:
    """What a test changes before it lets a check look."""

    root: Path
    packages: dict[str, str] = field(
        default_factory=lambda: {"numpy": "1.26.4", "opencv-python-headless": "4.8.0"}
    )
    modules: dict[str, Any] = field(
        default_factory=lambda: {
            "cv2": fake_cv2(),
            "av": SimpleNamespace(
                __version__="16.1.0",
                library_versions={"libavcodec": (62, 1, 0)},
                codecs_available={"libx264"},
            ),
            "PIL": SimpleNamespace(__version__="11.3.0"),
            "ai_edge_litert.interpreter": object(),
            "tflite_runtime.interpreter": object(),
        }
    )
    interpreters: dict[str, str] | None = field(default_factory=lambda: {"ai-edge-litert": "2.3.0"})
    elements: set[str] = field(default_factory=set)
    gstreamer_error: Exception | None = None
    answers: dict[str, str] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    gpu: str = "Orin"
    python: tuple[int, int] = (3, 10)
    prefix: str = "/usr"
    base_prefix: str = "/usr"

    def write(self, path: str, text: str = "") -> None:
        """Puts a file into the tree."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def run(self, pid: int, name: str, *arguments: str, holds: str | None = None) -> None:
        """Puts a process into the tree."""
        self.write(f"/proc/{pid}/comm", f"{name}\n")
        self.write(f"/proc/{pid}/cmdline", "".join(f"{word}\0" for word in arguments))
        self.write(f"/proc/{pid}/stat", f"{pid} ({name}) S 1 1")
        folder = self.root / f"proc/{pid}/fd"
        folder.mkdir()
        if holds is not None:
            (folder / "7").symlink_to(holds)

    def become_jetson(self) -> None:
        """Puts NVIDIA's mark into the tree."""
        self.write("/etc/nv_tegra_release", JETSON)

    @property
    def machine(self) -> Machine:
        """As the checks see it."""
        return Machine(
            root=self.root,
            folder=self.root,
            own_pid=1,
            python=self.python,
            prefix=self.prefix,
            base_prefix=self.base_prefix,
            import_=self._import,
            version=self.packages.get,
            interpreters=lambda: self.interpreters,
            gstreamer=self._gstreamer,
            answer=lambda command: self.answers.get(" ".join(command)),
            may_use=lambda device: device.name not in self.forbidden,
            engine_folder=lambda: self.root / "engines",
            gpu_name=lambda: self.gpu,
        )

    def look(self, name: str) -> Check:
        """What a check says that applies."""
        check = CHECKS[name](self.machine)
        assert check is not None
        assert check.name == name
        return check

    def _import(self, name: str) -> Any:
        if name not in self.modules:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return self.modules[name]

    def _gstreamer(self, *, serving: bool) -> GStreamer:
        if self.gstreamer_error is not None:
            raise self.gstreamer_error
        factory = SimpleNamespace(find=lambda name: name if name in self.elements else None)
        gst = SimpleNamespace(ElementFactory=factory, version=lambda: (1, 20, 3, 0))
        return GStreamer(gst, None)
