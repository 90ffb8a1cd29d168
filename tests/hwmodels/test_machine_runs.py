"""Networks on accelerators: who does what, what crosses, what stays on chip, and that all of it adds up."""

from __future__ import annotations

from dataclasses import replace

import pytest

import hwmodels
from hwmodels.engines import Engine
from hwmodels.machines import run
from hwmodels.machines.lowering import lower
from hwmodels.machines.rows import engine_rows, level_rows, task_rows
from hwmodels.mapping import search
from hwmodels.spatial import Accelerator
from workloads import zoo
from workloads.errors import MappingError
from workloads.operator import Operator, Tensor, axis
from workloads.workload import Program, Workload

HOST = Engine(
    name="Host", kind="host", level="DRAM", lanes=1, clock_hz=1e9, converts=True, cycle_j=34e-12,
    cycles={"softmax": 60, "gelu": 70, "layernorm": 25, "dequantize": 9, "requantize": 12, "flop": 4},
)  # fmt: skip
UNIT = Engine(
    name="Unit", kind="vector", level="Scratchpad", lanes=16, clock_hz=1e9, cycle_j=1e-12,
    cycles={"softmax": 3, "layernorm": 3, "gelu": 1, "add": 1, "copy": 1}, passes={"softmax": 3, "layernorm": 3},
)  # fmt: skip


def gemmini(*engines: Engine) -> Accelerator:
    """Give Gemmini with other engines, and a scratchpad that takes finished outputs."""
    base = hwmodels.load("gemmini")
    levels = tuple(replace(level, takes_outputs=level.name == "Scratchpad") for level in base.levels)
    return replace(base, levels=levels, engines=engines, absorbs=("bias", "scale", "batchnorm", "relu", "layout"))


def tensor(name: str, dims: str, role: str = "activation") -> Tensor:
    return Tensor(name=name, axes=tuple(map(axis, dims)), bits=8, role=role)  # type: ignore[arg-type]


def product(name: str, data: str, weight: str, out: str, role: str = "weight", **dims: int) -> Operator:
    return Operator(
        name=name, op_type="MatMul", kind="matmul", dims=dims, inputs=(tensor(data, "mk"), tensor(weight, "kn", role)),
        outputs=(tensor(out, "mn"),),
    )  # fmt: skip


def function(name: str, kind: str, op_type: str, inputs: tuple[Tensor, ...], out: str, **dims: int) -> Operator:
    return Operator(
        name=name,
        op_type=op_type,
        kind=kind,
        dims=dims,
        inputs=inputs,
        outputs=(tensor(out, "mn"),),
        flops_per_point=1.0,
    )


def chain() -> Workload:
    """Give x W1 -> softmax -> W2: 64 x 64 all over."""
    first = product("first", "x", "w1", "scores", m=64, n=64, k=64)
    soft = function("soft", "softmax", "Softmax", (tensor("scores", "mn"),), "weights", m=64, n=64)
    second = product("second", "weights", "w2", "y", m=64, n=64, k=64)
    return Workload(name="chain", operators=(first, soft, second), inputs=("x",), outputs=("y",))


def test_a_host_converts_what_it_reads_and_what_the_array_reads_of_it() -> None:
    found = run(chain(), gemmini(HOST))
    kinds = [(cost.task.name, cost.task.kind, cost.task.engine) for cost in found.costs]
    assert kinds == [
        ("first", "product", "array"),
        ("scores: dequantize", "conversion", "Host"),
        ("soft", "function", "Host"),
        ("weights: requantize", "conversion", "Host"),
        ("second", "product", "array"),
    ]
    n = 64 * 64
    read = n + 4 * n  # bytes: 8 bit in, floats out
    dequantize, soft, requantize = found.costs[1:4]
    assert dequantize.latency_s == pytest.approx(max(9 * n / 1e9, read / 16e9))
    assert soft.latency_s == pytest.approx(60 * n / 1e9)
    assert soft.read_bytes == {"DRAM": 4.0 * n}
    assert requantize.latency_s == pytest.approx(12 * n / 1e9)
    assert soft.energy_by["Host"] == pytest.approx(60 * n * 34e-12)
    assert soft.energy_by["DRAM"] == pytest.approx(8 * n * 8 * 8e-12)  # 4 B in, 4 B out, 8 pJ/bit


