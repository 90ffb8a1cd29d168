"""Find the definition of a word among a thousand: sentence embeddings of WordNet nouns."""

from __future__ import annotations

import csv
import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workloads.errors import TaskError, nearest
from workloads.tasks.session import Model, Session, open_session, run_batches
from workloads.tasks.task import Score, score_examples

__all__ = ["WordNetRetrieval"]

Array = NDArray[Any]
Floats = NDArray[np.float64]

_TABLE = Path(__file__).parent / "data" / "wordnet_definitions.csv"
_SPLITS = ("test", "calibration")
_LONGEST_TOKENS = 128
_SCALE = (
    20.0  # inverse temperature of the contrastive loss. Source: sentence-transformers, MultipleNegativesRankingLoss
)
_NAMES = ("input_ids", "attention_mask", "token_type_ids")
_FLOAT = ("tensor(float)", "tensor(float16)", "tensor(double)")


@functools.cache
def _rows() -> tuple[tuple[str, ...], ...]:
    """Read the frozen table: (split, synset offset, lemmas, definition)."""
    with _TABLE.open(newline="", encoding="utf-8") as file:
        return tuple(tuple(row) for row in list(csv.reader(file))[1:])


def _texts(split: str, limit: int | None) -> tuple[list[str], list[str]]:
    """Give the queries (lemmas) and the definitions of the first synsets of a split."""
    if split not in _SPLITS:
        raise TaskError(f"wordnet-retrieval has no split {split!r}; {nearest(split, _SPLITS)}")
    rows = [row for row in _rows() if row[0] == split][:limit]
    return [row[2] for row in rows], [row[3] for row in rows]


def definition_ranks(similarity: Floats) -> NDArray[np.int64]:
    """Give the rank of each query's own definition, ties counted against it: (count, count) -> (count,), from 1.

    Example:
        >>> definition_ranks(np.array([[0.9, 0.1], [0.5, 0.5]]))
        array([1, 2])
    """
    ranks: NDArray[np.int64] = (similarity >= np.diag(similarity)[:, np.newaxis]).sum(axis=1).astype(np.int64)
    return ranks


def contrastive_loss(similarity: Floats) -> Floats:
    """Give each query's cross entropy over all definitions, in nats, at 20 x cosine: (count, count) -> (count,).

    Source: M. Henderson et al., arXiv 1705.00652, section 4.4; the loss that this family of models is trained with.

    Example:
        >>> contrastive_loss(np.zeros((2, 2))).round(4)  # ln 2
        array([0.6931, 0.6931])
    """
    logits = _SCALE * similarity
    top = logits.max(axis=1)
    losses: Floats = np.log(np.exp(logits - top[:, np.newaxis]).sum(axis=1)) + top - np.diag(logits)
    return losses


def mean_pool(states: Array, mask: Array) -> Array:
    """Average token states over the unmasked tokens: (batch, seq, width), (batch, seq) -> (batch, width).

    Source: N. Reimers, I. Gurevych, "Sentence-BERT", arXiv 1908.10084, section 3.

    Example:
        >>> mean_pool(np.array([[[2.0], [4.0], [9.0]]]), np.array([[1, 1, 0]]))
        array([[3.]])
    """
    weights = mask[..., np.newaxis].astype(states.dtype)
    pooled: Array = (states * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9)
    return pooled


