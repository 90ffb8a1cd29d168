"""How each cell of the survey's tables is derived: one function per table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from workloads.survey.convention import LEAST_SQUARES, PRINTED, Constants, Count, architecture, count
from workloads.survey.convolutions import RESNET50_LAYERS, convolution_classes, resnet50_convolutions
from workloads.survey.tiling import products_of_layer, reread_bytes, tiled_bytes, tiled_count
from workloads.workload import Workload

__all__ = ["TABLES", "Row", "Table", "Tables", "half_digit", "outside_reason", "without_a_projection"]

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tables:
    """What a derivation may look at: all printed tables, a graph of ResNet-50 where there is one, the constants."""

    printed: Mapping[str, Sequence[Row]]
    resnet50: Workload | None = None
    constants: Constants = PRINTED

    def cell(self, table: str, column: str, **key: str) -> str:
        """Look a printed cell up by its row's key."""
        rows = self.printed[table]
        return next(row[column] for row in rows if all(row[name] == value for name, value in key.items()))


Derive = Callable[[Row, str, Tables], float | None]


@dataclass(frozen=True, slots=True)
class Table:
    """A reference table: its key columns, its number columns, how a cell is derived (None: it is not).

    `repeats` are columns with printed numbers that stand in another table too.
    """

    key: tuple[str, ...]
    columns: tuple[str, ...]
    derive: Derive
    repeats: tuple[str, ...] = ()


def _share(part: float, whole: float) -> float:
    return 100 * part / whole


def _op_class(row: Row, column: str, constants: Constants) -> float:
    counts = count(architecture(row["model"]), int(row["seq_len"]), constants)
    return _figure(counts[row["op_class"]], counts["total"], column)


def _figure(found: Count, total: Count, column: str) -> float:
    flops, mops = float(found.flops), float(found.mops)
    figures = {
        "flops": flops,
        "gflops": flops / 1e9,
        "pct_flops": _share(flops, float(total.flops)),
        "mops_bytes": mops,
        "gmops_bytes": mops / 1e9,
        "pct_mops": _share(mops, float(total.mops)),
        "arith_intensity": flops / mops,
        "arith_intensity_flop_per_byte": flops / mops,
    }
    return figures[column]


def _op_class_printed(row: Row, column: str, tables: Tables) -> float:
    return _op_class(row, column, tables.constants)


def _op_class_fitted(row: Row, column: str, tables: Tables) -> float:
    return _op_class(row, column, LEAST_SQUARES)


_SCALING = {
    "fig4_gflops": "gflops",
    "fig5_gmops_bytes": "gmops_bytes",
    "fig6_arith_intensity": "arith_intensity",
}


def _scaling(row: Row, column: str, tables: Tables) -> float | None:
    if row["quantity"] not in _SCALING:
        return None
    total = count(architecture(row["model"]), int(row["seq_len"]), tables.constants)["total"]
    return _figure(total, total, _SCALING[row["quantity"]])


def without_a_projection(tokens: int, constants: Constants = PRINTED) -> tuple[Count, Count]:
    """Count BERT-Large with one of the four d x d projections of each layer left out.

    Args:
        tokens: Sequence length.
        constants: Of the operators that are no product.

    Returns:
        With that projection's FLOPs and bytes left out; with its FLOPs and its weights alone left out.

    Example:
        >>> round(without_a_projection(128)[0].flops / 1e9, 2)
        72.68
    """
    arch = architecture("BERT-Large")
    d, total = arch.d_model, count(arch, tokens, constants)["total"]
    flops, weights, activations = (arch.layers * each for each in (2 * d * d * tokens, d * d, 2 * d * tokens))
    left = Count(total.flops - flops, total.mops - weights)
    return Count(left.flops, left.mops - activations), left


def _bert_large(row: Row, column: str, tables: Tables) -> float | None:
    tokens = int(row["seq_len"])
    full = count(architecture("BERT-Large"), tokens, LEAST_SQUARES)["total"]
    without, weights_only = without_a_projection(tokens, LEAST_SQUARES)
    figures = {
        "published_gflops": full.flops / 1e9,
        "derived_gflops_4_projections": full.flops / 1e9,
        "derived_gflops_3_projections": without.flops / 1e9,
        "published_ai": full.intensity,
        "ai_full": full.intensity,
        "ai_3proj_flops_full_mops": without.flops / full.mops,
        "ai_3proj_flops_3proj_mops": without.intensity,
        "ai_3proj_flops_one_weight_matrix_missing": weights_only.intensity,
    }
    return float(figures[column])


def _resnet_layer(row: Row, column: str, tables: Tables) -> float:
    width = int(row["out_size"].partition("x")[0])
    wanted = (int(row["kernel"].partition("x")[0]), int(row["out_channels"]), width)
    layer = next(item for item in RESNET50_LAYERS if (item.kernel, item.outputs, item.size) == wanted)
    return _figure(layer.count(), layer.count(), column)


def _resnet_class(row: Row, column: str, tables: Tables) -> float | None:
    if tables.resnet50 is None:
        return None
    counts = convolution_classes(tables.resnet50)
    name = row["op_class"]
    whole = counts[name] if name.startswith("total") else counts["total_unfused"]
    return _figure(counts[name], whole, column)


