"""Graphs that the fuzzer starts from: exporters' files, the onnx package's zoo, control flow, functions, sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.workloads.flow_graphs import BOOL, INT64, Body, decoding, model_of, repeated, tensor, two_branches

__all__ = ["BASES", "Base", "model_bytes"]

FIXTURES = Path(__file__).parent.parent / "fixtures"
ZOO = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """A graph to start from.

    Attributes:
        name: Of the graph.
        make: Gives the serialized model.
        bind: Sizes of its symbols.
        probabilities: By If node.
        trips: By Loop node.
        weight: How often it is drawn, relative to others: large files take longer.
    """

    name: str
    make: Callable[[], bytes]
    bind: Mapping[str, int] = field(default_factory=dict)
    probabilities: Mapping[str, float] = field(default_factory=dict)
    trips: Mapping[str, float] = field(default_factory=dict)
    weight: float = 1.0


@lru_cache(maxsize=64)
def model_bytes(base: Base) -> bytes:
    """Give the serialized model of a base."""
    return base.make()


def _mlp() -> bytes:
    """Give a network of shape arithmetic, products, normalization and softmax, with a symbol."""
    main = Body("mlp", [tensor("x", ("batch", 6, 8))])
    main.store("w", np.ones((8, 8)), np.float32).store("scale", np.ones(8), np.float32).store(
        "bias", np.ones(8), np.float32
    )
    main.store("zero", 0, np.int64).store("minus", [-1], np.int64).store("axes", [0], np.int64)
    main.store("pads", [0, 0, 0, 0, 1, 0], np.int64).store("starts", [0], np.int64).store("ends", [4], np.int64)
    main.store("reps", [1, 2, 1], np.int64).store("index", [[0, 1], [2, 3]], np.int64)
    main.node("Shape", ["x"], ["shape"]).node("Gather", ["shape", "zero"], ["b"])
    main.node("Unsqueeze", ["b", "axes"], ["b1"]).node("Concat", ["b1", "minus"], ["flat"], axis=0)
    main.node("MatMul", ["x", "w"], ["p"]).node("LayerNormalization", ["p", "scale", "bias"], ["n"])
    main.node("Pad", ["n", "pads"], ["wide"]).node("Slice", ["wide", "starts", "ends", "axes"], ["cut"])
    main.node("Tile", ["x", "reps"], ["tiled"]).node("Gather", ["w", "index"], ["rows"])
    main.node("ReduceMean", ["cut"], ["mean"], axes=[1]).node("Softmax", ["mean"], ["soft"])
    main.node("Reshape", ["n", "flat"], ["y"]).node("Gemm", ["rows_flat", "w"], ["g"])
    main.nodes.insert(-1, helper.make_node("Flatten", ["rows"], ["rows2"], "flatten", axis=2))
    main.nodes[-1].input[0] = "rows2"
    return bytes(model_of(main.graph("y", "soft", "tiled", "g")).SerializeToString())


def _cnn() -> bytes:
    """Give convolutions, pools, a resize and a quantized product."""
    main = Body("cnn", [tensor("x", (1, 3, 16, 16))])
    main.store("k", np.ones((4, 3, 3, 3)), np.float32).store("d", np.ones((4, 1, 3, 3)), np.float32)
    main.store("scales", [1, 1, 2, 2], np.float32).store("wq", np.ones((4, 8), np.int8)).store("s", 0.1, np.float32)
    main.node("Conv", ["x", "k"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]).node("Relu", ["a"], ["r"])
    main.node("Conv", ["r", "d"], ["e"], group=4, auto_pad=b"SAME_UPPER").node(
        "MaxPool", ["e"], ["m"], kernel_shape=[2, 2]
    )
    main.node("Resize", ["m", "", "scales"], ["u"], mode=b"nearest").node("GlobalAveragePool", ["u"], ["g"])
    main.node("Flatten", ["g"], ["f"]).node("DequantizeLinear", ["wq", "s"], ["w"]).node("MatMul", ["f", "w"], ["y"])
    return bytes(model_of(main.graph("y")).SerializeToString())


def _functions() -> bytes:
    """Give two functions, one of which calls the other."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    dense = helper.make_function(
        "own", "Dense", ["a", "b"], ["out"],
        [helper.make_node("MatMul", ["a", "b"], ["p"]), helper.make_node("Relu", ["p"], ["out"])], imports,
    )  # fmt: skip
    twice = helper.make_function(
        "own", "Twice", ["a", "b"], ["out"],
        [
            helper.make_node("Dense", ["a", "b"], ["m"], domain="own"),
            helper.make_node("Dense", ["m", "b"], ["out"], domain="own"),
        ],
        imports,
    )  # fmt: skip
    main = Body("main", [tensor("x", (2, 4))]).store("w", np.ones((4, 4)), np.float32)
    main.node("Twice", ["x", "w"], ["h"], domain="own").node("Dense", ["h", "w"], ["y"], domain="own")
    return bytes(model_of(main.graph("y"), domains=["own"], functions=[twice, dense]).SerializeToString())


