"""Mutations that append a node of any op type, with inputs and attributes that may well fit it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper

from tests.fuzz.structured import EXTREMES, REALS, Mutation, pick
from workloads.onnx import HANDLERS

__all__ = ["OPERATORS"]

_TEXTS = (
    "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "linear", "nearest", "cubic", "forward", "reverse", "bidirectional",
    "none", "add", "mul", "reflect", "edge", "constant", "ij,jk->ik", "bij,bjk->bik", "...a->...", "relu", "Tanh",
    "DCR", "CRD", "avg", "max", "stretch", "not_larger", "gelu", "silu", "swiglu", "",
)  # fmt: skip
_NAMES = (
    "num_heads", "kv_num_heads", "head_size", "block_size", "bits", "K", "N", "axis", "hidden_size", "group", "k",
    "unidirectional", "transA", "transB", "activation", "is_causal", "q_num_heads", "rotary_embedding_dim",
)  # fmt: skip
# onnx.AttributeProto.AttributeType: FLOAT 1, INT 2, STRING 3, TENSOR 4, FLOATS 6, INTS 7, STRINGS 8.
_KINDS = (1, 2, 3, 4, 6, 7, 8)


def _number(kind: Any) -> int:
    """Give the number of an attribute type; onnx does not annotate its enums."""
    return int(kind.value)


@lru_cache(maxsize=1)
def _schemas() -> tuple[tuple[str, str, int, int, int, tuple[tuple[str, int], ...]], ...]:
    """Give domain, name, bounds of inputs, outputs and attributes of every operator of the standard and of ours."""
    found = []
    for schema in sorted(defs.get_all_schemas(), key=lambda schema: (schema.domain, schema.name)):
        attributes = tuple(
            (name, _number(item.type))
            for name, item in sorted(schema.attributes.items())
            if _number(item.type) in _KINDS
        )
        most = min(schema.max_input, 8)
        found.append((schema.domain, schema.name, schema.min_input, most, min(schema.max_output, 4), attributes))
    for name in sorted(HANDLERS):
        domain, _, op_type = name.rpartition("::")
        found.append((domain or "com.microsoft", op_type, 1, 8, 3, tuple((attribute, 2) for attribute in _NAMES)))
    return tuple(found)


def any_operator(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Append a node of a random schema; its inputs share a few sizes, so that many fit each other."""
    domain, op_type, least, most, outputs, attributes = pick(rng, _schemas())
    number = len(model.graph.node)
    b, s, h, d = (int(size) for size in rng.choice((1, 2, 3, 4, 8, 16, 32), size=4))
    shapes: tuple[tuple[int, ...], ...] = (
        (b, s, h * d), (b, s, h * d), (b, h, s, d), (h * d, h * d), (h * d, d), (h * d,), (d,), (b, s), (b,), (1,), (),
        (b, h, 8, 8), (d, h, 3, 3), (h,), (s, b, d), (1, 4 * d, d), (1, 8 * d), (2, h, d), (b, s, 3 * h * d), (s, s),
    )  # fmt: skip
    names = []
    for index in range(int(rng.integers(least, max(least, most) + 1))):
        name = f"any_{number}_{index}"
        kind = int(rng.integers(10))
        if kind == 0 and index >= least:
            name = ""
        elif kind <= 5:
            dtype = int(pick(rng, (1, 1, 1, 1, 10, 7, 6, 9, 3, 2)))
            model.graph.input.append(helper.make_tensor_value_info(name, dtype, pick(rng, shapes)))
        elif kind <= 7:
            dtype = pick(rng, (np.float32, np.float32, np.int8, np.uint8, np.float16))
            model.graph.initializer.append(numpy_helper.from_array(np.ones(pick(rng, shapes[3:]), dtype), name))
        else:
            model.graph.initializer.append(numpy_helper.from_array(_integers(rng, (b, s, h, d)), name))
        names.append(name)
    chosen = {name: _value(kind, rng, (b, s, h, d)) for name, kind in attributes if rng.integers(2)}
    results = [f"any_{number}_out{index}" for index in range(int(rng.integers(1, max(1, outputs) + 1)))]
    model.graph.node.append(helper.make_node(op_type, names, results, f"any_{number}", domain=domain, **chosen))


def _size(rng: np.random.Generator, sizes: tuple[int, ...]) -> int:
    return int(pick(rng, pick(rng, (sizes, sizes, (0, 1, 2, -1), EXTREMES))))


def _integers(rng: np.random.Generator, sizes: tuple[int, ...]) -> Any:
    """Give a small array that may be a shape, axes, pads, indices or a count."""
    if rng.integers(3) == 0:
        return np.array(_size(rng, sizes))
    return np.array([_size(rng, sizes) for _ in range(int(rng.integers(0, 9)))], np.int64)


def _value(kind: int, rng: np.random.Generator, sizes: tuple[int, ...]) -> Any:
    length = int(rng.integers(1, 5))
    makers: dict[int, Any] = {
        1: lambda: float(pick(rng, REALS)),
        2: lambda: _size(rng, sizes),
        3: lambda: pick(rng, _TEXTS),
        4: lambda: numpy_helper.from_array(np.atleast_1d(_integers(rng, sizes))),
        6: lambda: [float(pick(rng, REALS)) for _ in range(length)],
        7: lambda: [_size(rng, sizes) for _ in range(length)],
        8: lambda: [pick(rng, _TEXTS) for _ in range(length)],
    }
    return makers[kind]()


OPERATORS: dict[str, Mutation] = {"any operator": any_operator}
"""Name to mutation."""