_IMPLIED = "_implied_dram_bytes_per_layer"


def _non_ideal(row: Row, column: str, tables: Tables) -> float | None:
    if row["model"] == "ResNet50":
        return None if tables.resnet50 is None else _resnet_non_ideal(tables.resnet50)
    arch, tokens, name = architecture(row["model"]), int(row["seq_len"]), row["op"]
    if not name.endswith(_IMPLIED):
        return float(tiled_count(arch, tokens)[name].intensity)
    name = name.removesuffix(_IMPLIED)
    product = products_of_layer(arch, tokens)[name]
    if name == "wq_wk_wv":
        product = replace(product, count=1)  # that table has one of the three
    printed = tables.cell("non_ideal_intensity", "value", model=row["model"], seq_len=row["seq_len"], op=name)
    implied = round(product.flops() / float(printed))
    # The printed digits fix the bytes to one part in 10^4 or better: ours must be among what they allow.
    allowed = abs(product.flops() / tiled_bytes(product) - float(printed)) <= half_digit(printed) * (1 + 1e-9)
    return float(implied) if allowed else float(tiled_bytes(product))


def _resnet_non_ideal(resnet50: Workload) -> float:
    """Give the fused intensity with the operands read again that do not fit the buffer, as for the products of BERT."""
    fused = convolution_classes(resnet50)["total_fused"]
    again = sum(reread_bytes(layer) for layer in resnet50_convolutions(stride_in_3x3=True))
    return float(fused.flops / (fused.mops + again))


def half_digit(printed: str) -> float:
    """Give half of the last printed digit's place.

    Example:
        >>> half_digit("0.25")
        0.005
    """
    exponent = Decimal(printed).as_tuple().exponent
    assert isinstance(exponent, int)
    return 0.5 * 10.0**exponent


def _gemmini(row: Row, column: str, tables: Tables) -> float | None:
    def stated(quantity: str) -> float:
        return float(tables.cell("gemmini_case_study", "value", quantity=quantity))

    latency = stated("end_to_end_latency_improvement_ibert_plus_resizing")
    cut = 100 * (1 - 69 / 91)  # Fig. 13: utilisation of 69 and 91 percent; equal work
    derived = {
        "matmul_latency_reduction_from_resizing": cut,
        "latency_cut_implied_by_fig13_69_to_91_percent": cut,
        "product_39.6_x_2.24": latency * stated("nas_edp_reduction_at_0.1_ppl"),
        "overall_improvement_headline": latency * stated("nas_latency_reduction_at_0.1_ppl"),
        "fig14_baseline_share_matmul": 100 - stated("baseline_time_share_non_matmul"),
    }
    return derived.get(row["quantity"])


_CLASS_COLUMNS = ("gflops", "pct_flops", "gmops_bytes", "pct_mops")

TABLES: dict[str, Table] = {
    "op_class_tables_read": Table(
        ("model", "seq_len", "op_class"), (*_CLASS_COLUMNS, "arith_intensity_flop_per_byte"), _op_class_printed
    ),
    "op_class_derived": Table(
        ("model", "seq_len", "op_class"),
        ("flops", "mops_bytes", "arith_intensity_flop_per_byte", "pct_flops", "pct_mops"),
        _op_class_fitted,
    ),
    "end_to_end_scaling": Table(("quantity", "model", "seq_len"), ("value",), _scaling),
    "bert_large_discrepancy": Table(
        ("seq_len",),
        (
            "published_gflops",
            "derived_gflops_4_projections",
            "derived_gflops_3_projections",
            "published_ai",
            "ai_full",
            "ai_3proj_flops_full_mops",
            "ai_3proj_flops_3proj_mops",
            "ai_3proj_flops_one_weight_matrix_missing",
        ),
        _bert_large,
        repeats=("published_gflops", "published_ai"),
    ),
    "resnet50_conv_layers": Table(
        ("kernel", "out_channels", "out_size"), ("gflops", "gmops_bytes", "arith_intensity"), _resnet_layer
    ),
    "resnet50_op_class": Table(("op_class",), (*_CLASS_COLUMNS, "arith_intensity"), _resnet_class),
    "non_ideal_intensity": Table(("model", "seq_len", "op"), ("value",), _non_ideal),
    "gemmini_case_study": Table(("quantity",), ("value",), _gemmini),
}
"""The printed tables that counting reaches, by the name of their file in tests/golden/reference/survey."""


_OUTSIDE: tuple[tuple[str, str, str], ...] = (
    ("end_to_end_scaling", "fig9_cpu", "measured on an Intel Xeon Gold 6242"),
    (
        "end_to_end_scaling",
        "fig32_analytic",
        "the source's analytical model; its stated parameters leave the overlap of tiles open",
    ),
    ("gemmini_case_study", "", "measured by the source on its RTL or by its search"),
)


def outside_reason(table: str, key: tuple[str, ...]) -> str:
    """Say why a cell cannot be reproduced by counting; empty: it should be."""
    return next((why for name, start, why in _OUTSIDE if name == table and key[0].startswith(start)), "")