def test_a_vector_unit_takes_integers_as_they_are() -> None:
    found = run(chain(), gemmini(UNIT, HOST), keep=False)
    assert [cost.task.engine for cost in found.costs] == ["array", "Unit", "array"]
    n = 64 * 64
    soft = found.costs[1]
    assert soft.latency_s == pytest.approx(3 * n / 16 / 1e9)
    assert soft.read_bytes == {"DRAM": n, "Scratchpad": 3.0 * n + n}  # three passes, and the result on its way out
    assert soft.written_bytes == {"DRAM": n, "Scratchpad": 2.0 * n}


def test_rows_without_room_are_read_from_outside_at_every_pass() -> None:
    row = 200_000
    dims = {"m": 2, "n": row}
    soft = function("soft", "softmax", "Softmax", (tensor("x", "mn"),), "y", **dims)
    work = Workload(name="long", operators=(soft,), inputs=("x",), outputs=("y",))
    (cost,) = run(work, gemmini(UNIT)).costs
    assert cost.read_bytes["DRAM"] == 3 * 2 * row


def test_what_stays_on_chip_is_not_moved_outside() -> None:
    out, kept = (run(chain(), gemmini(UNIT), keep=keep) for keep in (False, True))
    assert {item.name for item in kept.placements} == {"scores", "weights"}
    assert all(item.level == "Scratchpad" for item in kept.placements)
    n = 64 * 64
    before, after = (sum(found.moved_bytes("DRAM")) for found in (out, kept))
    assert before - after == 4 * n  # both tensors went out and came back
    assert kept.energy_j < out.energy_j


def test_what_lies_on_chip_leaves_less_room_to_what_runs_meanwhile() -> None:
    """x -> W1 -> y1; x -> big product; y1 + big: y1 lives while the big product runs."""
    first = product("first", "x", "w1", "y1", m=128, n=512, k=64)
    big = product("big", "x2", "w2", "y2", m=128, n=512, k=512)
    add = function("add", "elementwise", "Add", (tensor("y1", "mn"), tensor("y2", "mn")), "y", m=128, n=512)
    work = Workload(name="residual", operators=(first, big, add), inputs=("x", "x2"), outputs=("y",))
    machine = gemmini(UNIT)
    found = run(work, machine)
    lives = {item.name: item for item in found.placements}
    assert "y1" in lives
    levels = list(machine.levels)
    levels[1] = replace(levels[1], capacity_words=(levels[1].capacity_words or 0) - 128 * 512)
    homes = {"O": "Scratchpad"} if "y2" in lives else {}
    alone = search(big, replace(machine, levels=tuple(levels)), resident=homes)
    assert found.costs[1].latency_s == pytest.approx(float(alone.cost.latency_s[0]))
    assert found.costs[1].energy_j == pytest.approx(float(alone.cost.energy_j[0] - alone.cost.other_j[0]))


@pytest.mark.parametrize(
    "name", ["bert-tiny", "resnet-18", "mobilenet-v2", "gpt2", "llama-3.2-1b", "t5-small", "vit-b32"]
)
def test_every_operator_is_somewhere_once(name: str) -> None:
    work = zoo.architecture(name)
    for engines in ((HOST,), (UNIT, HOST)):
        tasks = lower(work, gemmini(*engines))
        own = [op.name for task in tasks if task.kind in ("product", "function") for op in task.operators]
        absorbed = [op for task in tasks for op, _ in task.absorbed]
        placed = [*own, *absorbed]
        assert len(placed) == len(set(placed))
        free = {op.name for op in work.operators if op.kind in ("view", "control", "move")}
        assert {op.name for op in work.operators} - set(placed) <= free
        written = {use.name for task in tasks for use in task.writes}
        for place, task in enumerate(tasks):
            before = {use.name for other in tasks[:place] for use in other.writes}
            assert all(use.name in before or use.name not in written for use in task.reads), task.name


def test_bert_spends_its_time_beside_an_array_without_a_vector_unit() -> None:
    work = zoo.architecture("bert-tiny", seq=64)
    with_host, with_unit = run(work, gemmini(HOST)), run(work, gemmini(UNIT, HOST))
    assert with_host.busy_s["Host"] > 0.8 * with_host.latency_s
    assert with_unit.busy_s["array"] > 0.6 * with_unit.latency_s
    assert with_host.latency_s > 5 * with_unit.latency_s
    for found in (with_host, with_unit):
        rows = task_rows(found)
        assert sum(row["energy_j"] for row in rows) == pytest.approx(found.energy_j)
        assert sum(row["energy_j"] for row in level_rows(found)) == pytest.approx(found.energy_j)
        assert sum(row["busy_s"] for row in engine_rows(found)) == pytest.approx(sum(row["latency_s"] for row in rows))
        assert max(found.busy_s.values()) <= found.latency_s * (1 + 1e-9) <= sum(found.busy_s.values()) * (1 + 1e-6)
        assert sum(row["macs"] for row in rows) == float(work.macs())


