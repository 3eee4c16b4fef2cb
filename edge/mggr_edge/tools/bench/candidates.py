"""Who is timed: every model file of every bundle, on each runtime that can run it here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import EngineError, UsageError
from mggr_edge.models.contract import Artifact, Contract, TensorSpec
from mggr_edge.models.runtimes import FileRunner, open_file, runtimes
from mggr_edge.models.tensorrt import python_builder as tensorrt_api
from mggr_edge.models.tensorrt.build_options import dotted
from mggr_edge.models.tensorrt.installed import find_engine, usable_engine

_SEED = 0


@dataclass(frozen=True)
class Contestant:
    """One file on one runtime with so many threads.

    Attributes:
        bundle: name that its user gave the bundle.
        model: name of the model there.
        artifact: the file, as the contract describes it.
        content: its bytes.
        runtime: distribution name of what runs it.
        version: of that.
        threads: that the runtime may use.
    """

    bundle: str
    model: str
    artifact: Artifact
    content: bytes
    runtime: str
    version: str
    threads: int

    def open(self) -> FileRunner:
        """Loads the file into its runtime; an engine of it from where it was built.

        Raises:
            EngineError: the engine cannot be opened.
        """
        if self.runtime == tensorrt_api.NAME:
            engine = find_engine((self.artifact,))
            if engine is None:
                raise EngineError(f"the engine of {self.artifact.file} was removed meanwhile")
            return engine.open()
        return open_file(
            self.content, self.artifact.format, num_threads=self.threads, runtime=self.runtime
        )


def contestants_of(
    bundle: str,
    contract: Contract,
    files: Mapping[str, bytes],
    *,
    models: Sequence[str] | None,
    threads: Sequence[int],
) -> list[Contestant]:
    """Everybody of one bundle who can run on this machine.

    Args:
        bundle: how it is called in the table.
        contract: of the bundle.
        files: its bytes by name.
        models: only these; None takes all.
        threads: each file is run with each of these numbers.

    Raises:
        UsageError: a model that the bundle does not hold.
    """
    chosen = tuple(contract.models) if models is None else tuple(models)
    if unknown := [name for name in chosen if name not in contract.models]:
        held = ", ".join(sorted(contract.models))
        raise UsageError(f"{bundle} has no model {', '.join(unknown)}; it holds: {held}")
    return [
        Contestant(bundle, model, artifact, files[artifact.file], runtime, version, count)
        for model in chosen
        for artifact in contract.models[model]
        for runtime, version in (runtimes(artifact.format) | _engine_runtime(artifact)).items()
        # An engine has no threads to choose.
        for count in (threads if runtime != tensorrt_api.NAME else threads[:1])
    ]


def _engine_runtime(artifact: Artifact) -> dict[str, str]:
    """TensorRT, where an engine of the file was built here: name -> version."""
    engine = usable_engine((artifact,))
    if engine is None:
        return {}
    return {tensorrt_api.NAME: dotted(tensorrt_api.version_of(engine.module))}


def inputs_for(specs: Sequence[TensorSpec]) -> dict[str, NDArray]:
    """Inputs of the right shapes, seeded: within a tensor's range, or around zero."""
    rng = np.random.default_rng(_SEED)
    made = {}
    for spec in specs:
        low, high = spec.range or (-1.0, 1.0)
        made[spec.name] = rng.uniform(low, high, spec.shape).astype(spec.dtype)
    return made
