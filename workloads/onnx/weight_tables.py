"""What the weights of a model really store, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workloads.onnx.files import check_external_data, read_model
from workloads.onnx.measured import measure_weights

if TYPE_CHECKING:
    import onnx
    import pandas as pd

__all__ = ["weight_table"]

_COLUMNS = (
    "name", "shape", "format", "container_bits", "true_bits", "levels", "density", "pattern", "non_finite",
    "stored_bytes", "packed_bytes",
)  # fmt: skip


def weight_table(source: str | Path | onnx.ModelProto) -> pd.DataFrame:
    """Measure what a model's weights really store; one row per stored tensor of at least `measured.SMALLEST` values.

    Args:
        source: A path, or a model in memory.

    Returns:
        Columns `name`, `shape`, `format`, `container_bits`, `true_bits`, `levels` (missing: more than are counted),
        `density` (fraction of nonzero values), `pattern`, `non_finite`, `stored_bytes` (in the file), `packed_bytes`
        (values at their true width, zeros of the pattern left out, indices and tables included, scales apart).

    Raises:
        WorkloadError: The file or its external data cannot be used.

    Example:
        >>> from workloads.zoo import embedded_model
        >>> table = weight_table(embedded_model("vit-mnist"))
        >>> set(table["pattern"]), set(table["container_bits"])
        ({'dense'}, {32})
    """
    import pandas as pd

    model, name, folder = read_model(source)
    check_external_data(model, name, folder, must_exist=True)
    rows = [
        {
            "name": weight.name,
            "shape": weight.shape,
            "format": weight.format,
            "container_bits": weight.container_bits,
            "true_bits": weight.bits,
            "levels": weight.levels,
            "density": weight.density,
            "pattern": weight.form.label,
            "non_finite": weight.non_finite,
            "stored_bytes": weight.stored_bytes,
            "packed_bytes": weight.packed_bytes,
        }
        for weight in measure_weights(model, folder).values()
    ]
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    return table.astype({"levels": "Int64"})
