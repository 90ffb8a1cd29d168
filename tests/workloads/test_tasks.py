"""Tasks: the shipped model is trained far enough for compression to hurt, and scores say how sure they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from workloads.errors import TaskError, WorkloadError
from workloads.tasks import Agreement, MnistClassification, Score, Task, drop, load, loss_rise, score_examples
from workloads.tasks.testing import check_task, round_weights
from workloads.zoo import embedded_model

BLOCK_WEIGHTS = 4 * 6  # q, k, v, out, up, down


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.load(embedded_model())


@pytest.fixture(scope="module")
def reference(model: onnx.ModelProto) -> Score:
    return MnistClassification().evaluate(model)


def rounded(model: onnx.ModelProto, bits: int, per_tensor: bool = False) -> onnx.ModelProto:
    """Round the weights of all blocks to nearest, written apart from the package's own rounding."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    seen = 0
    for tensor in copy.graph.initializer:
        if tensor.name.startswith("blocks.") and len(tensor.dims) == 2:
            weight = numpy_helper.to_array(tensor)  # [in, out]
            scale = np.abs(weight).max(axis=None if per_tensor else 0) / (2 ** (bits - 1) - 1)
            tensor.CopyFrom(numpy_helper.from_array((np.round(weight / scale) * scale).astype(np.float32), tensor.name))
            seen += 1
    assert seen == BLOCK_WEIGHTS
    return copy


