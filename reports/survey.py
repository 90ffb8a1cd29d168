"""The survey's tables, printed beside derived beside ours: writes survey.md beside this file.

Run it with `python reports/survey.py` from a source tree with its tests (the printed numbers stand in
tests/golden/reference/survey); `python reports/survey.py OUT.md` writes elsewhere. It takes some seconds.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import onnx

from dse.files import atomic_write
from dse.report.tables import markdown_table
from workloads import Workload, survey
from workloads.onnx import load_onnx
from workloads.survey import ARCHITECTURES, CLASSES, TITLES, Architecture, Cell, Count
from workloads.zoo import architecture, generation

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "tests" / "golden" / "reference" / "survey"
FIXTURES = ROOT / "tests" / "fixtures"
LENGTHS = (128, 256, 512, 1024, 2048, 4096)


def printed_tables() -> dict[str, list[dict[str, str]]]:
    """Read the printed tables."""
    found = {}
    for path in sorted(REFERENCE.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found[path.stem] = list(csv.DictReader(file))
    return found


def config_of(arch: Architecture) -> dict[str, object]:
    """Write an architecture of the survey as a configuration of the zoo."""
    if arch.generates:
        return {
            "model_type": "gpt2",
            "n_embd": arch.d_model,
            "n_layer": arch.layers,
            "n_head": arch.heads,
            "n_positions": 2 * LENGTHS[-1],
            "vocab_size": 50257,
            "activation_function": "gelu_new",
        }
    return {
        "model_type": "bert",
        "hidden_size": arch.d_model,
        "num_hidden_layers": arch.layers,
        "num_attention_heads": arch.heads,
        "intermediate_size": arch.d_ff,
        "max_position_embeddings": LENGTHS[-1],
        "vocab_size": 30522,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
    }


@cache
def ours(name: str, tokens: int) -> Mapping[str, Count]:
    """Count the graph of a model with our own operators, by class; a generation as the sum over its steps."""
    arch = ARCHITECTURES[name]
    if not arch.generates:
        return survey.own_count(architecture(config_of(arch), seq=tokens))
    counts = dict.fromkeys((*CLASSES, "total"), Count())
    for weight, step in generation(config_of(arch), prompt=1, tokens=tokens):
        for key, value in survey.own_count(step).items():
            counts[key] += float(weight) * value
    return counts


def number(value: float, digits: int = 2) -> str:
    """Write a number with enough decimals for three digits."""
    return f"{value:,.{digits}f}" if value >= 0.1 else f"{value:.3g}"


def mark(cell: Cell, notes: dict[str, int]) -> str:
    """Write a derived number to the printed digits; of a discrepancy what holds, in bold, with its note."""
    assert cell.derived is not None
    if cell.status == "discrepancy":
        return f"**{cell.holds}** [{notes.setdefault(cell.why, len(notes) + 1)}]"
    return f"{cell.derived:.{len(cell.printed.partition('.')[2])}f}"


def op_class_section(cells: Sequence[Cell], notes: dict[str, int]) -> str:
    """Put Tables 3, 10 and 11 side by side."""
    by_row: dict[tuple[str, ...], dict[str, Cell]] = {}
    for cell in cells:
        if cell.table == "op_class_tables_read":
            by_row.setdefault(cell.key, {})[cell.column] = cell
    header = ["", *(f"{name} {kind}" for name in ("GFLOP", "GB", "FLOP/B") for kind in ("printed", "derived", "ours"))]
    parts = []
    for name in ARCHITECTURES:
        rows = []
        for (model, length, op_class), row in by_row.items():
            if model != name:
                continue
            own = ours(model, int(length))[op_class]
            line = [f"{length}, {TITLES[op_class]}"]
            for column, value in (
                ("gflops", float(own.flops) / 1e9),
                ("gmops_bytes", float(own.mops) / 1e9),
                ("arith_intensity_flop_per_byte", float(own.intensity)),
            ):
                line += [row[column].printed, mark(row[column], notes), number(value)]
            rows.append(line)
        if rows:
            parts.append(f"### {name}\n\n{markdown_table(header, rows)}\n")
    return "\n".join(parts)


def totals_section(cells: Sequence[Cell], notes: dict[str, int]) -> str:
    """Put Figs. 4 to 6 side by side."""
    found = {cell.key: cell for cell in cells if cell.table == "end_to_end_scaling"}
    header = ["", *(f"{name} {kind}" for name in ("GFLOP", "GB", "FLOP/B") for kind in ("printed", "derived", "ours"))]
    rows = []
    for model in ("BERT-Base", "BERT-Large", "GPT-2"):
        for length in LENGTHS:
            own = ours(model, length)["total"]
            line = [f"{model}, {length}"]
            for quantity, value in (
                ("fig4_gflops", float(own.flops) / 1e9),
                ("fig5_gmops_bytes", float(own.mops) / 1e9),
                ("fig6_arith_intensity", float(own.intensity)),
            ):
                cell = found[quantity, model, str(length)]
                line += [cell.printed, mark(cell, notes), number(value)]
            rows.append(line)
    return markdown_table(header, rows)


def plain_section(
    cells: Sequence[Cell], table: str, titles: Mapping[str, str], notes: dict[str, int], skip: str = "\0"
) -> str:
    """Put a table without counts of ours side by side: printed and derived of each column."""
    by_row: dict[tuple[str, ...], dict[str, Cell]] = {}
    for cell in cells:
        if cell.table == table and skip not in cell.key[-1]:
            by_row.setdefault(cell.key, {})[cell.column] = cell
    header = ["", *(f"{title} {kind}" for title in titles.values() for kind in ("printed", "derived"))]
    rows = []
    for key, row in by_row.items():
        line = [", ".join(part for part in key if part)]
        for column in titles:
            line += [row[column].printed, mark(row[column], notes)]
        rows.append(line)
    return markdown_table(header, rows)


def constants_section(tables: Mapping[str, list[dict[str, str]]]) -> str:
    """Put the fitted constants beside what the printed cells allow and what our operators count."""
    graphs = {
        name: load_onnx(FIXTURES / f"{file}.onnx", missing_weights="allow", batch=1, seq=128)
        for name, file in (("BERT-Base", "bert_base_dynamo"), ("GPT-2", "gpt2_dynamo"))
    }
    table = survey.constants_table(tables["op_class_tables_read"], graphs)
    header = ["per layer", "kind", "used", "printed cells allow", *(f"ours, {name}" for name in graphs)]
    rows = [
        [
            row.meaning,
            row.kind,
            f"{row.value:g}",
            f"{row.low:.2f} to {row.high:.2f}",
            *(f"{v:g}" for v in row.ours.values()),
        ]
        for row in table
    ]
    return markdown_table(header, rows)


def discrepancies_section(notes: dict[str, int]) -> str:
    """List every named discrepancy once: the figures of BERT-Large stand in two reference tables."""
    rows = []
    for item in survey.DISCREPANCIES:
        if item.table != "bert_large_discrepancy":
            note = f"[{notes.setdefault(item.why, len(notes) + 1)}]"
            rows.append([item.where, ", ".join(filter(None, item.key)), item.column, item.printed, item.holds, note])
    return markdown_table(["where", "row", "column", "printed", "holds", "note"], rows)


def identities_section(cells: Iterable[Cell], notes: dict[str, int]) -> str:
    """Put identities between printed numbers beside what they give."""
    rows = [[cell.key[0], cell.printed, mark(cell, notes)] for cell in cells if cell.table == "identities"]
    return markdown_table(["identity", "stated", "from the printed digits"], rows)


def report(tables: Mapping[str, list[dict[str, str]]], resnet50: Workload) -> str:
    """Write the whole report."""
    cells = survey.compare(tables, resnet50=resnet50)
    notes: dict[str, int] = {}
    ideal = {"gflops": "GFLOP", "gmops_bytes": "GB", "arith_intensity": "FLOP/B"}
    case = [cell for cell in cells if cell.status != "outside"]
    sections = {
        "Operator classes (Tables 3, 10, 11)": op_class_section(cells, notes),
        "Totals over the length (Figs. 4 to 6)": totals_section(cells, notes),
        "Constants of the convention": f"{_CONSTANTS}\n\n{constants_section(tables)}",
        "Non-ideal intensity (Table 5)": f"{_NON_IDEAL}\n\n"
        + plain_section(cells, "non_ideal_intensity", {"value": "FLOP/B"}, notes, skip="implied"),
        "ResNet-50, layers (Table 12)": plain_section(cells, "resnet50_conv_layers", ideal, notes),
        "ResNet-50, operator classes (Table 4)": f"{_RESNET}\n\n"
        + plain_section(cells, "resnet50_op_class", ideal, notes),
        "Case study": plain_section(case, "gemmini_case_study", {"value": "value"}, notes),
        "Identities between printed numbers": identities_section(cells, notes),
        "Every named discrepancy": discrepancies_section(notes),
    }
    body = "\n\n".join(f"## {title}\n\n{text.rstrip()}" for title, text in sections.items())
    listed = "\n".join(f"{index}. {why}" for why, index in notes.items())
    return f"{_HEAD}\n\n{summary(cells)}\n\n{body}\n\n## Notes\n\n{listed}\n"


def summary(cells: Sequence[Cell]) -> str:
    """Say how many numbers are printed in the source and what became of them, and what else is compared."""
    found = Counter((cell.kind, cell.status) for cell in cells)

    def of(kind: str) -> int:
        return sum(count for (name, _), count in found.items() if name == kind)

    units = sum(item.factor != 1 for item in survey.DISCREPANCIES)
    return (
        f"The source prints {of('printed'):,} numbers that are compared here, each counted once. "
        f"{found['printed', 'reproduced']:,} are reproduced to their last digit, {found['printed', 'discrepancy']} are "
        f"named discrepancies (bold, with a note), {found['printed', 'outside']} are measured or simulated by the "
        f"source and out of reach of counting, {found['printed', 'open']} are unexplained. {units} columns are printed "
        "in another unit than their heading says, and compared in that unit.\n\n"
        f"Not printed, and in none of these counts: {of('derived')} numbers that someone else derived from the printed "
        "ones (tests/golden/reference/survey: operator classes at all lengths, variants of BERT-Large, bytes that "
        f"Table 5 implies), of which {found['derived', 'reproduced']} come out the same. {of('repeated')} cells repeat "
        f"numbers of Figs. 4 and 6. Of {of('identity')} identities between printed numbers "
        f"{found['identity', 'reproduced']} hold."
    )


_HEAD = """# The full-stack survey, reproduced

