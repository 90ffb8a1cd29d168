"""Models of the zoo by name or configuration, as `dse profile` and others take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import WorkloadError

if TYPE_CHECKING:
    from workloads.workload import Program, Workload

__all__ = ["ZooOptions", "ZooSource", "is_zoo_model"]


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
                f"--{name.replace('_', '-')} is for models of the zoo, which `dse zoo` lists; "
                f"{model!r} is a file, whose graph is what it is"
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
        if "tokens" not in options:
            return architecture(self.model, **options, **sizes)
        for name in ("phase", "context"):
            if name in options:
                raise WorkloadError(f"--tokens is a whole generation; it has no --{name}; leave one of them out")
        return generation(self.model, prompt=sizes.pop("seq", 128), **options, **sizes)

    def batch_symbols(self) -> set[str]:
        """Give the names of the batch dim."""
        return {"batch"}
