"""Models of the zoo by name or configuration, as `dse profile` and others take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import WorkloadError

if TYPE_CHECKING:
    from workloads.workload import Program, Workload

__all__ = ["ZooOptions", "ZooSource", "is_zoo_model", "option", "refuse_reading"]


_PARAMETERS = ("phase", "context", "dtype", "kv_bits", "tokens", "logits", "prompt", "exact", "points")
"""Of `architecture` and `generation`: what stands beside the sizes there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooOptions:
    """What of a zoo model is computed; None: what the zoo does by itself.

    Attributes:
        phase: encode, prefill or decode.
        context: Decode: tokens in the cache before the step.
        tokens: A whole generation of so many tokens after a prompt of `seq`.
        dtype: fp32, fp16 or bf16.
        kv_bits: Width of the KV cache [bit].
    """

    phase: str | None = None
    context: int | None = None
    tokens: int | None = None
    dtype: str | None = None
    kv_bits: int | None = None

    def given(self) -> dict[str, Any]:
        """Give what was asked for."""
        values = {name: getattr(self, name) for name in ("phase", "context", "tokens", "dtype", "kv_bits")}
        return {name: value for name, value in values.items() if value is not None}

    def refuse(self, model: str) -> None:
        """Refuse options that an ONNX file cannot follow.

        Raises:
            WorkloadError: One is given.
        """
        for name in self.given():
            raise WorkloadError(
                f"{option(name)} is for models of the zoo, which `dse zoo` lists; "
                f"{model!r} is a file, whose graph is what it is"
            )


def option(name: str) -> str:
    """Write a parameter's name as an option.

    Example:
        >>> option("kv_bits")
        '--kv-bits'
    """
    return f"--{name.replace('_', '-')}"


def refuse_reading(model: str, reading: Mapping[str, Any]) -> None:
    """Refuse options that say how a file is read, for a model of the zoo, which is none.

    Args:
        model: Its name.
        reading: Option name to what was given.

    Raises:
        WorkloadError: One is given.
    """
    for name, value in reading.items():
        if value:
            raise WorkloadError(
                f"{option(name)} says how an .onnx file is read; {model!r} is a model of the zoo: leave it out, or "
                f"write the file first with `dse zoo {model} --out FILE.onnx`"
            )


def is_zoo_model(name: str) -> bool:
    """Say whether a name is a published architecture, a config.json or a folder with one."""
    from workloads.zoo.catalogue import published_names

    path = Path(name)
    return name in published_names() or path.name == "config.json" or (path / "config.json").is_file()


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooSource:
    """A model of the zoo and what of it is computed.

    Attributes:
        model: A published name, a config.json or a folder with one.
        bind: Sizes: batch, seq, and further dims of the graph.
        options: Phase, context, formats.
    """

    model: str
    bind: Mapping[str, int] = field(default_factory=dict)
    options: ZooOptions = field(default_factory=ZooOptions)

    def load_work(self, batch: int | None = None) -> Workload | Program:
        """Load the workload, or the program of a whole generation, with another batch size if one is given."""
        from workloads.zoo import architecture, generation

        sizes: dict[str, Any] = dict(self.bind) if batch is None else {**self.bind, "batch": batch}
        options = self.options.given()
        for name in sizes:
            if name in _PARAMETERS:
                known = f"write {option(name)} {sizes[name]}" if hasattr(self.options, name) else "leave it out"
                raise WorkloadError(f"--bind {name}: is no dim of {self.model}; {known}")
        if "tokens" not in options:
            work = architecture(self.model, **options, **sizes)
            self._check_seq(work)
            return work
        for name in ("phase", "context"):
            if name in options:
                raise WorkloadError(f"--tokens is a whole generation; it has no --{name}; leave one of them out")
        return generation(self.model, prompt=sizes.pop("seq", 128), **options, **sizes)

    def _check_seq(self, work: Workload) -> None:
        """Refuse a `seq` that nothing was made of: neither a dim, nor a context or encoder length by default."""
        dims = work.bindings
        sized = "seq" in dims or ("source" in dims and "source" not in self.bind)
        sized |= self.options.context is None and any(name.endswith("total") for name in dims)
        if "seq" in self.bind and not sized:
            raise WorkloadError(
                f"--bind seq={self.bind['seq']}: no size of {self.model} in this phase follows from it; its dims are "
                f"{', '.join(f'{name}={size}' for name, size in dims.items())}"
            )

    def batch_symbols(self) -> set[str]:
        """Give the names of the batch dim."""
        return {self.batch_name()}

    def batch_name(self) -> str:
        """Say what the batch dim is called."""
        return "batch"
