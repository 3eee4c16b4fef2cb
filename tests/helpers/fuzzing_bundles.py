"""Bundles: tampered with, which must be refused; and of contracts that are edited consistently.

A contract that was edited together with `SHA256SUMS` is another bundle, not a tampered one: it may
run, or be refused in one line.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2

from fuzzing import Case, Rng
from fuzzing_bytes import cut, flipped
from fuzzing_json import mutated_text
from mggr_edge.models.bundle_archive import CONTRACT_FILE, SUMS_FILE, checksum_lines
from mggr_edge.models.installed import packaged_bundles
from ramps import smooth_picture
from spoilt import replace_file

Files = dict[str, bytes]

_ESTIMATOR, _REDIRECTOR, _LICENCES = (
    "models/estimator.tflite",
    "models/redirector.tflite",
    "LICENCES.txt",
)


def make_bundle_case(rng: Rng, folder: Path) -> Case:
    """A bundle that somebody changed: it must be refused, with what is wrong."""
    _write_photo(folder)
    tamper = (*_IN_FOLDER, *_IN_ZIP)[rng.integers(len(_IN_FOLDER) + len(_IN_ZIP))]
    if tamper in _IN_FOLDER:
        name = "bundle"
        _write_folder(folder / name, sound_bundle())
        reported = tamper(rng, folder / name)
    else:
        name = "bundle.zip"
        content, reported = _IN_ZIP_BY_NAME[tamper.__name__](rng)
        (folder / name).write_bytes(content)
    what = f"{tamper.__name__.strip('_').replace('_', ' ')} ({reported})"
    return Case(("me.png", "null://", "--model", name), refused=reported, bundle=name, what=what)


def make_contract_case(rng: Rng, folder: Path) -> Case:
    """A bundle whose checksums are right, whatever its contract or its models are."""
    _write_photo(folder)
    bundle = folder / "bundle"
    files = dict(sound_bundle())
    if rng.random() < 0.2:
        _write_folder(bundle, files)
        what = _put_another_model(rng, bundle, files)
    else:
        files[CONTRACT_FILE], what = mutated_text(rng, json.loads(files[CONTRACT_FILE]))
        _write_folder(bundle, _with_sums(files))
    return Case(("me.png", "out.png", "--model", "bundle"), "out.png", bundle="bundle", what=what)


@cache
def _packaged() -> Files:
    root = packaged_bundles() / "int8"
    return {
        file.relative_to(root).as_posix(): file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }


def sound_bundle() -> Files:
    """The packaged integer bundle, `SHA256SUMS` too."""
    return _packaged()


def _with_sums(files: Files) -> Files:
    rest = {name: content for name, content in files.items() if name != SUMS_FILE}
    return {**rest, SUMS_FILE: checksum_lines(rest).encode()}


def _write_folder(path: Path, files: Files) -> None:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


def _write_photo(folder: Path) -> None:
    (folder / "me.png").write_bytes(cv2.imencode(".png", smooth_picture())[1].tobytes())


def _put_another_model(rng: Rng, bundle: Path, files: Files) -> str:
    """Only what no interpreter takes for a model: of bytes that it does, it believes every one."""
    name, other = (_ESTIMATOR, _REDIRECTOR) if rng.random() < 0.5 else (_REDIRECTOR, _ESTIMATOR)
    contents = {
        "the other model": files[other],
        "nothing": b"",
        "text": b"a model",
        "noise": rng.bytes(5000),
        "an ONNX beginning": b"\x08\x09" + rng.bytes(200),
    }
    what = str(rng.choice(list(contents)))
    replace_file(bundle, name, contents[what])
    return f"{what} in the place of {name}"


# In a folder. Each changes something that matters, and says what the complaint must name.


def _flipped_bits(rng: Rng, bundle: Path) -> str:
    name = _some_file(rng)
    (bundle / name).write_bytes(flipped(rng, (bundle / name).read_bytes()))
    return "bundle" if name == SUMS_FILE else name


def _cut_short(rng: Rng, bundle: Path) -> str:
    name = _some_file(rng)
    content = (bundle / name).read_bytes()
    # Not merely the last line's end, which means nothing.
    (bundle / name).write_bytes(cut(rng, content[:-1]))
    return "bundle" if name == SUMS_FILE else name


def _swapped_files(rng: Rng, bundle: Path) -> str:
    one, two = (str(name) for name in rng.permutation(sorted(sound_bundle()))[:2])
    first, second = (bundle / one).read_bytes(), (bundle / two).read_bytes()
    (bundle / one).write_bytes(second)
    (bundle / two).write_bytes(first)
    return "bundle"


def _extra_file(rng: Rng, bundle: Path) -> str:
    names = ("extra", ".hidden", "models/extra.tflite", "models/deep/extra", "SHA256SUMS.old")
    name = names[rng.integers(len(names))]
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).write_bytes(rng.bytes(int(rng.integers(10))))
    return name


def _extra_thing(rng: Rng, bundle: Path) -> str:
    """Neither file nor folder: what reads a bundle elsewhere may follow it."""
    match rng.integers(4):
        case 0:
            os.mkfifo(bundle / "pipe")
            return "pipe"
        case 1:
            (bundle / "link").symlink_to("/no/such/file")
            return "link"
        case 2:
            (bundle / "link").symlink_to(bundle.parent)
            return "link"
        case _:
            (bundle / "models" / "round").symlink_to("round")
            return "round"


def _missing_file(rng: Rng, bundle: Path) -> str:
    name = _some_file(rng)
    (bundle / name).unlink()
    return "bundle" if name in (SUMS_FILE, CONTRACT_FILE) else name


def _name_in_another_case(rng: Rng, bundle: Path) -> str:
    name = _some_file(rng)
    other = bundle / Path(name).with_name(Path(name).name.swapcase())
    (bundle / name).rename(other)
    return "bundle"


def _edited_contract(rng: Rng, bundle: Path) -> str:
    data = json.loads((bundle / CONTRACT_FILE).read_text())
    data["conventions"]["crop_factor"] = float(rng.uniform(1, 9))
    (bundle / CONTRACT_FILE).write_text(json.dumps(data))
    return CONTRACT_FILE


def _another_model_with_its_sum(rng: Rng, bundle: Path) -> str:
    """`SHA256SUMS` fits; the contract's own checksum does not."""
    name = _ESTIMATOR if rng.random() < 0.5 else _REDIRECTOR
    files = dict(sound_bundle())
    files[name] = flipped(rng, files[name])
    _write_folder(bundle, _with_sums(files))
    return name


