"""From what the user typed to models, sizes, devices and handlers."""

from __future__ import annotations

import runpy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import DseError, SpaceError, WorkloadError, nearest

if TYPE_CHECKING:
    from hwmodels import Accelerator, RooflineDevice
    from workloads.onnx.registry import Handler
    from workloads.workload import Program, Workload

__all__ = [
    "ModelSource",
    "any_device",
    "check_bound",
    "device",
    "extra_handlers",
    "local_file",
    "measured_here",
    "model_path",
    "nearest_model",
    "parse_bind",
    "parse_expected",
    "whole_number",
]


# Parameters of `load_onnx` and `load_program`, which take the sizes beside them. (`source` is given by position.)
_TAKEN = ("extra_ops", "free_ops", "missing_weights", "weights", "structure", "probabilities", "trips")


def parse_bind(texts: Collection[str]) -> dict[str, int]:
    """Read sizes of symbolic dims: "batch=1,seq=128", once or several times.

    Example:
        >>> parse_bind(["batch=1,seq=128"])
        {'batch': 1, 'seq': 128}

    Raises:
        WorkloadError: Not NAME=SIZE, or a name is given twice or cannot be bound.
    """
    sizes: dict[str, int] = {}
    for item in (part.strip() for text in texts for part in text.split(",")):
        if not item:
            continue
        name, equals, size = (part.strip() for part in item.rpartition("="))
        if not name or not equals or not _is_whole(size):
            raise WorkloadError(f"--bind {item!r} is not NAME=SIZE with a whole number; write batch=1,seq=128")
        if name in sizes and sizes[name] != int(size):
            raise WorkloadError(f"--bind gives {name!r} twice: {sizes[name]} and {size}; give one size")
        sizes[name] = int(size)
    check_bound(sizes)
    return sizes


def check_bound(names: Collection[str]) -> None:
    """Refuse names of dims that stand for something else where sizes are given.

    Raises:
        WorkloadError: One of them cannot be bound.
    """
    for name in names:
        if name in _TAKEN:
            raise WorkloadError(
                f"cannot bind {name!r}: a dim of this name cannot be bound; rename it in the file (batch and seq bind "
                "axes 0 and 1, whatever they are called there)"
            )


def parse_expected(texts: Collection[str], option: str) -> dict[str, float]:
    """Read what is expected of control flow nodes: "NODE=NUMBER", once per node.

    Args:
        texts: What was typed.
        option: Where, for the message.

    Example:
        >>> parse_expected(["/decoder/If_3=0.25"], "--probability")
        {'/decoder/If_3': 0.25}

    Raises:
        WorkloadError: Not NODE=NUMBER, or a node is given twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not name or not equals or value != value:
            raise WorkloadError(f"{option} {text!r} is not NODE=NUMBER; write {option} if_1=0.5")
        if name in found:
            raise WorkloadError(f"{option} gives {name!r} twice: {found[name]:g} and {value:g}; give one number")
        found[name] = value
    return found


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def whole_number(value: Any, where: str) -> int:
    """Check a whole number of at least 1 from a file.

    Raises:
        SpaceError: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SpaceError(f"{where}: found {value!r}; give a whole number of at least 1")
    return value


def model_path(name: str) -> Path:
    """Find a model: a path, the name of an embedded model, or of a pretrained one (fetched once, by pinned hash).

    Raises:
        WorkloadError: Neither a file nor a name.

    Example:
        >>> model_path("vit-mnist").name
        'vit_mnist.onnx'
    """
    from dse.cli.zoo_source import is_zoo_model
    from workloads.zoo import EMBEDDED, embedded_model
    from workloads.zoo.pretrained import PRETRAINED

    if name in EMBEDDED:
        return embedded_model(name)
    if name in PRETRAINED:
        from workloads.zoo.pretrained_exports import pretrained_onnx

        return pretrained_onnx(name)
    if is_zoo_model(name):
        stem = Path(name).parent.name if Path(name).name == "config.json" else Path(name).name
        raise WorkloadError(
            f"{name!r} is an architecture of the zoo, without weights; write it with some first, and give that file: "
            f"dse zoo {name} --weights FOLDER --out {stem}.onnx (a checkpoint's folder, or the word random)"
        )
    if not Path(name).exists() and Path(name).suffix != ".onnx":
        raise WorkloadError(f"no model {name!r}: no such file; {nearest_model(name)}")
    return Path(name)


def nearest_model(name: str) -> str:
    """Say which models have a name like that: with weights, or of the zoo."""
    from workloads.zoo import EMBEDDED, published_names
    from workloads.zoo.pretrained import PRETRAINED

    stored = sorted({*EMBEDDED, *PRETRAINED})
    listing = f"`dse zoo` lists the architectures; with weights: {', '.join(stored)}"
    return nearest(Path(name).name, [*stored, *published_names()], listing)


