"""Real GPU kernels: one formula per family, calibrations as data, predictions with error bands.

`predict_table` takes tables; `records`, `machine` and the formulas of `gemm`, `attention`, `elementwise` and
`collectives` take arrays.
"""
