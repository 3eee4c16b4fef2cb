"""Bundles that lie, with checksums that do not tell."""

import hashlib
import json

from mggr_edge.models.bundle_archive import checksum_lines


def replace_file(bundle, name, content):
    """Puts another file in, and makes contract and checksums say that it belongs there."""
    (bundle / name).write_bytes(content)
    contract = json.loads((bundle / "contract.json").read_text())
    models = [one for formats in contract["models"].values() for one in formats]
    for artifact in (*models, *contract["references"].values()):
        if artifact["file"] == name:
            artifact["sha256"] = hashlib.sha256(content).hexdigest()
    (bundle / "contract.json").write_text(json.dumps(contract))
    files = {
        file.relative_to(bundle).as_posix(): file.read_bytes()
        for file in bundle.rglob("*")
        if file.is_file() and file.name != "SHA256SUMS"
    }
    (bundle / "SHA256SUMS").write_text(checksum_lines(files))
