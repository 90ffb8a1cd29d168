"""What the functions between products take, tile by tile, on a vector unit beside the array.

An engine reads what the product left at its level, as often as the function that reads it most does (`Engine.passes`),
and writes the results where the next product reads them, or outside. Functions in a row are one pass of the engine, as
in `hwmodels.machines`. Further operands (a mask, a residual) come from the outermost level through the engine's level.

Online forms: a function that needs whole rows can also take them piece by piece if a product follows, because that is
linear in its results. With every piece the statistics of the rows so far change, and

- softmax (Milakov and Gimelshein, Online normalizer calculation for softmax, 2018, algorithm 3): per row a new largest
  value, a difference, its exponential, and the sum scaled and added to: 5 FLOPs; every output of the product so far is
  scaled: 1 FLOP (Dao et al., FlashAttention, NeurIPS 2022, algorithm 1, line 12). The last scaling divides by the sum.
- LayerNorm (Welford 1962, as Chan et al. 1983 merge pieces): per row 8 FLOPs to merge mean and variance; the product
  takes the values as they are, and its finished outputs are corrected once: mean x column sum of the weights
  subtracted, scaled: 3 FLOPs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hwmodels.cascades.chain import Link
from hwmodels.cascades.transfers import Moved, burst_factor, port_cycles, tile_run
from hwmodels.engines import ROW_FUNCTIONS, Engine, function_of
from hwmodels.spatial import Accelerator, Conventions
from workloads.errors import MappingError
from workloads.operator import Operator, Tensor

__all__ = [
    "ONLINE",
    "OnlineForm",
    "Work",
    "engine_for",
    "function_work",
    "online_form",
    "online_work",
    "outer_words",
    "parameter_work",
    "parameters_of",
]


@dataclass(frozen=True, slots=True)
class OnlineForm:
    """Extra FLOPs of a function whose rows come in pieces.

    Attributes:
        per_row: Of each row, with every piece.
        per_output: Of each output of the next product, with every piece.
        at_end: Of each output of the next product, once.
    """

    per_row: float
    per_output: float
    at_end: float


ONLINE: Mapping[str, OnlineForm] = {
    "softmax": OnlineForm(per_row=5.0, per_output=1.0, at_end=0.0),
    "layernorm": OnlineForm(per_row=8.0, per_output=0.0, at_end=3.0),
}
"""Online forms by function; see the module."""


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """What an engine does once.

    Attributes:
        moved: Words by level.
        cycles: Of the accelerator's clock: of the lanes, or of the ports on the chip if these take longer.
        engine_j: Energy of the lanes [J].
        flops: Beyond those of the functions themselves: of an online form.
    """

    moved: Moved
    cycles: float
    engine_j: float
    flops: float = 0.0

    @property
    def energy_j(self) -> float:
        """Of lanes and words [J]."""
        return self.engine_j + self.moved.energy_j()


def engine_for(link: Link, accelerator: Accelerator) -> Engine:
    """Give the engine that runs the functions of a link beside the array.

    Raises:
        MappingError: No engine takes one of them, or the one that does is no vector unit on the chip.
    """
    found: Engine | None = None
    for op in link.functions:
        engine = next((one for one in accelerator.engines if one.takes(op)), None)
        where = f"{op.name} ({op.op_type}) cannot be fused on {accelerator.name}"
        if engine is None:
            takes = "; ".join(f"{one.name}: {', '.join(one.cycles)}" for one in accelerator.engines)
            raise MappingError(
                f"{where}: no engine takes {function_of(op)!r} ({takes or 'it has none'}); add a vector unit"
            )
        if engine.kind != "vector" or engine.converts or engine.link_bytes_per_s is not None:
            raise MappingError(
                f"{where}: it runs on {engine.name}, which is no vector unit in the array's number domain on the chip; "
                f"{function_of(op)!r} has to be among the cycles of one"
            )
        place = accelerator.level_index(engine.level)
        if place == 0 or accelerator.instances(place) > 1:
            raise MappingError(
                f"{where}: {engine.name} works on {engine.level}; a tile that it shares with the array has to lie in a "
                "buffer on the chip, of which there is one"
            )
        if found is not None and found is not engine:
            raise MappingError(f"{where}: it runs on {engine.name}, the functions before it on {found.name}; cut there")
        found = engine
    assert found is not None
    return found


def parameters_of(link: Link) -> tuple[Tensor, ...]:
    """Give the further operands of a link's functions: what they read beside each other's results."""
    made = {link.sums.name, *(op.outputs[0].name for op in link.functions)}
    found = {tensor.name: tensor for op in link.functions for tensor in op.inputs if tensor.name not in made}
    return tuple(found.values())


def function_work(
    link: Link,
    engine: Engine,
    accelerator: Accelerator,
    rules: Conventions,
    tile: Mapping[str, int],
    source: int,
    target: int,
    source_bits: float,
    by_product: bool,
) -> Work:
    """Give what the functions of a link take for one tile; loading their further operands apart.

    Args:
        link: Its functions are not empty.
        engine: Runs them.
        accelerator: Where.
        rules: What a word is.
        tile: Size of the tile in each dim.
        source: Place of the level that the tile of sums lies in.
        target: Place of the level that the results go to.
        source_bits: Of a sum there [bit].
        by_product: The results are written by the product, whose outputs they are as they leave.
    """
    moved, engine_place = Moved(accelerator), accelerator.level_index(engine.level)
    elements = _elements(link.sums, tile)
    passes = max(engine.passes.get(function_of(op), 1) for op in link.functions)
    moved.read(source, passes * _words(elements, source_bits, accelerator, source, rules))
    for tensor in parameters_of(link):
        words = _words(_elements(tensor, tile), float(tensor.bits_per_value()), accelerator, engine_place, rules)
        moved.read(engine_place, passes * words)
    result = link.result
    made = _elements(result, tile)
    if not by_product and target:
        moved.write(target, _words(made, float(result.bits_per_value()), accelerator, target, rules))
    lanes = sum(_points(op, tile) * engine.element_cycles(op) for op in link.functions)
    return _work(moved, engine, accelerator, rules, lanes)


def outer_words(
    tensor: Tensor, accelerator: Accelerator, rules: Conventions, tile: Mapping[str, int], sizes: Mapping[str, int]
) -> float:
    """Give the words of the outermost level that a tile of a function's operand or result moves."""
    bits, outer = float(tensor.bits_per_value()), accelerator.levels[0]
    factor = burst_factor(outer, rules, tile_run(tensor, tile, sizes), bits)
    return _words(_elements(tensor, tile), bits, accelerator, 0, rules) * factor