def _edited_sums(rng: Rng, bundle: Path) -> str:
    lines = (bundle / SUMS_FILE).read_text().splitlines()
    at = int(rng.integers(len(lines)))
    other = "0" * 64 + lines[at][64:]
    name = lines[at][66:]
    match rng.integers(6):
        case 0:
            lines.insert(at, other)
        case 1:
            lines.insert(at + 1, other)
        case 2:
            lines.append(lines[at])
        case 3:
            del lines[at]
            name = "bundle" if name == CONTRACT_FILE else name
        case 4:
            lines[at] = lines[at][:64].upper() + lines[at][64:]
        case _:
            lines[at] = other
    (bundle / SUMS_FILE).write_text("".join(f"{line}\n" for line in lines))
    return name


def _file_outside(rng: Rng, bundle: Path) -> str:
    """A checksum of a file that lies elsewhere, and is right."""
    outside = bundle.parent / "outside.txt"
    outside.write_bytes(b"elsewhere")
    name = ("../outside.txt", outside.as_posix(), "models/../../outside.txt")[rng.integers(3)]
    line = checksum_lines({name: b"elsewhere"})
    with open(bundle / SUMS_FILE, "a") as file:
        file.write(line)
    return "outside.txt"


def _link_to_another_file(rng: Rng, bundle: Path) -> str:
    name = _some_file(rng)
    outside = bundle.parent / "outside"
    outside.write_bytes(flipped(rng, (bundle / name).read_bytes()))
    (bundle / name).unlink()
    (bundle / name).symlink_to(outside)
    return "bundle" if name == SUMS_FILE else name


