"""Random tiny operators and mappings for property tests: any order, any steps, bypass, spatial loops on two axes."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from typing import NamedTuple

from hypothesis import strategies as st

from hwmodels.mapping import LevelMapping, Loop, Mapping
from hwmodels.spatial import ROLES, Accelerator, BufferLevel, MeshAxis
from workloads.operator import Axis, Operator, Tensor, axis


class Nest(NamedTuple):
    """An operator with its tensors by role, an accelerator without limits, and a mapping."""

    operator: Operator
    tensors: Dict[str, Tensor]
    accelerator: Accelerator
    mapping: Mapping
    forwards: str

    @property
    def sizes(self) -> dict[str, int]:
        return {dim: int(size) for dim, size in self.operator.dims.items()}


@st.composite
def gemms(draw: st.DrawFn, forwards: str = "") -> Nest:
    """Matrix products, some of them batched, with a weight that the batch shares or not."""
    batched = draw(st.booleans())
    sizes = {dim: draw(st.integers(1, 6)) for dim in "MNK"} | ({"B": draw(st.integers(1, 3))} if batched else {})
    batch = "B" if batched else ""
    shared = draw(st.booleans())
    axes = {"I": batch + "MK", "W": ("" if shared else batch) + "KN", "O": batch + "MN"}
    return _nest(draw, sizes, {role: tuple(map(axis, axes[role])) for role in ROLES}, forwards)


@st.composite
def convs(draw: st.DrawFn, forwards: str = "") -> Nest:
    """Convolutions with strides, dilations, padding at both ends and groups."""
    limits = {"P": 5, "Q": 3, "R": 3, "S": 2, "C": 2, "K": 2}
    sizes = {dim: draw(st.integers(1, most)) for dim, most in limits.items()}
    stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    windows = []
    for p, r in ("QS", "PR"):
        before, after = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        reach = stride * (sizes[p] - 1) + dilation * (sizes[r] - 1) + 1
        padded = before + after > 0
        extent = max(1, reach - before - after) if padded else None
        windows.append(axis((stride, p), (dilation, r), offset=-before if padded else 0, extent=extent))
    channels: tuple[Axis, Axis] = axis("C"), axis("K")
    if draw(st.booleans()):
        channels = axis((sizes["C"], "G"), "C"), axis((sizes["K"], "G"), "K")
        sizes["G"] = 2
    axes = {
        "I": (channels[0], *windows),
        "W": (channels[1], axis("C"), axis("R"), axis("S")),
        "O": (channels[1], axis("Q"), axis("P")),
    }
    return _nest(draw, sizes, axes, forwards)


def _nest(draw: st.DrawFn, sizes: dict[str, int], axes: Dict[str, tuple[Axis, ...]], forwards: str) -> Nest:
    tensors = {
        role: Tensor(name=role, axes=axes[role], role="weight" if role == "W" else "activation") for role in ROLES
    }
    operator = Operator(
        name="tiny",
        op_type="Tiny",
        kind="matmul",
        dims=sizes,
        inputs=(tensors["I"], tensors["W"]),
        outputs=(tensors["O"],),
    )
    mapping = draw(mappings(sizes))
    mesh = tuple(MeshAxis(name=name, size=10**6, forwards=tuple(forwards)) for name in "XY")
    levels = tuple(
        BufferLevel(name=level.level, keeps=ROLES, capacity_words=None, word_bits=8, mesh=mesh)
        for level in mapping.levels
    )
    accelerator = Accelerator(name="unlimited", levels=levels, mac_j=0.0)
    return Nest(operator, tensors, accelerator, mapping, forwards)


@st.composite
def mappings(draw: st.DrawFn, sizes: Dict[str, int], perfect: bool = False) -> Mapping:
    """Valid mappings on one to three levels; steps need not divide what they walk unless `perfect`."""
    depth = draw(st.integers(1, 3))
    loops: list[tuple[int, bool, float, Loop]] = []
    for dim, size in sizes.items():
        steps = [size]
        for _ in range(draw(st.integers(0, 2))):
            fitting = [step for step in range(1, steps[-1] + 1) if not perfect or steps[-1] % step == 0]
            steps.append(draw(st.sampled_from(fitting)))
        if steps[-1] > 1:
            steps.append(1)
        places = sorted(draw(st.tuples(st.integers(0, depth - 1), st.booleans())) for _ in steps[1:])
        order = sorted(draw(st.integers(0, 99)) for _ in steps[1:])  # among the loops of one level
        for step, (level, spatial), rank in zip(steps[1:], places, order, strict=True):
            loops.append((level, spatial, rank, Loop(dim, step, draw(st.sampled_from("XY")) if spatial else "")))
    loops.sort(key=lambda entry: entry[:3])
    return Mapping(
        tuple(
            LevelMapping(
                f"L{place}",
                ROLES if place == 0 else tuple(role for role in ROLES if draw(st.booleans())),
                tuple(loop for level, spatial, _, loop in loops if level == place and not spatial),
                tuple(loop for level, spatial, _, loop in loops if level == place and spatial),
            )
            for place in range(depth)
        )
    )