def test_evaluate_and_breakdown_say_the_same() -> None:
    machine = gemmini(UNIT, HOST)
    found, cost = run(chain(), machine), hwmodels.evaluate(chain(), machine)
    assert cost.latency_s == found.latency_s
    assert cost.energy_j == pytest.approx(found.energy_j)
    table = hwmodels.breakdown(chain(), machine)
    assert table["energy_j"].sum() == pytest.approx(found.energy_j)
    assert list(table["op_type"]) == ["MatMul", "Softmax", "MatMul"]
    assert table["DRAM_j"].sum() == pytest.approx(found.energy_by["DRAM"])


def test_engines_work_side_by_side() -> None:
    """Two independent chains: the second product runs while the host works on the first's result."""
    a, b = (product(name, f"x{name}", f"w{name}", f"s{name}", m=64, n=64, k=512) for name in "ab")
    soft = function("soft", "softmax", "Softmax", (tensor("sa", "mn"),), "y", m=64, n=64)
    work = Workload(name="two", operators=(a, soft, b), inputs=("xa", "xb"), outputs=("y", "sb"))
    found = run(work, gemmini(UNIT), keep=False)
    assert found.starts_s[2] == found.costs[0].latency_s
    assert found.latency_s < sum(cost.latency_s for cost in found.costs)


def test_what_crosses_a_link_is_transferred() -> None:
    far = replace(HOST, link_bytes_per_s=1e9, link_j_per_bit=10e-12)
    found = run(chain(), gemmini(far))
    moved = {cost.task.name: cost for cost in found.costs if cost.task.kind == "transfer"}
    assert list(moved) == ["scores: transfer", "weights:requantized: transfer"]
    n = 64 * 64
    for cost in moved.values():
        assert cost.latency_s == pytest.approx(n / 1e9)
        assert cost.energy_by["link"] == pytest.approx(8 * n * 10e-12)


def test_bias_scale_and_norm_are_taken_along() -> None:
    work = zoo.architecture("resnet-18")
    tasks = lower(work, gemmini(replace(UNIT, cycles={"add": 1, "max": 1, "relu": 1}, passes={})))
    absorbed = {by for task in tasks for _, by in task.absorbed}
    assert absorbed == {"batchnorm", "relu", "bias"}
    bare = lower(work, replace(gemmini(replace(UNIT, cycles={"flop": 1}, passes={})), absorbs=()))
    assert len(bare) > len(tasks)


def test_an_operator_that_nothing_takes_is_named_with_what_there_is() -> None:
    only_add = replace(UNIT, cycles={"add": 1}, passes={})
    with pytest.raises(MappingError, match=r"soft \(Softmax\).*Unit takes add.*'softmax'"):
        run(chain(), gemmini(only_add))
    with pytest.raises(MappingError, match="no other engine"):
        run(chain(), gemmini())


def test_a_product_that_fits_nowhere_is_named() -> None:
    machine = gemmini(UNIT)
    levels = list(machine.levels)
    levels[1] = replace(levels[1], capacity_words=1)
    with pytest.raises(MappingError, match="first does not fit gemmini: Scratchpad has room"):
        run(chain(), replace(machine, levels=tuple(levels)))


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(MappingError, match="edp, energy or latency"):
        run(chain(), gemmini(UNIT), "pareto")


def test_a_program_runs_its_parts_as_often_as_they_do() -> None:
    program = Program(name="both", parts=((1.0, chain()), (3.0, chain())))
    machine = gemmini(UNIT)
    whole, part = run(program, machine), run(chain(), machine)
    assert whole.latency_s == pytest.approx(4 * part.latency_s)
    assert whole.energy_j == pytest.approx(4 * part.energy_j)
    assert whole.macs == 4 * part.macs


def test_cascades_run_fused_where_that_is_better() -> None:
    machine = gemmini(UNIT)
    apart, fused = run(chain(), machine, keep=False), run(chain(), machine, cascades=True)
    assert fused.energy_j * fused.latency_s < apart.energy_j * apart.latency_s
    assert sum(fused.moved_bytes("DRAM")) < sum(apart.moved_bytes("DRAM"))
    (cost,) = [cost for cost in fused.costs if cost.task.kind == "fused"]
    assert [op.name for op in cost.task.operators] == ["first", "soft", "second"]
    assert fused.macs == apart.macs
    rows = task_rows(fused)
    assert sum(row["energy_j"] for row in rows) == pytest.approx(fused.energy_j)
    assert max(fused.busy_s.values()) <= fused.latency_s * (1 + 1e-9)
    assert fused.busy_s["Unit"] == pytest.approx(apart.busy_s["Unit"])  # the same work, beside the array


