"""Every product of a network is mapped once per signature; what is left over is named."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

import hwmodels
from hwmodels.mapping import Accelerator, LevelMapping, Loop, Mapping, Traffic, evaluate, narrowed, search
from hwmodels.mapping.network import MappedNetwork, map_network, partly_mapped
from hwmodels.mapping.network_rows import level_rows, operator_rows
from workloads import load_onnx
from workloads.errors import MappingError
from workloads.operator import Operator
from workloads.workload import Program, Workload
from workloads.zoo import embedded_model

GEMMINI = hwmodels.load("gemmini")


@dataclass(frozen=True)
class Simple:
    """One output at a time, weights from DRAM: valid for any operator, good for none."""

    mapping: Mapping
    cost: Traffic
    gap: float = 0.5
    candidates: int = 3


def simple(operator: Operator, accelerator: Accelerator = GEMMINI) -> Simple:
    loops = tuple(Loop(dim, 1) for dim, size in operator.dims.items() if size > 1)
    levels = [LevelMapping(level.name, level.keeps) for level in accelerator.levels]
    mapping = Mapping((replace(levels[0], temporal=loops), *levels[1:]))
    return Simple(mapping, evaluate(operator, accelerator, mapping))


@pytest.fixture(scope="module")
def work() -> Workload:
    return load_onnx(embedded_model(), batch=1)


@pytest.fixture(scope="module")
def network(work: Workload) -> MappedNetwork:
    return map_network(work, GEMMINI, simple)


def test_equal_operators_are_mapped_once_and_counted_as_often_as_they_run(
    work: Workload, network: MappedNetwork
) -> None:
    products = [op for op in work.operators if op.kind in ("matmul", "conv")]
    assert sorted(name for item in network.operators for name in item.names) == sorted(op.name for op in products)
    assert len(network.operators) < len(products)
    assert sum(item.executions * item.cost.macs for item in network.operators) == work.macs()
    asked: list[str] = []

    def find(operator: Operator) -> Simple:
        asked.append(operator.name)
        return simple(operator)

    map_network(work, GEMMINI, find)
    assert asked == [item.operator.name for item in network.operators]


def test_totals_are_the_sums_of_the_rows(network: MappedNetwork) -> None:
    *rows, total = operator_rows(network)
    for column in ("macs", "cycles", "latency_s", "energy_j", "candidates"):
        assert total[column] == pytest.approx(sum(row[column] for row in rows), rel=1e-12)
    assert (total["operator"], total["gap"]) == ("total", 0.5)
    assert total["utilization"] == pytest.approx(total["macs"] / total["cycles"] / 256)
    parts = [*(f"{level.name}_j" for level in network.accelerator.levels), "mac_j", "other_j"]
    for row in (*rows, total):
        assert sum(row[part] for part in parts) == pytest.approx(row["energy_j"])
    levels = level_rows(network)
    whole = [row for row in levels if row["operator"] == "total"]
    places = [(level.name, role) for level in GEMMINI.levels for role in level.keeps]
    assert [(row["level"], row["tensor"]) for row in whole] == places
    moved = sum(row["energy_j"] for row in whole)
    arithmetic = sum(item.executions * (item.cost.mac_j + item.cost.other_j[0]) for item in network.operators)
    assert moved + arithmetic == pytest.approx(total["energy_j"], rel=1e-12)


def test_a_float_network_is_costed_as_if_quantized_and_says_so(work: Workload, network: MappedNetwork) -> None:
    assert network.narrowed_from == 32
    item = network.operators[0]
    assert {float(tensor.bits) for tensor in item.operator.tensors()} == {8.0}
    own = narrowed(replace(work[item.names[0]], count=1), 8)
    assert item.cost.energy_j[0] == evaluate(own, GEMMINI, item.finding.mapping).energy_j[0]
    register = replace(GEMMINI.levels[3], word_bits=32)
    floats = replace(GEMMINI, operand_bits=32, levels=(*GEMMINI.levels[:3], register))
    assert map_network(work, floats, lambda operator: simple(operator, floats)).narrowed_from == 0


def test_what_the_array_does_not_run_is_named_with_its_flops(work: Workload, network: MappedNetwork) -> None:
    rest = [op for op in work.operators if op.kind not in ("matmul", "conv", "view", "control")]
    assert [item.name for item in network.unmapped] == [op.name for op in rest]
    assert sum(item.flops for item in network.unmapped) == sum(float(op.flops()) * op.count for op in rest)
    assert "softmax: no product of two tensors" in {item.reason for item in network.unmapped}


def test_a_product_of_three_tensors_is_left_over_with_the_reason(work: Workload) -> None:
    name = next(op.name for op in work.operators if op.kind == "matmul")
    op = work[name]
    third = replace(op.inputs[1], name="third")
    changed = replace(
        work, operators=tuple(replace(o, inputs=(*o.inputs, third)) if o is op else o for o in work.operators)
    )
    (left,) = (item for item in map_network(changed, GEMMINI, simple).unmapped if item.name == name)
    assert "input 'third' is a third factor of the product" in left.reason


def test_a_program_weighs_its_parts(work: Workload, network: MappedNetwork) -> None:
    program = Program(name="both", parts=((2.0, work), (0.5, work)))
    twice = map_network(program, GEMMINI, simple)
    assert operator_rows(twice)[-1]["energy_j"] == pytest.approx(2.5 * operator_rows(network)[-1]["energy_j"])


def test_what_the_mapper_refuses_is_left_over_with_its_reason(work: Workload, network: MappedNetwork) -> None:
    refused = network.operators[1].operator.name

    def find(operator: Operator) -> Simple:
        if operator.name == refused:
            raise MappingError(f"{operator.name} does not fit")
        return simple(operator)

    some = map_network(work, GEMMINI, find)
    assert [item.names for item in some.operators] == [
        item.names for item in network.operators if item is not network.operators[1]
    ]
    left = [item for item in some.unmapped if item.reason == f"{refused} does not fit"]
    assert tuple(item.name for item in left) == network.operators[1].names
    assert sum(item.flops for item in left) == pytest.approx(
        2 * network.operators[1].executions * network.operators[1].cost.macs
    )


def test_a_network_of_which_nothing_fits_is_refused_with_the_need(work: Workload) -> None:
    levels = list(GEMMINI.levels)
    levels[2] = replace(levels[2], capacity_words=1)
    tiny = replace(GEMMINI, levels=tuple(levels))
    with pytest.raises(MappingError, match=r"nothing of it can be mapped; .* not fit gemmini: Accumulator has room"):
        map_network(work, tiny, lambda operator: search(operator, tiny))


def test_a_network_is_given_as_far_as_it_is_mapped(work: Workload, network: MappedNetwork) -> None:
    steps = list(partly_mapped(work, GEMMINI, simple))
    assert [len(step.operators) for step in steps] == list(range(1, len(network.operators) + 1))
    assert [step.waiting for step in steps] == list(reversed(range(len(steps))))
    assert operator_rows(steps[0])[-1]["macs"] == operator_rows(network)[0]["macs"]


def test_a_network_without_products_is_refused(work: Workload) -> None:
    rest = tuple(op for op in work.operators if op.kind not in ("matmul", "conv"))
    with pytest.raises(MappingError, match="has no matrix product or convolution; there is nothing to map"):
        map_network(replace(work, operators=rest), GEMMINI, simple)
