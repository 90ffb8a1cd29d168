"""What compression does to the embedded model, measured: writes embedded_accuracy.md beside this file.

Run it with `python reports/embedded_accuracy.py`; it takes about a minute. Weights are really quantized and really cut
out, and ONNX Runtime runs the result on the 2,000 test images.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from dse.accuracy import Scorer
from dse.files import atomic_write
from dse.report.tables import markdown_table
from workloads import compress, tasks
from workloads.compress import PruneHeads, PruneNeurons, Quantize
from workloads.zoo import embedded_model

DESIGNS = {
    "fp32": (),
    **{
        f"int{bits} per {granularity}": (Quantize(weight_bits=bits, granularity=granularity),)
        for granularity in ("tensor", "channel", "group")
        for bits in (8, 4, 3, 2)
    },
    "dynamic W8A8 per channel": (Quantize(activation_bits=8),),
    **{
        f"{100 - percent} % of heads and neurons pruned": (
            PruneHeads(density=percent / 100),
            PruneNeurons(density=percent / 100),
        )
        for percent in (75, 50, 25)
    },
}


def main() -> None:
    """Measure every design and write the table."""
    model = onnx.load(str(embedded_model()))
    scorer = Scorer(model, tasks.load("mnist"))
    rows = []
    for name, techniques in DESIGNS.items():
        measured = scorer.measure(techniques)
        sizes = compress.sizes(compress.apply(model, *techniques))
        rows.append(
            [
                name,
                f"{100 * measured.score.value:.2f} ± {100 * measured.score.standard_error:.2f}",
                f"{100 * measured.drop.value:.2f} ± {100 * measured.drop.standard_error:.2f}",
                f"{sizes.packed_bytes / 1e3:.0f}",
                f"{sizes.file_bytes / 1e3:.0f}",
            ]
        )
    header = ["block weights", "accuracy, %", "drop, points", "packed, kB", "file, kB"]
    text = (
        "# Accuracy of the embedded model under compression\n\n2,000 MNIST test images, ONNX Runtime, measured by "
        "`python reports/embedded_accuracy.py`. Standard errors of drops are paired. Groups are of 32 rows.\n\n"
        + markdown_table(header, rows)
        + "\n"
    )
    with atomic_write(Path(__file__).with_suffix(".md")) as part:
        Path(part).write_text(text)
    print(text)


if __name__ == "__main__":
    main()
