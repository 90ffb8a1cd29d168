"""What GenZ predicts of the served models of `reports/whole_models.md`; writes `reports/whole_models_peer.csv`.

    PEER/bin/python reports/whole_models_peer.py

PEER is an environment of its own with genz-llm 0.0.16; nothing of this project is imported. Peaks and bandwidths are
those of its own H100. Times are of a decoding step and of one prompt [ms]; `cpu_s` is the CPU time of both calls.
"""

from __future__ import annotations

import csv
import itertools
import time
from pathlib import Path

from GenZ import decode_moddeling, prefill_moddeling  # type: ignore[import-not-found]

MODEL, SYSTEM = "meta-llama/Llama-3.1-8B", "H100_GPU"
GPUS, BATCHES = (1, 2, 4, 8), (8, 16, 32, 64, 128)
PROMPTS, OUTPUTS = (1024, 2048, 4096), (128, 256, 512)


def main() -> None:
    """Predict every combination of the served table."""
    out = Path(__file__).with_suffix(".csv")
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["gpus", "batch", "prompt", "output", "decode_ms", "prefill_ms", "cpu_s"])
        for gpus, batch, prompt, output in itertools.product(GPUS, BATCHES, PROMPTS, OUTPUTS):
            start = time.process_time()
            shared = {"model": MODEL, "system_name": SYSTEM, "tensor_parallel": gpus, "bits": "bf16"}
            try:
                step = decode_moddeling(
                    batch_size=batch, input_tokens=prompt + output // 2, output_tokens=0, Bb=1, **shared
                )["Latency"]
                first = prefill_moddeling(batch_size=1, input_tokens=prompt, **shared)["Latency"]
            except ValueError:  # it refuses what does not fit one GPU's memory
                continue
            used = time.process_time() - start
            writer.writerow([gpus, batch, prompt, output, f"{step:.5g}", f"{first:.5g}", f"{used:.3f}"])


if __name__ == "__main__":
    main()