def any_device(name: str) -> RooflineDevice | Accelerator:
    """Load a device of any kind: a name, a TOML path, or `local`."""
    import hwmodels

    if name == "local":
        return device(name)
    if name in hwmodels.names():
        return device(name)
    found: RooflineDevice | Accelerator = hwmodels.load(name)
    return found


def device(name: str) -> RooflineDevice:
    """Load a device: a name, a TOML path, or `local`, which is measured first if it must be."""
    from dse.measure.local import needs_measuring
    from dse.model import device_of

    if name == "local" and needs_measuring(local_file()):
        measured_here(local_file())
    return device_of(name)


def local_file() -> Path:
    """Give the file of this CPU as a device."""
    from dse.measure.local import local_path

    return local_path()


def measured_here(path: Path) -> RooflineDevice:
    """Measure this CPU and write its device file: the one call into `dse.measure.local`."""
    from dse.cli.output import console
    from dse.files import output_folder
    from dse.measure.local import measure_local

    output_folder(path.parent)
    console(stderr=True).print("measuring this CPU, about ten seconds")
    return measure_local(path=path)


def extra_handlers(path: Path | None) -> dict[str, Handler]:
    """Run a user's file and take its `HANDLERS`: op type to handler.

    Raises:
        WorkloadError: The file fails, or has no such dict.
    """
    if path is None:
        return {}
    if not path.is_file():
        raise WorkloadError(f"--extra-ops {path}: no such file; give a Python file with a dict HANDLERS")
    try:
        found = runpy.run_path(str(path)).get("HANDLERS")
    except DseError:
        raise
    except (Exception, SystemExit) as error:  # a user's file may fail in any way
        raise WorkloadError(f"--extra-ops {path}: fails: {type(error).__name__}: {error}") from error
    if not isinstance(found, Mapping) or not all(callable(handler) for handler in found.values()):
        raise WorkloadError(
            f"--extra-ops {path}: has no dict HANDLERS of op type to handler(node, builder); "
            "workloads/onnx/registry.py shows some"
        )
    return dict(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model file and how to read it.

    Attributes:
        path: The ONNX file.
        bind: Sizes of symbolic dims.
        extra_ops: Handlers of further op types.
        free_ops: Op types that count as free.
        weights: Whether external data must be there.
        measure: Whether to measure what the weights really store.
        probabilities: By If node: of its then-branch.
        trips: By Loop node: expected trips.
    """

    path: Path
    bind: Mapping[str, int] = field(default_factory=dict)
    extra_ops: Mapping[str, Handler] = field(default_factory=dict)
    free_ops: Collection[str] = ()
    weights: bool = True
    measure: bool = False
    probabilities: Mapping[str, float] = field(default_factory=dict)
    trips: Mapping[str, float] = field(default_factory=dict)

    def load(self, batch: int | None = None) -> Workload:
        """Load the workload, with another batch size if one is given."""
        from workloads.onnx import load_onnx

        return load_onnx(self.path, **self._options(batch))

    def load_work(self, batch: int | None = None) -> Workload | Program:
        """Load the program, if there are probabilities or trips, else the workload."""
        from workloads.onnx import load_program

        if not self.probabilities and not self.trips:
            return self.load(batch)
        return load_program(self.path, probabilities=self.probabilities, trips=self.trips, **self._options(batch))

    def _options(self, batch: int | None) -> dict[str, Any]:
        sizes = dict(self.bind) if batch is None else {**self.bind, self.batch_name(): batch}
        return {
            "extra_ops": self.extra_ops,
            "free_ops": tuple(self.free_ops),
            "missing_weights": "error" if self.weights else "allow",
            "weights": "measure" if self.measure else "describe",
            **sizes,
        }

    def batch_name(self) -> str:
        """Say what the batch dim is called: the user's own name for the symbol on axis 0, else `batch`."""
        symbols = self.batch_symbols()
        return next((name for name in self.bind if name in symbols), "batch")

    def batch_symbols(self) -> set[str]:
        """Give the symbols on axis 0 of the graph's inputs; empty: the batch is fixed in the file."""
        from workloads.onnx.files import read_model

        model, _, _ = read_model(self.path)
        stored = {tensor.name for tensor in model.graph.initializer}
        inputs = [item for item in model.graph.input if item.name not in stored]
        dims = [item.type.tensor_type.shape.dim[0] for item in inputs if item.type.tensor_type.shape.dim]
        return {dim.dim_param for dim in dims if dim.dim_param}

    def with_batch(self, batch: int | None) -> ModelSource:
        """Give the same with a batch size: the given one, else 1 where it is open and nothing binds it."""
        if batch is None and (not self.batch_symbols() or {"batch", *self.batch_symbols()} & set(self.bind)):
            return self
        sizes = {**self.bind, self.batch_name(): 1 if batch is None else batch}
        return replace(self, bind=sizes)