def pruned(model: onnx.ModelProto, share: float, heads: int = 8) -> onnx.ModelProto:
    """Zero the rows of `out` and `down` that belong to the heads and neurons of least norm."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name.endswith(("attn.out.weight", "ffn.down.weight")):
            weight = numpy_helper.to_array(tensor).copy()
            size = len(weight) // heads if "attn" in tensor.name else 1
            norms = np.sqrt(np.square(weight).sum(axis=1).reshape(-1, size).sum(axis=1))
            keep = np.repeat(norms > np.sort(norms)[round(share * len(norms)) - 1], size)
            tensor.CopyFrom(numpy_helper.from_array(weight * keep[:, None], tensor.name))
    return copy


def line(weight: NDArray[np.float32], batch: int | str = "batch", output: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """Make a model that computes y = x @ weight."""
    rows, columns = weight.shape
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, rows])
    y = helper.make_tensor_value_info("y", output, [batch, columns])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Cast", ["z"], ["y"], to=output)]
    graph = helper.make_graph(nodes, "line", [x], [y], [numpy_helper.from_array(weight, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


# The shipped model --------------------------------------------------------------------------------------------------


def test_the_shipped_model_is_accurate_on_2000_test_images(reference: Score) -> None:
    assert reference.count == 2_000
    assert reference.value >= 0.985
    assert reference.standard_error == pytest.approx(np.sqrt(reference.value * (1 - reference.value) / 1_999))
    assert reference.loss < 0.06


def test_the_shipped_model_is_small_and_its_weights_keep_their_torch_names(model: onnx.ModelProto) -> None:
    assert embedded_model().stat().st_size < 2_000_000
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    assert weights["blocks.3.ffn.up.weight"] == (96, 384)
    matmuls = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    assert len(matmuls) == BLOCK_WEIGHTS + 1  # and the head
    (image,) = model.graph.input
    assert [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim] == ["batch", 1, 28, 28]


@pytest.mark.parametrize("bits", [8, 4])
def test_int8_is_lossless_and_int4_nearly_so(model: onnx.ModelProto, reference: Score, bits: int) -> None:
    lost, _ = drop(reference, MnistClassification().evaluate(rounded(model, bits)))
    assert abs(lost) <= {8: 0.001, 4: 0.01}[bits]


@pytest.mark.parametrize("per_tensor", [False, True])
def test_int2_costs_more_than_ten_points(model: onnx.ModelProto, reference: Score, per_tensor: bool) -> None:
    assert drop(reference, MnistClassification().evaluate(rounded(model, 2, per_tensor))).value > 0.10


def test_int3_costs_more_than_two_standard_errors(model: onnx.ModelProto, reference: Score) -> None:
    # Per channel the loss tells; the accuracy of 2,000 images is too coarse there. Per tensor both do.
    task = MnistClassification()
    channel, tensor = (task.evaluate(rounded(model, 3, per_tensor)) for per_tensor in (False, True))
    for worse, error in (loss_rise(reference, channel), loss_rise(reference, tensor), drop(reference, tensor)):
        assert worse > 2 * error > 0


def test_pruning_more_costs_more(model: onnx.ModelProto, reference: Score) -> None:
    task = MnistClassification()
    drops = [drop(reference, task.evaluate(pruned(model, share))) for share in (0.5, 0.75)]
    assert all(lost > 2 * error for lost, error in drops)
    assert drops[1].value > drops[0].value


def test_the_package_rounds_as_the_test_does(model: onnx.ModelProto) -> None:
    ours = round_weights(model, 3, select=lambda name: name.startswith("blocks."))
    for one, other in zip(ours.graph.initializer, rounded(model, 3).graph.initializer, strict=True):
        np.testing.assert_allclose(numpy_helper.to_array(one), numpy_helper.to_array(other), rtol=1e-6, atol=0)


def test_an_unknown_embedded_model_is_refused_with_the_known_names() -> None:
    with pytest.raises(WorkloadError, match="nearest: vit-mnist"):
        embedded_model("vit-mnits")


# Scores -------------------------------------------------------------------------------------------------------------


def test_the_paired_error_of_a_drop_is_that_of_the_mean_difference() -> None:
    generator = np.random.default_rng(0)
    before = (generator.random(500) < 0.9).astype(float)
    after = before * (generator.random(500) < 0.95)
    one, other = (score_examples("accuracy", x, 1 - x, higher_is_better=True) for x in (before, after))
    lost, error = drop(one, other)
    assert lost == pytest.approx(before.mean() - after.mean())
    assert error == pytest.approx(np.std(before - after, ddof=1) / np.sqrt(500))
    assert error < np.hypot(one.standard_error, other.standard_error)


def test_a_drop_is_positive_when_the_metric_gets_worse_whatever_its_direction() -> None:
    for higher_is_better, worse in ((True, 0.5), (False, 1.5)):
        before = score_examples("m", [1.0, 1.0], [0.0, 0.0], higher_is_better=higher_is_better)
        after = score_examples("m", [worse, worse], [0.2, 0.4], higher_is_better=higher_is_better)
        assert drop(before, after).value == 0.5
        assert drop(after, before).value == -0.5
        assert loss_rise(before, after).value == pytest.approx(0.3)


def test_scores_of_different_lengths_do_not_pair(model: onnx.ModelProto, reference: Score) -> None:
    with pytest.raises(TaskError, match="same task, split and limit"):
        drop(reference, MnistClassification().evaluate(model, limit=10))


def test_a_model_that_returns_nan_is_wrong_everywhere_and_not_a_crash(model: onnx.ModelProto) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    for tensor in broken.graph.initializer:
        if tensor.name == "head.bias":
            tensor.CopyFrom(numpy_helper.from_array(np.full(10, np.nan, np.float32), tensor.name))
    score = MnistClassification().evaluate(broken, limit=20)
    assert (score.value, score.loss) == (0, np.inf)
    assert loss_rise(score, score).value == np.inf


# MNIST --------------------------------------------------------------------------------------------------------------


def test_mnist_and_agreement_pass_the_conformance_check(model: onnx.ModelProto, tmp_path: Path) -> None:
    check_task(MnistClassification(), model, limit=300)
    np.savez(tmp_path / "inputs.npz", **MnistClassification().inputs("calibration", 400))  # type: ignore[arg-type]
    check_task(Agreement(inputs=tmp_path / "inputs.npz", reference=model), model)


def test_the_conformance_check_refuses_a_metric_that_int2_does_not_hurt(model: onnx.ModelProto) -> None:
    class Blind(MnistClassification):
        def evaluate(self, model: object, split: str = "test", *, limit: int | None = None, threads: int = 1) -> Score:
            count = 50 if limit is None else limit
            return score_examples("accuracy", np.ones(count), np.zeros(count), higher_is_better=True)

    with pytest.raises(TaskError, match="int2 weights"):
        check_task(Blind(), model)


def test_limit_takes_the_first_examples_and_threads_do_not_change_the_metric(
    model: onnx.ModelProto, reference: Score
) -> None:
    few = MnistClassification(batch=64).evaluate(embedded_model(), limit=150, threads=2)
    np.testing.assert_array_equal(few.per_example, reference.per_example[:150])
    np.testing.assert_allclose(few.loss_per_example, reference.loss_per_example[:150], rtol=1e-3, atol=1e-5)


def test_calibration_images_are_not_test_images() -> None:
    task = MnistClassification()
    test, calibration = ({x.tobytes() for x in task.inputs(split)["image"]} for split in ("test", "calibration"))
    assert (len(test), len(calibration)) == (2_000, 512)
    assert not test & calibration
    assert np.bincount(task.labels()).min() > 150  # all ten digits


def test_mnist_refuses_an_unknown_split_and_a_model_of_other_inputs(model: onnx.ModelProto) -> None:
    with pytest.raises(TaskError, match="nearest: test"):
        MnistClassification().evaluate(model, split="tset")
    with pytest.raises(TaskError, match="does not run on the task's data"):
        MnistClassification().evaluate(line(np.eye(3, dtype=np.float32)))
    with pytest.raises(TaskError, match="no such model file"):
        MnistClassification().evaluate("missing.onnx")


def test_the_digest_is_the_same_in_another_process() -> None:
    code = "from workloads.tasks import load; print(load('mnist').digest())"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == load("mnist").digest()


def test_importing_tasks_loads_neither_onnxruntime_nor_torch() -> None:
    code = "import sys, workloads.tasks, workloads.zoo; print({'onnxruntime', 'torch', 'onnx'} & set(sys.modules))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Agreement ----------------------------------------------------------------------------------------------------------


def saved(folder: Path, count: int = 8, width: int = 4) -> Path:
    path = folder / "inputs.npz"
    np.savez(path, x=np.random.default_rng(0).standard_normal((count, width)).astype(np.float32))
    return path


def test_a_model_agrees_with_itself_entirely(model: onnx.ModelProto, tmp_path: Path) -> None:
    np.savez(tmp_path / "inputs.npz", image=MnistClassification().inputs("test", 80)["image"])
    task = load(f"agreement:{tmp_path / 'inputs.npz'}", reference=model)
    score = task.evaluate(model)
    assert (score.metric, score.value, score.loss, score.count) == ("argmax_agreement", 1.0, 0.0, 60)
    assert task.calibration()["image"].shape == (20, 1, 28, 28)
    assert task.evaluate(round_weights(model, 2)).value < 0.9


def test_agreement_on_a_single_number_is_relative_error_and_lower_is_better(tmp_path: Path) -> None:
    one = line(np.ones((4, 1), np.float32))
    task = Agreement(inputs=saved(tmp_path), reference=one)
    worse = task.evaluate(line(np.full((4, 1), 1.5, np.float32)))
    assert (task.metric, task.higher_is_better) == ("relative_error", False)
    assert worse.value == pytest.approx(0.5, rel=1e-5)
    assert drop(task.evaluate(one), worse).value == pytest.approx(0.5, rel=1e-5)


def test_masked_positions_do_not_count() -> None:
    from workloads.tasks.agreement import argmax_agreement

    outputs, wanted = np.eye(3)[[[0, 1, 2]]], np.eye(3)[[[0, 1, 1]]]
    assert argmax_agreement(outputs, wanted) == pytest.approx(2 / 3)
    assert argmax_agreement(outputs, wanted, np.array([[1, 1, 0]])) == 1


def test_a_model_with_a_fixed_batch_is_run_at_its_own_size(tmp_path: Path) -> None:
    weight = np.random.default_rng(1).standard_normal((4, 5)).astype(np.float32)
    task = Agreement(inputs=saved(tmp_path, count=11), reference=line(weight))
    assert task.evaluate(line(weight, batch=3)).value == 1


def test_agreement_tells_what_is_wrong_with_its_inputs(tmp_path: Path) -> None:
    one = line(np.ones((4, 2), np.float32))
    with pytest.raises(TaskError, match="no such file"):
        Agreement(inputs=tmp_path / "none.npz", reference=one).evaluate(one)
    np.savez(tmp_path / "ragged.npz", x=np.ones((3, 4)), y=np.ones((2, 4)))
    with pytest.raises(TaskError, match="common leading example axis"):
        Agreement(inputs=tmp_path / "ragged.npz", reference=one).evaluate(one)
    np.savez(tmp_path / "named.npz", z=np.ones((3, 4), np.float32))
    with pytest.raises(TaskError, match=r"inputs are \['x'\], the data's \['z'\]"):
        Agreement(inputs=tmp_path / "named.npz", reference=one).evaluate(one)
    with pytest.raises(TaskError, match="no float output"):
        Agreement(inputs=saved(tmp_path), reference=line(np.ones((4, 2), np.float32), output=TensorProto.INT64)).metric  # noqa: B018
    with pytest.raises(TaskError, match="reference="):
        load("agreement:inputs.npz")


def test_the_digest_of_agreement_follows_inputs_and_reference(tmp_path: Path) -> None:
    one, other = line(np.ones((4, 2), np.float32)), line(np.zeros((4, 2), np.float32))
    path = saved(tmp_path)
    digests = [Agreement(inputs=path, reference=reference).digest() for reference in (one, one, other)]
    digests.append(Agreement(inputs=saved(tmp_path, count=9), reference=one).digest())
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


# A user's task ------------------------------------------------------------------------------------------------------

USER_TASK = """
from workloads.tasks import MnistClassification