@dataclass(frozen=True, kw_only=True)
class WordNetRetrieval:
    """Retrieval of a noun's definition: the query is a synset's lemmas, candidates are all definitions of the split.

    No definition contains a whole lemma of its synset (a part of a compound lemma may occur). The model is any sentence
    encoder with inputs input_ids, attention_mask and, if it wants them, token_type_ids, each (batch, seq). A pooled
    float output (batch, width) is the embedding (the last such, if there are more); otherwise the first (batch, seq,
    width) is averaged over unmasked tokens. Similarity is the cosine. The loss is the contrastive cross entropy over
    the candidates, in nats.

    Source: WordNet 3.0, C. Fellbaum (ed.), MIT Press 1998; frozen by reports/training/freeze_wordnet_sample.py.

    Attributes:
        metric: "recall_at_1" (chance 0.001), or "mrr", the mean reciprocal rank.
        tokenizer: A tokenizer.json; by default that of MiniLM-L6, which is fetched once.
        batch: Texts per run of the model.
    """

    # No slots: the cached property below needs an instance dictionary. It caches a pure function of frozen fields.
    metric: Literal["recall_at_1", "mrr"] = "recall_at_1"
    tokenizer: Path | None = None
    batch: int = 32
    name: str = "wordnet-retrieval"
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        """Refuse an unknown metric.

        Raises:
            TaskError: The metric is neither of the two.
        """
        if self.metric not in ("recall_at_1", "mrr"):
            raise TaskError(f"wordnet-retrieval has no metric {self.metric!r}; known: mrr, recall_at_1")

    def calibration(self, limit: int | None = None) -> dict[str, Array]:
        """Return tokens of the calibration synsets: lemmas and definitions in turn, each array (count, seq) int64."""
        queries, definitions = _texts("calibration", limit)
        texts = [text for pair in zip(queries, definitions, strict=True) for text in pair][:limit]
        return _padded(self._tokens(texts), None)

    def evaluate(self, model: Model, split: str = "test", *, limit: int | None = None, threads: int = 1) -> Score:
        """Score a sentence encoder.

        Args:
            model: ONNX model, path or open session.
            split: "test" (1,000 synsets) or "calibration" (256).
            limit: Use only the first synsets, as queries and as candidates: fewer candidates are easier to tell apart.
            threads: Threads of ONNX Runtime.

        Returns:
            The metric and the contrastive loss. An embedding that is not finite is never found, with an infinite loss.

        Raises:
            TaskError: The split is unknown, or the model is no sentence encoder.
            WorkloadError: The tokenizer cannot be fetched.
        """
        queries, definitions = _texts(split, limit)
        session = open_session(model, threads)
        embeddings = self._embed(session, [*queries, *definitions])
        left, right = embeddings[: len(queries)], embeddings[len(queries) :]
        finite = np.isfinite(left).all(axis=1) & np.isfinite(right).all(axis=1)
        similarity = np.nan_to_num(left) @ np.nan_to_num(right).T
        ranks = definition_ranks(similarity)
        values = (ranks == 1).astype(np.float64) if self.metric == "recall_at_1" else 1.0 / ranks
        losses = np.where(finite, contrastive_loss(similarity), np.inf)
        return score_examples(self.metric, np.where(finite, values, 0.0), losses, higher_is_better=True)

    def digest(self) -> str:
        """Return a hash of the texts, the tokenizer and the settings that the score depends on."""
        from workloads.zoo.pretrained import PRETRAINED

        pinned = {member.saved_as: member.sha256 for member in PRETRAINED["minilm-l6"].members}["tokenizer.json"]
        own = pinned if self.tokenizer is None else hashlib.sha256(self.tokenizer.read_bytes()).hexdigest()
        settings = f"{self.name} {self.metric} {own} {_LONGEST_TOKENS} {_SCALE} {self.batch}"
        return hashlib.sha256(settings.encode() + _TABLE.read_bytes()).hexdigest()

    @functools.cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        from workloads.zoo.pretrained import tokenizer_file

        tokenizer = Tokenizer.from_file(str(self.tokenizer if self.tokenizer is not None else tokenizer_file()))
        tokenizer.no_padding()
        tokenizer.enable_truncation(_LONGEST_TOKENS)
        return tokenizer

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]

    def _embed(self, session: Session, texts: Sequence[str]) -> Floats:
        """Embed texts at unit length, (count, width); texts of like length share a batch, so that little is padding."""
        names, fixed = _token_inputs(session)
        output, pooled = _embedding_output(session)
        tokens = self._tokens(texts)
        embeddings: list[Floats] = [np.empty(0)] * len(texts)
        for rows in _by_length(tokens, self.batch):
            feeds = _padded([tokens[row] for row in rows], fixed)
            result = run_batches(session, {name: feeds[name] for name in names}, output, self.batch)
            vectors = result if pooled else mean_pool(result, feeds["attention_mask"])
            for row, vector in zip(rows, vectors.astype(np.float64), strict=True):
                embeddings[row] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return np.stack(embeddings)


def _by_length(tokens: Sequence[Sequence[int]], batch: int) -> Iterator[list[int]]:
    """Yield batches of row numbers, shortest texts first; equal lengths keep their order."""
    order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    for start in range(0, len(order), batch):
        yield order[start : start + batch]


def _padded(tokens: Sequence[Sequence[int]], length: int | None) -> dict[str, Array]:
    """Pad token lists with zeros to the longest, or cut and pad them to a fixed length: three arrays (count, seq)."""
    width = length if length is not None else max((len(row) for row in tokens), default=0)
    ids, mask = np.zeros((len(tokens), width), np.int64), np.zeros((len(tokens), width), np.int64)
    for row, own in enumerate(tokens):
        kept = list(own[:width])
        ids[row, : len(kept)], mask[row, : len(kept)] = kept, 1
    return dict(zip(_NAMES, (ids, mask, np.zeros_like(ids)), strict=True))


def _token_inputs(session: Session) -> tuple[list[str], int | None]:
    """Give the model's inputs, which must be ours, and its sequence length if that is fixed."""
    ports = session.get_inputs()
    names = [port.name for port in ports]
    if not {"input_ids", "attention_mask"} <= set(names) <= set(_NAMES):
        raise TaskError(
            f"the model has inputs {names}; a sentence encoder has input_ids, attention_mask[, token_type_ids]"
        )
    extents = [port.shape[1] for port in ports if len(port.shape) == 2]
    return names, next((extent for extent in extents if isinstance(extent, int)), None)


def _embedding_output(session: Session) -> tuple[str, bool]:
    """Give the output that holds the embedding, and whether the model has pooled it."""
    ports = [port for port in session.get_outputs() if port.type in _FLOAT]
    states = [port.name for port in ports if len(port.shape) == 3]
    flat = [port.name for port in ports if len(port.shape) == 2]
    if flat:
        return flat[-1], True
    if states:
        return states[0], False
    listed = ", ".join(f"{port.name}: {port.type} {list(port.shape)}" for port in session.get_outputs())
    raise TaskError(f"the model has no embedding output (batch, width) or (batch, seq, width); it has {listed}")