def _linked_folder(rng: Rng, bundle: Path) -> str:
    shutil.move(bundle / "models", bundle.parent / "models")
    (bundle / "models").symlink_to(bundle.parent / "models")
    return "models"


def _vast_file(rng: Rng, bundle: Path) -> str:
    """With nothing in it, and larger than any memory."""
    name = str(rng.choice([_ESTIMATOR, CONTRACT_FILE, "extra"]))
    with open(bundle / name, "ab") as file:
        file.truncate(1 << 40)
    return "bundle"


_IN_FOLDER: tuple[Callable[[Rng, Path], str], ...] = (
    *(_flipped_bits,) * 4,
    *(_cut_short,) * 2,
    _swapped_files,
    *(_extra_file,) * 2,
    *(_extra_thing,) * 2,
    _missing_file,
    _name_in_another_case,
    _edited_contract,
    _another_model_with_its_sum,
    *(_edited_sums,) * 3,
    _file_outside,
    _link_to_another_file,
    _linked_folder,
    _vast_file,
)


def _some_file(rng: Rng) -> str:
    return str(rng.choice(sorted(sound_bundle())))


# In a zip.


def zipped(entries: list[tuple[str | zipfile.ZipInfo, bytes]], *, stored: bool = False) -> bytes:
    """A zip of entries, names twice and names that lead away too."""
    file = io.BytesIO()
    kind = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", kind) as archive:
        warnings.simplefilter("ignore", UserWarning)  # a name twice
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


def _entries(files: Files) -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    return list(files.items())


def _zip_with_a_name_twice(rng: Rng) -> tuple[bytes, str]:
    """Which of the two is read depends on who reads it."""
    entries = _entries(sound_bundle())
    at = int(rng.integers(len(entries)))
    name, content = entries[at]
    other = (name, flipped(rng, content))
    entries.insert(at if rng.random() < 0.5 else at + 1, other)
    return zipped(entries), str(name)


def _zip_with_a_name_twice_alike(rng: Rng) -> tuple[bytes, str]:
    """A name that ends early, or is written in another way."""
    files = sound_bundle()
    name = _some_file(rng)
    forms = (f"./{name}", f"{name}\0x", f"x/../{name}", name.replace("/", "//"), name.upper())
    other = forms[rng.integers(len(forms))]
    info = zipfile.ZipInfo("x")
    info.filename = other
    return zipped([*_entries(files), (info, flipped(rng, files[name]))]), "bundle"


def _zip_that_leaves_its_folder(rng: Rng) -> tuple[bytes, str]:
    names = ("../out.txt", "/tmp/out.txt", "models/../../out.txt", "..\\out.txt", "C:/out.txt")
    name = names[rng.integers(len(names))]
    files = {**sound_bundle(), name: b"out"}
    is_listed = rng.random() < 0.7
    return zipped(_entries(_with_sums(files) if is_listed else files)), "out.txt"


def _zip_with_a_link(rng: Rng) -> tuple[bytes, str]:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    files = {**sound_bundle(), "link": b"/etc/passwd"}
    files = _with_sums(files) if rng.random() < 0.7 else files
    entries = [(info if name == "link" else name, content) for name, content in files.items()]
    return zipped(entries), "link"


def _zip_bomb(rng: Rng) -> tuple[bytes, str]:
    return _bomb(is_listed=rng.random() < 0.5), "bundle.zip"


@cache
def _bomb(*, is_listed: bool) -> bytes:
    files = {**sound_bundle(), "zeros": bytes(300_000_000)}
    return zipped(_entries(_with_sums(files) if is_listed else files))


