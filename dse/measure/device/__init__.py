"""Kernels on a real GPU: built, checked against float64, timed. Imports numpy, torch and triton alone.

This folder runs as a copy on a machine where nothing else of the project is installed:
`python device/__main__.py --suite all --out rows.csv`; here `python -m dse.measure.device` does the same.

| module | its part |
| --- | --- |
| `signatures`, `suites` | what to measure: files, and shapes of known models |
| `kernels/` | a module per idea; `narrow` are weights of 3, 4 and 8 bits and tables, `library` is what torch has |
| `kernel`, `language`, `formats` | a kernel as data; Triton or its stand-in; number formats |
| `bounds`, `integers` | error bounds; I-BERT's arithmetic |
| `measuring`, `stopwatch`, `nvml` | one kernel: check and times, energy and clocks |
| `gpu`, `work` | the machine; operations and bytes |
| `runner`, `rows`, `layers` | all of them: workers, tables; all layers of a model at once |
| `compiled` | kernels compiled for GPUs that are not here |
"""
