"""Torch modules to workloads: what is exported agrees with torch on another shape, or says why not."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from workloads import WorkloadError, capture, load_program
from workloads.capturing import PARAMETER_KEY, TRANSPOSED_KEY
from workloads.capturing.axes import another_shape, inferred_axes

pytest.importorskip("torch")
import torch


def attention(q: Any, k: Any, v: Any, hidden: Any = None) -> Any:
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return torch.softmax(scores if hidden is None else scores.masked_fill(hidden, -1e9), -1) @ v


class Encoder(torch.nn.Module):
    """Embedding, one head of attention with a mask, FFN; gives a mapping with a nested list."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(50, width)
        self.qkv = torch.nn.Linear(width, 3 * width)
        self.up, self.down = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def forward(self, input_ids: Any, attention_mask: Any = None, scale: float = 1.0) -> Any:
        x = self.embed(input_ids) * scale
        q, k, v = self.qkv(x).chunk(3, -1)
        hidden = None if attention_mask is None else attention_mask[:, None, :] == 0
        x = x + attention(q, k, v, hidden)
        return {"states": self.down(torch.relu(self.up(x))), "extra": [x.mean(1), None]}


@dataclasses.dataclass
class Step:
    logits: Any
    past: Any = None


class CachedDecoder(torch.nn.Module):
    """One head over a growing cache; gives a dataclass."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embed, self.qkv = torch.nn.Embedding(50, width), torch.nn.Linear(width, 3 * width, bias=False)
        self.head = torch.nn.Linear(width, 50, bias=False)

    def forward(self, input_ids: Any, past: Any) -> Any:
        q, k, v = self.qkv(self.embed(input_ids)).chunk(3, -1)
        keys = torch.cat([past["key"], k[:, None]], 2)
        values = torch.cat([past["value"], v[:, None]], 2)
        return Step(self.head(attention(q[:, None], keys, values)[:, 0]), {"key": keys, "value": values})


class ConvNet(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.depthwise = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head = torch.nn.Linear(8, 10)

    def forward(self, pixels: Any) -> Any:
        return self.head(torch.relu(self.depthwise(self.norm(self.stem(pixels)))).mean((2, 3)))


def seeded(module: Any) -> Any:
    torch.manual_seed(0)
    return module().eval()


def ids(batch: int = 2, seq: int = 6) -> Any:
    return torch.randint(50, (batch, seq), generator=torch.Generator().manual_seed(0))


def encoder_macs(batch: int, seq: int, width: int = 16) -> int:
    return batch * (11 * seq * width**2 + 2 * seq * seq * width)  # qkv 3, FFN 8; scores and context


def test_an_encoder_keeps_batch_and_sequence_and_the_names_of_its_parameters(tmp_path: Path) -> None:
    module, path = seeded(Encoder), tmp_path / "encoder.onnx"
    work = capture(module, {"input_ids": ids(), "attention_mask": torch.ones_like(ids())}, path=path)
    assert work.bindings == {"batch": 2, "seq": 6}
    assert work.macs() == encoder_macs(2, 6)
    assert work.inputs == ("input_ids", "attention_mask")
    assert work.outputs == ("states", "extra_0")
    held = check_parameters(path, module)
    assert held == {name for name, _ in module.named_parameters()}
    text = path.read_bytes()
    assert str(Path(__file__).parent).encode() not in text  # no paths of this machine in the file
    assert [item.name for item in tmp_path.iterdir()] == ["encoder.onnx"]


def check_parameters(path: Path, module: Any) -> set[str]:
    """Assert that each initializer holds the parameter that it names."""
    parameters, held = dict(module.named_parameters()), set()
    for tensor in onnx.load(str(path)).graph.initializer:
        notes = {entry.key: entry.value for entry in tensor.metadata_props}
        for name in notes.get(PARAMETER_KEY, "").split(","):
            if name in parameters:
                want = parameters[name].detach().numpy()
                np.testing.assert_array_equal(
                    numpy_helper.to_array(tensor), want.T if TRANSPOSED_KEY in notes else want
                )
                held.add(name)
    return held


def test_sizes_are_bound_and_constants_stay_constants() -> None:
    given = {"input_ids": ids(), "attention_mask": torch.ones_like(ids()), "scale": 0.5}
    assert capture(seeded(Encoder), given, batch=3, seq=40).macs() == encoder_macs(3, 40)
    static = capture(seeded(Encoder), [ids()], dynamic=None)
    assert not static.bindings
    assert static.macs() == encoder_macs(2, 6)


def test_a_decoder_grows_its_cache_and_gives_a_dataclass(tmp_path: Path) -> None:
    past = {part: torch.randn(2, 1, 5, 16) for part in ("key", "value")}
    module, path = seeded(CachedDecoder), tmp_path / "decoder.onnx"
    work = capture(module, {"input_ids": ids(seq=1), "past": past}, path=path, past=99)
    assert work.inputs == ("input_ids", "past_key", "past_value")
    assert work.outputs == ("logits", "present_key", "present_value")
    assert work.bindings == {"batch": 2, "past": 99}
    assert work.macs() == 2 * (3 * 16 * 16 + 2 * 100 * 16 + 16 * 50)
    assert past["key"].shape[2] == 5  # the caller's cache did not grow
    assert {tensor.role for op in work for tensor in op.inputs if tensor.name == "past_key"} == {"kv_cache"}
    assert check_parameters(path, module) == {"embed.weight", "qkv.weight", "head.weight"}


def test_a_convnet_and_a_legacy_export_of_it() -> None:
    pixels = torch.randn(2, 3, 16, 16)
    macs = 2 * (64 * 8 * 27 + 64 * 8 * 9 + 80)
    for exporter in ("dynamo", "legacy"):
        work = capture(seeded(ConvNet), pixels, exporter=exporter, opset=18)
        assert work.macs() == macs, exporter
        assert work.bindings == {"batch": 2}


def test_a_module_that_fixes_the_batch_is_an_error_that_names_the_axis() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x + torch.zeros(2, 1)

    with pytest.raises(WorkloadError, match=r"capture of Fixed: .*axis 0 of input 'x' only works with 2.*dynamic="):
        capture(Fixed().eval(), torch.randn(2, 8))


def test_a_choice_by_data_is_an_error_with_its_line() -> None:
    class Chooses(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -x

    with pytest.raises(
        WorkloadError, match=r"depends on the data at .*test_capture\.py:\d+.*torch\.where or torch\.cond"
    ):
        capture(Chooses().eval(), torch.randn(2, 8))


def test_a_mask_that_the_legacy_exporter_freezes_is_found(tmp_path: Path) -> None:
    class FrozenMask(torch.nn.Module):
        """Skips the mask where nothing is hidden, as masks of transformers do: a trace keeps the skip."""

        def forward(self, x: Any, attention_mask: Any) -> Any:
            return x if bool(attention_mask.all()) else x * attention_mask[..., None]

    given = {"x": torch.randn(2, 6, 4), "attention_mask": torch.ones(2, 6, dtype=torch.int64)}
    path = tmp_path / "frozen.onnx"
    with pytest.raises(WorkloadError, match=r"differs from torch by .*first in output 'output' at index \([12], "):
        capture(FrozenMask().eval(), given, exporter="legacy", opset=17, path=path)
    assert not list(tmp_path.iterdir())  # a wrong file never appears


def test_a_size_that_a_trace_freezes_is_found() -> None:
    class FrozenSize(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.reshape(int(x.shape[0]) * 2, 4)

    with pytest.raises(WorkloadError, match=r"ONNX Runtime cannot run the export|differs from torch"):
        capture(FrozenSize().eval(), torch.randn(4, 8), exporter="legacy", opset=17)


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ({"ids": ids()}, {}, r"do not fit forward\(input_ids.*mapping of argument names"),
        ({"input_ids": ids()}, {"dynamic": {"ids": {0: "b"}}}, "names 'ids', which is no input; nearest: input_ids"),
        ({"input_ids": ids()}, {"dynamic": {"input_ids": {2: "b"}}}, "has no axis 2"),
        ({"input_ids": ids()}, {"dynamic": {"input_ids": {0: "a b"}}}, "cannot name an axis"),
        ({"input_ids": ids(1)}, {"dynamic": {"input_ids": {0: "b"}}}, "has size 1; torch.export freezes"),
        ({"input_ids": ids()}, {"dynamic": {"input_ids": {0: "b", 1: "b"}}}, "give it a symbol of its own"),
        ({"input_ids": ids()}, {"outputs": ("a",)}, r"1 output names for 2 tensors \(states, extra_0\)"),
        ({"input_ids": ids() + 50}, {}, "forward fails on the inputs: IndexError"),
        ({"input_ids": object()}, {}, "is a object; tensors, mappings"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said(inputs: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        capture(seeded(Encoder), inputs, **options)


def test_a_module_that_torch_cannot_run_on_another_shape_asks_for_inputs() -> None:
    class Pairs(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.reshape(-1, 2, 8).sum(1)

    with pytest.raises(WorkloadError, match=r"torch was run on x \(\d, 8\), and failed.*as check="):
        capture(Pairs().eval(), torch.randn(4, 8), exporter="legacy", opset=17)
    work = capture(Pairs().eval(), torch.randn(4, 8), exporter="legacy", opset=17, check=[torch.randn(6, 8)], batch=8)
    assert work.bindings == {"batch": 8}


def test_training_mode_is_refused() -> None:
    with pytest.raises(WorkloadError, match=r"training mode; call module\.eval\(\)"):
        capture(Encoder(), [ids()])


def test_axes_are_inferred_by_the_rules() -> None:
    tensors = {
        "input_ids": ids(2, 4),
        "attention_mask": torch.ones(2, 11, dtype=torch.int64),
        "past_key_0": torch.randn(2, 3, 7, 8),
        "states": torch.randn(2, 4, 8),
        "table": torch.randn(5, 8),
    }
    assert inferred_axes(tensors) == {
        "input_ids": {0: "batch", 1: "seq"},
        "attention_mask": {0: "batch", 1: "total"},
        "past_key_0": {0: "batch", 2: "past"},
        "states": {0: "batch", 1: "seq"},
        "table": {},
    }


@pytest.mark.parametrize("longer", [True, False])
def test_another_shape_has_other_sizes_valid_values_and_padding(longer: bool) -> None:
    tensors = {
        "input_ids": ids(3, 8),
        "attention_mask": torch.ones(3, 19, dtype=torch.int64),
        "past_key_0": torch.randn(3, 3, 11, 8),
    }
    axes = inferred_axes(tensors)
    other = another_shape(tensors, axes, longer=longer)
    batch, new, past, total = (
        other["input_ids"].shape[0], other["input_ids"].shape[1], other["past_key_0"].shape[2],
        other["attention_mask"].shape[1],
    )  # fmt: skip
    assert batch == (4 if longer else 2)
    assert new != 8
    assert past != 11
    assert total == past + new
    assert set(other["input_ids"].flatten().tolist()) <= set(tensors["input_ids"].flatten().tolist())
    hidden = (other["attention_mask"] == 0).sum(1).tolist()
    assert hidden == [row * total // (2 * batch) for row in range(batch)]
    assert hidden[-1] > 0


class Branches(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        return torch.cond(x.sum() > 0, lambda x: self.one(x), lambda x: self.other(x), (x,))


class Pooled(torch.nn.Module):
    """Takes [batch, length, width] of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(4, 8)

    def forward(self, x: Any) -> Any:
        return self.inner(x).mean(1)