def test_what_cannot_be_fused_runs_as_it_is() -> None:
    machine = gemmini(HOST)
    apart, fused = run(chain(), machine), run(chain(), machine, cascades=True)
    assert fused.latency_s == apart.latency_s


def test_a_host_behind_a_link_works_in_its_own_memory_on_what_was_written() -> None:
    """Products in 8 bit, read as floats of 32 bit: narrow elements cross, the outer port is not the host's."""
    far = replace(HOST, link_bytes_per_s=1e9, path_bytes_per_s=2e9)
    wide = Workload(
        name="floats",
        operators=tuple(
            replace(
                op,
                inputs=tuple(replace(one, bits=32) for one in op.inputs),
                outputs=tuple(replace(one, bits=32) for one in op.outputs),
            )
            for op in chain().operators
        ),
        inputs=("x",),
        outputs=("y",),
    )
    found = run(wide, gemmini(far))
    n = 64 * 64
    moved = [cost for cost in found.costs if cost.task.kind == "transfer"]
    assert [cost.task.reads[0].bytes for cost in moved] == [n, n]
    host = [cost for cost in found.costs if cost.task.engine == "Host" and cost.task.kind != "transfer"]
    assert all(not cost.read_bytes and not cost.outer_s for cost in host)
    dequantize = next(cost for cost in host if cost.task.name.endswith("dequantize"))
    assert dequantize.task.reads[0].bytes == n
    assert dequantize.latency_s == pytest.approx(max(9 * n / 1e9, 5 * n / 2e9))


def test_a_wider_array_converts_its_own_width() -> None:
    machine = replace(hwmodels.load("eyeriss", kind=hwmodels.Accelerator), engines=(HOST,))
    wide = run(_with_bits(chain(), 16), machine)
    written = {use.name: use.bytes for cost in wide.costs for use in cost.task.writes}
    for cost in wide.costs:
        for use in cost.task.reads:
            assert use.bytes == written.get(use.name, use.bytes), cost.task.name


def _with_bits(work: Workload, bits: int) -> Workload:
    operators = tuple(
        replace(
            op,
            inputs=tuple(replace(one, bits=bits) for one in op.inputs),
            outputs=tuple(replace(one, bits=bits) for one in op.outputs),
        )
        for op in work.operators
    )
    return Workload(name=work.name, operators=operators, inputs=work.inputs, outputs=work.outputs)


@pytest.mark.parametrize("name", ["array", "MACs", "static", "link", "DRAM"])
def test_an_engine_with_the_name_of_something_else_is_refused(name: str) -> None:
    with pytest.raises(MappingError, match="give it another one"):
        gemmini(replace(HOST, name=name))


def test_cycles_that_are_no_number_are_refused() -> None:
    with pytest.raises(MappingError, match="above 0"):
        replace(HOST, cycles={"softmax": float("nan")})


def test_sums_do_not_stay_where_they_are_wider_than_what_reads_them() -> None:
    found = run(chain(), hwmodels.load("survey-machine", kind=hwmodels.Accelerator))
    assert all(item.level != "L2" or item.name == "weights" for item in found.placements)


def test_cycles_that_are_whole_but_for_rounding_are_not_rounded_up() -> None:
    """840,000 cycles at a port of 0.004 of Eyeriss's: the mapper and the cost model have to agree."""
    from hwmodels.mapping import narrowed
    from hwmodels.mapping.cases import gemm_operator
    from hwmodels.spatial import REFERENCE

    eyeriss = hwmodels.load("eyeriss", kind=hwmodels.Accelerator)
    outer = eyeriss.levels[0]
    rate = (outer.read_words_per_cycle or 1.0) * 0.004
    slow = replace(outer, read_words_per_cycle=rate, write_words_per_cycle=rate)
    machine = replace(eyeriss, conventions=REFERENCE, levels=(slow, *eyeriss.levels[1:]))
    product = narrowed(gemm_operator("g", {"M": 64, "N": 48, "K": 36}), 16)
    assert float(search(product, machine, "energy").cost.cycles[0]) == 840_000
