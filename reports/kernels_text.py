"""The words, headings and kinds of `reports.kernels`."""

from __future__ import annotations

from collections.abc import Callable

from hwmodels.kernels.tables import Key

SIXTEEN = {"bf16", "fp16"}

KINDS: dict[str, Callable[[Key], bool]] = {
    "16-bit products, new shapes": lambda key: key.kernel == "gemm" and {key.a_format, key.w_format} <= SIXTEEN,
    "weight-only and W8A8 products": lambda key: key.kernel == "gemm" and key.w_format in ("int8", "int4"),
    "fp8 products": lambda key: key.kernel == "gemm" and key.w_format == "fp8",
    "prefill attention": lambda key: key.family == "attention_prefill",
    "decode attention": lambda key: key.family == "attention_decode",
    "element-wise, kernel only": lambda key: key.family == "elementwise" and key.timing == "kineto_kernel_time",
    "element-wise, eager": lambda key: key.family == "elementwise" and key.timing == "cuda_event_eager",
    "all-reduce": lambda key: key.kernel == "all_reduce",
    "other collectives": lambda key: key.family == "collective" and key.kernel != "all_reduce",
    "fp32 products, eager": lambda key: key.family == "gemm" and key.a_format == "fp32",
}
"""Which groups each asked figure is about."""

ASKED = {
    "16-bit products, new shapes": "8.5 / 5.5",
    "weight-only and W8A8 products": "12 / 8",
    "fp8 products": "18 / 12",
    "prefill attention": "11 / 7",
    "decode attention": "17 / 11",
    "element-wise, kernel only": "22 / 14",
    "element-wise, eager": "",
    "all-reduce": "10 / 7",
    "other collectives": "",
    "fp32 products, eager": "",
}
"""Mean / median absolute error in percent, as asked; "": nothing was asked."""

TEXT = """# Kernel latency, predicted and measured

Mean / median absolute error in percent on rows that the fit did not see: whole models, (n, k) pairs, head geometries,
row lengths or message sizes are held out, never random rows. Written by `reports/kernels.py`; the tables are public
measurements that do not ship.

- **Roofline**: the data sheet only, nothing fitted.
- **Uncalibrated**: the family's formula with default coefficients, its constant of no timing in particular.
- **Four parameters**: constant, two efficiencies and a corner, fitted on the same folds.
- **Formula**, **with correction**: the family's formula, then with its smooth correction. Of each fold's rows the fit
  saw none, and the choice among forms (few or all coefficients; no, wide or narrow correction) was made by
  cross-validation within the other folds.
- **Final**: a fifth of the units, picked by a fixed hash before forms, corrections and beliefs of this version were
  tuned, and predicted once by a fit to all other rows. Earlier versions of the formulas had been tuned with all rows in
  view. Groups with few models lose up to half of them to the final rows: their fit then sees two models.
- **In 80 % band**: share of held-out rows inside the band, of the folds / of the final rows. The band comes from rows
  held out within the other folds. One thing was changed with the final rows in view: how far out the bands of groups of
  few units may lie, after all rows of some had been found inside, of the folds and of the final ones.

Groups of fewer than 40 rows are left out. 16-bit products of the tables exist for one device of each architecture: an
unseen GPU of a known family is **not verifiable** with them. The two A100s were measured in different formats (fp32
eager and 16 bit in a loop), and P100, V100 and T4 are of one architecture each, so it is not verifiable in fp32 either.
Layer and whole-model totals are not judged here.

## Asked and reached

Rows of all groups pooled. Weighted: sum of errors over sum of times, in percent.
"""

POOL_HEAD = (
    (
        "| kernels | asked | groups, rows | roofline | uncalibrated | four parameters | formula | with correction "
        "| weighted | final | worst group, with correction | in 80 % band |"
    ),
    "|---|---|---|---|---|---|---|---|---|---|---|---|",
)

HEAD = (
    (
        "| device | kernel | formats | timing, framework | rows | held out | roofline | uncalibrated | four parameters "
        "| formula | with correction | final | in 80 % band |"
    ),
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
)

NEW_TEXT = """## A GPU without measurements, and after a number of kernels

Each device is left out whole: shipped calibrations of other devices, applied to its data sheet, predict all its rows;
then a number of its kernels is chosen by those predictions alone, without their times, and the others are judged.
Errors are means over five draws of 700 candidates to choose among: single draws of ten differ by up to 1.5 points. The
beliefs of `hwmodels.kernels.transfer` (how far off coefficients and members may be, which sizes are not chosen) were
settled on the rows outside of the final ones, for all devices together; all rows are judged here. The band of the last
column is that of the prediction after ten kernels.

![Mean error against the number of measured kernels](kernels_new_gpu.png)
"""

NEW_HEAD = (
    "| device | timing, framework | kernel | none | 3 | 5 | 10 | 20 | 50 | in 80 % band after 10 |",
    "|---|---|---|---|---|---|---|---|---|---|",
)

NOISE_TEXT = """## What no model of shapes can meet

Neighbours: products of one (n, k) whose m differ by 1 % or less, in the same table; how far their times lie apart. A
model that is smooth in m errs by about half of it.
"""

FLOOR_HEAD = (
    "",
    (
        "Rows faster than the data sheet allows, by memory or arithmetic. They are kept in every fit and every error "
        "above: operands that repeats find in cache, or a clock above the sheet's."
    ),
    "",
    "| device | kernel | formats | timing | rows | memory | arithmetic |",
    "|---|---|---|---|---|---|---|",
)

FRAMEWORK_HEAD = (
    "",
    "The same 16-bit products on one kind of GPU through two frameworks and timings:",
    "",
    "| device | one | two | products | apart |",
    "|---|---|---|---|---|",
)