def parameter_work(
    tensor: Tensor,
    engine: Engine,
    accelerator: Accelerator,
    rules: Conventions,
    tile: Mapping[str, int],
    sizes: Mapping[str, int],
) -> tuple[Moved, float]:
    """Give what loading a tile of a parameter moves, and its words at the engine's level."""
    place = accelerator.level_index(engine.level)
    words = _words(_elements(tensor, tile), float(tensor.bits_per_value()), accelerator, place, rules)
    moved = Moved(accelerator)
    moved.read(0, outer_words(tensor, accelerator, rules, tile, sizes))
    moved.write(place, words)
    return moved, words


def online_work(
    form: OnlineForm,
    engine: Engine,
    accelerator: Accelerator,
    rules: Conventions,
    rows: float,
    outputs: float,
    place: int,
    acc_bits: float,
) -> tuple[Work, Work]:
    """Give what an online form takes beyond the function: with every piece of the rows, and once at their end.

    Raises:
        MappingError: The engine has no cycles for it.
    """
    each = engine.cycles.get("multiply", engine.cycles.get("flop"))
    if each is None:
        raise MappingError(f"engine {engine.name} cannot scale sums again: give cycles for multiply or flop")
    words = _words(outputs, acc_bits, accelerator, place, rules)
    done = []
    for of_rows, of_outputs in ((form.per_row, form.per_output), (0.0, form.at_end)):
        moved = Moved(accelerator)
        if of_outputs:
            moved.read(place, words)
            moved.write(place, words)
        flops = rows * of_rows + outputs * of_outputs
        work = _work(moved, engine, accelerator, rules, flops * each)
        done.append(Work(work.moved, work.cycles, work.engine_j, flops))
    return done[0], done[1]


def online_form(link: Link) -> OnlineForm | None:
    """Give the online form of a link's functions; None: it has none, or none of them needs whole rows."""
    rows = [function_of(op) for op in link.functions if function_of(op) in ROW_FUNCTIONS]
    return ONLINE.get(rows[0]) if len(rows) == 1 else None


def _work(moved: Moved, engine: Engine, accelerator: Accelerator, rules: Conventions, lanes: float) -> Work:
    cycles = lanes / engine.lanes * accelerator.clock_hz / engine.clock_hz
    ports = [
        port_cycles(accelerator.levels[place], rules, moved.out.get(place, 0.0), moved.into.get(place, 0.0))
        for place in {*moved.out, *moved.into} - {0}
    ]
    return Work(moved, max([cycles, *ports]), lanes * engine.cycle_j)


def _points(op: Operator, tile: Mapping[str, int]) -> int:
    return math.prod(tile[dim] for dim in op.dims)


def _elements(tensor: Tensor, tile: Mapping[str, int]) -> float:
    return float(tensor.values(tile))


def _words(elements: float, bits: float, accelerator: Accelerator, place: int, rules: Conventions) -> float:
    return elements * (bits / accelerator.levels[place].word_bits if rules.bit_true else 1.0)
