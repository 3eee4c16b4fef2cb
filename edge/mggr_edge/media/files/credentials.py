"""Sign files with content credentials (C2PA), and read the credentials of files.

A manifest states who signed a file, what was changed, and from which file it was made. The
signature covers the content of the file, so a later change is detected. The library c2pa-python
writes and checks the manifests. It opens no network connection.

References:
    C2PA Technical Specification 2.x, https://spec.c2pa.org
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mggr_edge.common import __version__
from mggr_edge.errors import MissingPackageError, StreamError, UsageError
from mggr_edge.media.files.marks import REDIRECTED, SOURCE_TYPE

_MIME_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".avif": "image/avif",
    ".gif": "image/gif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
}

SIGNED_SUFFIXES = frozenset(_MIME_TYPES) - {".heic", ".heif"}
"""Suffixes of the output files that can be signed."""

_OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
"""Settings of c2pa-python. By default, the library downloads manifests from addresses in files."""

_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True)
class Signing:
    """Key, certificates and model with which output files are signed.

    Attributes:
        key: private key in PEM format.
        certificates: certificate chain in PEM format. The certificate of the key is first.
        algorithm: signature algorithm that fits the key, for example `es256`.
        model: name of the model that redirects the gaze.
        model_sha256: checksum of the file of the redirector.
    """

    key: bytes = field(repr=False)
    certificates: bytes = field(repr=False)
    algorithm: str
    model: str = ""
    model_sha256: str = ""

    @classmethod
    def open(cls, key: str, certificates: str) -> Signing:
        """Read the key and the certificates, and sign a small picture as a test.

        Args:
            key: path of the private key, in PEM format and not encrypted.
            certificates: path of the certificate chain, in PEM format.

        Raises:
            UsageError: a file cannot be read, the key has a kind that C2PA does not allow, or the
                key and the certificates do not fit.
            MissingPackageError: c2pa-python is not installed.
        """
        _import_c2pa()
        content = {}
        for option, path in (("--sign", key), ("--certificate", certificates)):
            try:
                content[option] = Path(path).read_bytes()
            except OSError as error:
                raise UsageError(
                    f"{option} {path} cannot be read: {error.strerror}",
                    code="credentials-unreadable",
                    option=option,
                    path=path,
                    reason=error.strerror,
                ) from error
        signing = cls(
            content["--sign"], content["--certificate"], _algorithm_of(content["--sign"], key)
        )
        try:
            signing._signed(io.BytesIO(_SMALL_PICTURE), "image/gif", None, "test.gif")
        except _import_c2pa().C2paError as error:
            raise UsageError(
                f"--sign {key} with --certificate {certificates} cannot sign: {error}",
                code="credentials-invalid",
                path=key,
                certificates=certificates,
                reason=str(error),
            ) from error
        return signing

    def check_format(self, path: Path) -> None:
        """Check that a file of this format can be signed.

        Raises:
            UsageError: C2PA does not support the format.
        """
        if path.suffix.lower() not in SIGNED_SUFFIXES:
            raise UsageError(
                f"{path} cannot be signed: C2PA does not support {path.suffix}; use one of "
                f"{', '.join(sorted(SIGNED_SUFFIXES))}",
                code="format-without-credentials",
                path=path,
                suffix=path.suffix,
            )

    def sign(self, written: Path, *, source: Path, title: str) -> None:
        """Sign a complete file in place.

        Args:
            written: path of the file. The suffix selects the format.
            source: path of the input from which the file was made.
            title: name of the file in the manifest.

        Raises:
            UsageError: the format cannot be signed.
            StreamError: the file cannot be signed or written.
        """
        self.check_format(written)
        signed = written.with_name(f"signed-{written.name}")
        try:
            with written.open("rb") as content, signed.open("w+b") as made:
                self._sign(content, made, _MIME_TYPES[written.suffix.lower()], source, title)
            signed.replace(written)
        except (OSError, _import_c2pa().C2paError) as error:
            raise StreamError(
                f"{title} cannot be signed: {error}",
                code="signing-failed",
                path=title,
                reason=str(error),
            ) from error
        finally:
            signed.unlink(missing_ok=True)

    def _signed(self, content: Any, mime: str, source: Path | None, title: str) -> bytes:
        made = io.BytesIO()
        self._sign(content, made, mime, source, title)
        return made.getvalue()

    def _sign(self, content: Any, made: Any, mime: str, source: Path | None, title: str) -> None:
        c2pa = _import_c2pa()
        info = c2pa.C2paSignerInfo(self.algorithm, self.certificates, self.key, None)
        with (
            c2pa.Signer.from_info(info) as signer,
            c2pa.Context.from_dict(_OFFLINE) as context,
            c2pa.Builder(json.dumps(self._manifest(mime, title, source)), context) as builder,
        ):
            if source is not None and source.suffix.lower() in _MIME_TYPES:
                ingredient = {"title": source.name, "relationship": "parentOf", "label": _INPUT}
                with source.open("rb") as original:
                    builder.add_ingredient(
                        json.dumps(ingredient), _MIME_TYPES[source.suffix.lower()], original
                    )
            builder.sign(signer, mime, content, made)

    def _manifest(self, mime: str, title: str, source: Path | None) -> dict[str, Any]:
        agent = {"name": "mggr-edge", "version": __version__}
        edited = {
            "action": "c2pa.edited",
            "description": REDIRECTED,
            "digitalSourceType": SOURCE_TYPE,
            "softwareAgent": agent,
            "parameters": {"model": self.model, "model_sha256": self.model_sha256},
        }
        opened: dict[str, Any] = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
        if source is not None and source.suffix.lower() in _MIME_TYPES:
            opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [_INPUT]}}
        return {
            "claim_generator_info": [agent],
            "title": title,
            "format": mime,
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [opened, edited]}}],
        }


_INPUT = "input"

_SMALL_PICTURE = bytes.fromhex(
    "47494638396101000100800000000000ffffff2c00000000010001000002024401003b"
)
"""A GIF of one pixel."""


@dataclass(frozen=True)
class Credentials:
    """Content credentials of a file.

    Attributes:
        state: `Trusted`, `Valid` or `Invalid`. `Valid` means that the content is unchanged, but the
            certificate of the signer is not in a list of trusted certificates.
        signer: name of the organisation or person in the certificate; empty if it is unknown.
        generator: program that made the manifest.
        actions: actions in the manifest, for example `c2pa.edited`.
        source_types: values of `digitalSourceType` of the actions.
        ingredients: titles of the files from which this file was made.
        problems: codes of the failed checks, for example `assertion.dataHash.mismatch`.
    """

    state: str
    signer: str = ""
    generator: str = ""
    actions: tuple[str, ...] = ()
    source_types: tuple[str, ...] = ()
    ingredients: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def has_library() -> bool:
    """Return whether c2pa-python is installed."""
    try:
        _import_c2pa()
    except MissingPackageError:
        return False
    return True


def read_credentials(path: Path) -> Credentials | None:
    """Read and check the content credentials of a file.

    Returns:
        The credentials. `None` if the file has none, or if C2PA does not support its format.

    Raises:
        MissingPackageError: c2pa-python is not installed.
        StreamError: the file cannot be read.
    """
    c2pa = _import_c2pa()
    mime = _MIME_TYPES.get(path.suffix.lower())
    if mime is None:
        return None
    try:
        with path.open("rb") as content, c2pa.Context.from_dict(_OFFLINE) as context:
            reader = c2pa.Reader.try_create(mime, content, context=context)
            if reader is None:
                return None
            with reader:
                report = json.loads(reader.json())
    except OSError as error:
        raise StreamError(
            f"{path} cannot be read: {error.strerror}",
            code="file-unreadable",
            path=path,
            reason=error.strerror,
        ) from error
    except c2pa.C2paError as error:
        return Credentials("Invalid", problems=(str(error),))
    return _credentials_of(report)


def _credentials_of(report: dict[str, Any]) -> Credentials:
    manifest = report.get("manifests", {}).get(report.get("active_manifest"), {})
    actions = [
        action
        for assertion in manifest.get("assertions", [])
        if assertion.get("label", "").startswith("c2pa.actions")
        for action in assertion.get("data", {}).get("actions", [])
    ]
    generators = manifest.get("claim_generator_info") or [{}]
    generator = f"{generators[0].get('name', '')} {generators[0].get('version', '')}".strip()
    results = (report.get("validation_results") or {}).get("activeManifest") or {}
    problems = [one.get("code", "") for one in results.get("failure", [])]
    problems = problems or [one.get("code", "") for one in report.get("validation_status", [])]
    signature = manifest.get("signature_info") or {}
    return Credentials(
        state=report.get("validation_state", "Invalid" if problems else "Valid"),
        signer=signature.get("issuer") or signature.get("common_name") or "",
        generator=generator or manifest.get("claim_generator", ""),
        actions=tuple(action.get("action", "") for action in actions),
        source_types=tuple(
            action["digitalSourceType"] for action in actions if action.get("digitalSourceType")
        ),
        ingredients=tuple(one.get("title", "") for one in manifest.get("ingredients", [])),
        problems=tuple(dict.fromkeys(problems)),
    )


def _algorithm_of(key: bytes, path: str) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        opened = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"--sign {path} is not a private key in PEM format without a password",
            code="key-unreadable",
            path=path,
            reason=str(error),
        ) from error
    if isinstance(opened, ec.EllipticCurvePrivateKey) and opened.curve.name in _CURVES:
        return _CURVES[opened.curve.name]
    if isinstance(opened, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(opened, rsa.RSAPrivateKey):
        return "ps256"
    raise UsageError(
        f"--sign {path}: C2PA allows keys of the kinds P-256, P-384, P-521, Ed25519 and RSA",
        code="key-kind-unsupported",
        path=path,
    )


def _import_c2pa() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise MissingPackageError("c2pa-python (content credentials)", "sign") from error
    return c2pa