def _zip_with_a_vast_size(rng: Rng) -> tuple[bytes, str]:
    """The size that its list of files declares."""
    content = bytearray(zipped(_entries(sound_bundle())))
    at = _central(content, _some_file(rng))
    content[at + 24 : at + 28] = struct.pack("<I", int(rng.choice([2**31, 2**32 - 2])))
    return bytes(content), "bundle.zip"


def _zip_with_a_wrong_checksum(rng: Rng) -> tuple[bytes, str]:
    content = bytearray(zipped(_entries(sound_bundle())))
    at = _central(content, _some_file(rng))
    content[at + 16] ^= 1 << int(rng.integers(8))
    return bytes(content), "bundle.zip"


def _zip_with_an_odd_entry(rng: Rng) -> tuple[bytes, str]:
    """Encrypted, packed in a way that nobody knows, of a version to come, elsewhere, patched."""
    content = bytearray(zipped(_entries(sound_bundle())))
    at = _central(content, _some_file(rng))
    match rng.integers(6):
        case 0:
            content[at + 8] |= 1  # encrypted
        case 1:
            content[at + 10 : at + 12] = struct.pack("<H", int(rng.choice([1, 9, 12, 14, 93, 99])))
        case 2:
            content[at + 42 : at + 46] = rng.bytes(4)  # where it begins
        case 3:
            content[at + 8] |= 0x20  # a patch
        case 4:
            content[at + 6 : at + 8] = b"\xff\xff"
        case _:
            content[at + 9] |= 0x08  # a name in UTF-8,
            content[at + 46] = 0xFF  # which it is not
    return bytes(content), "bundle.zip"


def _zip_with_a_swapped_model(rng: Rng) -> tuple[bytes, str]:
    files = dict(sound_bundle())
    files[_ESTIMATOR], files[_REDIRECTOR] = files[_REDIRECTOR], files[_ESTIMATOR]
    return zipped(_entries(files)), _ESTIMATOR


def _zip_with_flipped_content(rng: Rng) -> tuple[bytes, str]:
    """Inside of a model, where every byte counts; a zip's own fields need not."""
    content = zipped(_entries(sound_bundle()), stored=True)
    model = sound_bundle()[_REDIRECTOR]
    at = content.index(model)
    return flipped(rng, content, first=at, last=at + len(model)), "bundle.zip"


def _zip_cut_short(rng: Rng) -> tuple[bytes, str]:
    content = zipped(_entries(sound_bundle()))
    return content[: int(rng.integers(len(content)))], "bundle.zip"


def _no_zip(rng: Rng) -> tuple[bytes, str]:
    contents = (b"", b"PK", rng.bytes(300), b"PK\x05\x06" + bytes(18), zipped([("a", b"b")]))
    return contents[rng.integers(len(contents))], "bundle.zip"


_IN_ZIP = (
    *(_zip_with_a_name_twice,) * 2,
    *(_zip_with_a_name_twice_alike,) * 2,
    *(_zip_that_leaves_its_folder,) * 2,
    _zip_with_a_link,
    _zip_bomb,
    *(_zip_with_a_vast_size,) * 2,
    _zip_with_a_wrong_checksum,
    *(_zip_with_an_odd_entry,) * 3,
    _zip_with_a_swapped_model,
    *(_zip_with_flipped_content,) * 2,
    _zip_cut_short,
    _no_zip,
)
_IN_ZIP_BY_NAME = {tamper.__name__: tamper for tamper in _IN_ZIP}


def _central(content: bytes | bytearray, name: str) -> int:
    """Where a file's entry in a zip's own list begins."""
    at = content.find(b"PK\x01\x02")
    while content[at + 46 : at + 46 + len(name)] != name.encode():
        at = content.find(b"PK\x01\x02", at + 4)
        assert at >= 0, name
    return at