class Mine(MnistClassification):
    pass

class Empty:
    def evaluate(self, model): ...

class Greedy:
    def __init__(self, path): ...
"""


def test_a_user_s_task_is_loaded_from_its_file(tmp_path: Path, model: onnx.ModelProto) -> None:
    path = tmp_path / "mine.py"
    path.write_text(USER_TASK, encoding="utf-8")
    task = load(f"{path}:Mine")
    assert isinstance(task, Task)
    assert task.evaluate(model, limit=5).count == 5


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("none.py:Mine", "no such file"),
        ("mine.py:Mime", "no class 'Mime'; nearest: Mine"),
        ("mine.py:Empty", r"method calibration\(\), method digest\(\), attribute name"),
        ("mine.py:Greedy", "without arguments"),
        ("broken.py:Mine", "fails on import: NameError"),
        ("mine.py", "path/to/file.py:ClassName"),
    ],
)
def test_a_user_s_faulty_task_is_refused_with_its_fault(tmp_path: Path, reference: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(USER_TASK, encoding="utf-8")
    (tmp_path / "broken.py").write_text("undefined_name", encoding="utf-8")
    with pytest.raises(TaskError, match=message):
        load(str(tmp_path / reference))


def test_an_unknown_task_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(TaskError, match="nearest: mnist"):
        load("mnits")