Kim et al., *Full Stack Optimization of Transformer Inference: a Survey*, arXiv 2302.14017v1, 2023, beside what
`workloads.survey` derives. Written by `python reports/survey.py`.

* **printed**: as in the source.
* **derived**: its counting convention on the architecture's numbers; a loaded graph gives the same numbers, exactly
  (`survey.count_workload`, tested on ONNX exports of BERT-Base and GPT-2).
* **ours**: the FLOPs of our own operators (`workloads.opcounts`) on the model's graph, every tensor at 8 bits. It keeps
  what the convention leaves out: bias additions, scale and mask of the scores, data movement. Of GPT-2 it is the sum
  over the steps of a generation, each with its own context."""

_CONSTANTS = """Fitted: nothing but the printed cells says so. The range is what a constant may be without losing a
printed cell. Bytes of norm parameters follow from the operators; the least-squares fit of
tests/golden/reference/survey/op_class_derived.csv has 5 instead of 4, which loses three cells (159.68, 167.14, 303.59);
`survey.LEAST_SQUARES` is that fit, and gives its integers exactly. In a generation the bytes per token and channel are
22 = 18 + 4, which is our own count: nothing is fitted there but the sum of the contexts, taken as half the square of
the length. Ours: torch's exports write the GELU of BERT with erf (5 FLOPs) and that of GPT-2 with tanh (8)."""

_NON_IDEAL = """No constant is fitted: square tiles, two of which fill the 2 MiB second-level buffer of Fig. 11, 32-bit
results where a non-linear operator reads them, the bias spread over the result."""

_RESNET = """Derived: our own counts of the graph that the onnx package ships (v1.5)."""


def main(path: Path) -> None:
    """Write the report."""
    light = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / "light_resnet50.onnx"
    text = report(printed_tables(), load_onnx(light))
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".md"))