def _sequences() -> bytes:
    main = Body("main", [tensor("x", (6, 4))]).store("sizes", [1, 2, 3], np.int64).store("one", 1, np.int64)
    main.node("SplitToSequence", ["x", "sizes"], ["s"], axis=0).node("SequenceAt", ["s", "one"], ["a"])
    main.node("SequenceInsert", ["s", "a", "one"], ["t"]).node("ConcatFromSequence", ["t"], ["y"], axis=0)
    return bytes(model_of(main.graph("y")).SerializeToString())


def _nested() -> bytes:
    """Give an If in a Loop in an If."""
    main = Body("main", [tensor("x", (2, 4)), tensor("flag", (), BOOL), tensor("n", (), INT64)])
    step = Body("step", [tensor("i", (), INT64), tensor("go", (), BOOL), tensor("v")])
    then, other = Body("t").node("Neg", ["v"], ["t"]), Body("e").store("w", np.ones((4, 4)), np.float32)
    other.node("MatMul", ["v", "w"], ["e"])
    step.node("If", ["flag"], ["u"], then_branch=then.graph("t"), else_branch=other.graph("e"), name="inner")
    step.node("Identity", ["go"], ["goes"])
    outer = Body("outer").node("Loop", ["n", "", "x"], ["l"], body=step.graph("goes", "u"), name="loop")
    keep = Body("keep").node("Identity", ["x"], ["k"])
    main.node("If", ["flag"], ["y"], then_branch=outer.graph("l"), else_branch=keep.graph("k"), name="outer")
    return bytes(model_of(main.graph("y")).SerializeToString())


def _external() -> bytes:
    """Give a product whose weight, and a reshape whose shape, lie in another file."""
    main = Body("main", [tensor("x", (2, 4))]).node("MatMul", ["x", "w"], ["p"]).node("Reshape", ["p", "shape"], ["y"])
    model = model_of(main.graph("y"))
    places = ((np.ones((4, 8), np.float32), "w", 0), (np.array([4, 4]), "shape", 128))
    for array, name, offset in places:
        item = numpy_helper.from_array(array, name)
        item.ClearField("raw_data")
        item.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", "data.bin"), ("offset", str(offset)), ("length", str(array.nbytes))):
            item.external_data.add(key=key, value=value)
        model.graph.initializer.append(item)
    return bytes(model.SerializeToString())


def _file(path: Path) -> Callable[[], bytes]:
    return path.read_bytes


def _flow(make: Callable[[], onnx.ModelProto]) -> Callable[[], bytes]:
    return lambda: bytes(make().SerializeToString())


_SIZES = {"batch": 1, "seq": 8}
BASES: tuple[Base, ...] = (
    Base("mlp", _mlp, {"batch": 2}, weight=12),
    Base("cnn", _cnn, weight=12),
    Base("branches", _flow(two_branches), probabilities={"choose": 0.25}, weight=8),
    Base("loop", _flow(lambda: repeated(None)), trips={"loop": 3}, weight=6),
    Base("known loop", _flow(lambda: repeated(5)), weight=6),
    Base("growing loop", _flow(lambda: decoding(4)), weight=6),
    Base(
        "nested",
        _nested,
        probabilities={"outer": 0.5, "outer/then/loop/body/inner": 0.5},
        trips={"outer/then/loop": 4},
        weight=8,
    ),
    Base("functions", _functions, weight=8),
    Base("sequences", _sequences, weight=6),
    Base("external", _external, weight=8),
    *(Base(f"zoo {name}", _file(ZOO / f"light_{name}.onnx"), weight=weight) for name, weight in (
        ("bvlc_alexnet", 2), ("zfnet512", 2), ("vgg19", 2), ("squeezenet", 2), ("inception_v1", 1), ("shufflenet", 1),
        ("resnet50", 1), ("inception_v2", 0.3), ("densenet121", 0.2),
    )),
    *(Base(f"fixture {name}", _file(FIXTURES / f"{name}.onnx"), bind, weight=weight) for name, bind, weight in (
        ("bert_tiny_legacy_dynamic", _SIZES, 3), ("minilm_l6_dynamo", _SIZES, 1), ("minilm_l6_int8", _SIZES, 1),
        ("minilm_l3", _SIZES, 1), ("gpt2_tiny_legacy_dynamic", _SIZES, 1), ("bert_base_legacy_static", {}, 0.5),
        ("vit_b16_dynamo", {"batch": 1}, 0.5), ("gpt2_legacy", {}, 0.5),
        ("distilgpt2_kv_dynamo", {"batch": 1, "past": 7, "total": 8}, 0.5),
    )),
)  # fmt: skip
"""Every base, small ones drawn more often."""