class Channels(torch.nn.Module):
    """Takes [batch, channels, length]: axis 1 is fixed."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Conv1d(3, 8, 3)

    def forward(self, x: Any) -> Any:
        return self.inner(x)


def test_a_branch_names_no_file_that_is_gone_and_says_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"^capture of Branches: .*pass path= to capture, then .*load_program"):
        capture(seeded(Branches), torch.ones(2, 4))
    path = tmp_path / "kept.onnx"
    with pytest.raises(WorkloadError, match=r"kept\.onnx: what runs depends .*probabilities=") as raised:
        capture(seeded(Branches), torch.ones(2, 4), path=path)
    name = re.findall(r"probabilities=\{'(\w+)'", str(raised.value))[0]
    program = load_program(path, probabilities={name: 0.5}, batch=6)
    assert program.macs() == 6 * 16  # one of the two


@pytest.mark.parametrize(("inputs", "bind"), [((2, 4), {"batch": -1}), ((2, 4), {"bach": 3}), ((0, 4), {})])
def test_no_message_names_a_file_that_is_gone(inputs: tuple[int, ...], bind: dict[str, int]) -> None:
    with pytest.raises(WorkloadError, match=r"^capture of Pooled: ") as raised:
        capture(seeded(Pooled), torch.ones(*inputs), **bind)  # type: ignore[arg-type]
    assert "/" not in str(raised.value)
    assert ".onnx" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exporter": "foo"}, "no exporter 'foo'; .*dynamo"),
        ({"dynamic": "all"}, "dynamic='all' is not 'infer', None or a mapping"),
    ],
)
def test_options_of_the_wrong_kind_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        capture(seeded(Pooled), torch.ones(2, 4), **options)


def test_what_is_no_module_is_refused_with_the_right_function() -> None:
    with pytest.raises(WorkloadError, match=r"takes a torch\.nn\.Module, and this is a str; .*load_onnx"):
        capture("model.onnx", torch.ones(2, 4))  # type: ignore[arg-type]


def test_a_path_that_cannot_be_written_is_named_before_the_export(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for path, message in ((tmp_path, "is a folder"), (file / "model.onnx", "cannot write .*model.onnx.*path= in a")):
        with pytest.raises(WorkloadError, match=f"^capture of Pooled: .*{message}") as raised:
            capture(seeded(Pooled), torch.ones(2, 4), path=path)
        assert ".capture-" not in str(raised.value)
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_the_length_of_a_float_input_is_tried_and_checked() -> None:
    work = capture(seeded(Pooled), torch.randn(2, 5, 4), seq=7)
    assert work.bindings == {"batch": 2, "seq": 7}
    assert work.macs() == 2 * 7 * 4 * 8


def test_a_length_that_stays_fixed_is_said() -> None:
    with pytest.warns(UserWarning, match=r"axis 1 of input 'x' stays as in the example, and no other length"):
        work = capture(seeded(Channels), torch.randn(2, 3, 9))
    assert work.bindings == {"batch": 2}
    work = capture(seeded(Channels), torch.randn(2, 3, 9), dynamic={"x": {0: "batch"}})  # no warning: asked for
    assert work.bindings == {"batch": 2}
