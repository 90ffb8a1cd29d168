"""Train the embedded vision transformer on MNIST, export it to ONNX and freeze the data that scores it.

    python reports/training/train_vit_mnist.py --mnist DIRECTORY [--epochs 14] [--seed 20] [--threads 2]

DIRECTORY holds the four plain IDX files of MNIST (`train-images-idx3-ubyte`, ...). Written, each by rename:

- workloads/zoo/embedded/vit_mnist.onnx        the checkpoint, fp32
- workloads/tasks/data/mnist_test_2000.npz     2,000 images of the test set
- workloads/tasks/data/mnist_calibration_512.npz   512 images of the training set

On a machine that does other work too, set OMP_WAIT_POLICY=PASSIVE: threads that spin at barriers made it three times
slower.

The last lines printed are the accuracy after weight rounding and after pruning, on the shipped images: the proof that
the checkpoint is trained far enough for compression to hurt.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021 (architecture; mean pooling in place of CLS).
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from workloads.tasks import MnistClassification, Score, drop, loss_rise
from workloads.tasks.mnist import normalise
from workloads.tasks.testing import round_weights

CHECKPOINT = ROOT / "workloads/zoo/embedded/vit_mnist.onnx"
DATA = ROOT / "workloads/tasks/data"
TEST_COUNT, CALIBRATION_COUNT = 2_000, 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Dimensions of the network; the defaults are those of the shipped checkpoint."""

    image: int = 28
    patch: int = 7
    hidden: int = 96
    heads: int = 8
    ffn: int = 384
    blocks: int = 4
    classes: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything else that decides the weights."""

    seed: int = 20
    epochs: int = 14
    clean_epochs: int = 4  # the last ones, without augmentation: the training loss then goes to zero
    batch: int = 128
    peak_rate: float = 1e-3
    warmup_share: float = 0.05


# The network -------------------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """Affine map whose weight is stored [in, out].

    torch.nn.Linear stores [out, in] and would export a Transpose, or a renamed initializer, before each MatMul.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        # Deviation 0.02, as in ViT, was as accurate but too robust: int2 then cost 9 points, here 69.
        self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(inputs, outputs), std=inputs**-0.5))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class Attention(nn.Module):
    """Multi-head self-attention, written out: (batch, tokens, hidden) -> the same."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (Linear(hidden, hidden) for _ in range(4))

    def split(self, x: Tensor) -> Tensor:
        """(batch, tokens, hidden) -> (batch, heads, tokens, hidden / heads)."""
        return x.reshape(x.shape[0], x.shape[1], self.heads, x.shape[2] // self.heads).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        mixed = scores.softmax(dim=-1) @ v
        return self.out(mixed.transpose(1, 2).reshape(x.shape))


class FeedForward(nn.Module):
    """Two affine maps with an exact (erf) GELU between them."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.up, self.down = Linear(hidden, inner), Linear(inner, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(functional.gelu(self.up(x)))


class Block(nn.Module):
    """One pre-LN transformer block."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(shape.hidden), nn.LayerNorm(shape.hidden)
        self.attn = Attention(shape.hidden, shape.heads)
        self.ffn = FeedForward(shape.hidden, shape.ffn)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class VisionTransformer(nn.Module):
    """Patches, learned positions, blocks, mean pooling, head: (batch, 1, 28, 28) -> logits (batch, 10)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        tokens = (shape.image // shape.patch) ** 2
        self.patch = nn.Conv2d(1, shape.hidden, kernel_size=shape.patch, stride=shape.patch)
        self.position = nn.Parameter(0.02 * torch.randn(1, tokens, shape.hidden))
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.blocks))
        self.norm = nn.LayerNorm(shape.hidden)
        self.head = Linear(shape.hidden, shape.classes)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch(image).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x = block(x)
        # Mean pooling, not a CLS token: 16 tokens instead of 17, and equal accuracy at this size.
        return self.head(self.norm(x).mean(dim=1))


# Data --------------------------------------------------------------------------------------------------------------


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes: a magic number, one big-endian size per axis, the values."""
    raw = path.read_bytes()
    kind, axes = raw[2], raw[3]
    if kind != 0x08:
        raise SystemExit(f"{path}: IDX type 0x{kind:02x}, expected 0x08 (unsigned byte)")
    sizes = np.frombuffer(raw, dtype=">i4", count=axes, offset=4)
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * axes).reshape(tuple(int(size) for size in sizes))


def read_mnist(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the images (count, 28, 28) and labels (count,) of part `train` or `t10k`."""
    images, labels = read_idx(folder / f"{part}-images-idx3-ubyte"), read_idx(folder / f"{part}-labels-idx1-ubyte")
    if len(images) != len(labels):
        raise SystemExit(f"{folder}: {len(images)} images but {len(labels)} labels in {part}")
    return images, labels


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn by up to 12 degrees, scale by up to 10 %, shift by up to 2 pixels, each image its own way."""
    count, size = len(images), images.shape[-1]
    turn, scale, dx, dy = (2 * torch.rand(4, count, generator=generator) - 1).unbind()
    angle, zoom = turn * math.radians(12), 1 + 0.1 * scale
    shift = 2 * 2 / size  # affine_grid spans -1..1: two pixels
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    theta = torch.stack([cos, -sin, shift * dx, sin, cos, shift * dy], dim=1).reshape(count, 2, 3)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def write_by_rename(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        write(part)
        part.replace(path)


def freeze_data(folder: Path, seed: int) -> None:
    """Write the shipped test and calibration samples (uint8 images and labels)."""
    for part, count, name in (("t10k", TEST_COUNT, "test"), ("train", CALIBRATION_COUNT, "calibration")):
        images, labels = read_mnist(folder, part)
        rows = np.sort(np.random.default_rng(seed).choice(len(images), size=count, replace=False))
        sample = {"images": images[rows], "labels": labels[rows], "rows": rows.astype(np.int32)}
        write_by_rename(DATA / f"mnist_{name}_{count}.npz", lambda path, s=sample: np.savez_compressed(path, **s))  # type: ignore[misc]


# Training ----------------------------------------------------------------------------------------------------------


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """Linear warm-up, then half a cosine to zero."""
    warmup = recipe.warmup_share * steps
    if step < warmup:
        return recipe.peak_rate * (step + 1) / warmup
    return recipe.peak_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield shuffled row numbers, full batches only."""
    order = torch.randperm(count, generator=generator)
    yield from order[: count - count % size].split(size)


def train(images: Tensor, labels: Tensor, shape: Shape, recipe: Recipe) -> VisionTransformer:
    """Train on images (count, 1, 28, 28), normalised, and labels (count,)."""
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    model = VisionTransformer(shape)
    # No weight decay and no smoothing: both shrink the weights' spread and make coarse rounding look harmless.
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.peak_rate, betas=(0.9, 0.99), fused=True)
    steps, step = recipe.epochs * (len(images) // recipe.batch), 0
    for epoch in range(recipe.epochs):
        start, losses, clean = time.perf_counter(), [], epoch >= recipe.epochs - recipe.clean_epochs
        for rows in batches(len(images), recipe.batch, generator):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, recipe)
            batch = images[rows] if clean else augment(images[rows], generator)
            loss = functional.cross_entropy(model(batch), labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.detach())
            step += 1
        seconds = time.perf_counter() - start
        print(f"epoch {epoch + 1:2d}: train loss {torch.stack(losses).mean():.5f}, {seconds:.1f} s", flush=True)
    return model.eval()


def export(model: VisionTransformer, path: Path, notes: dict[str, str]) -> None:
    """Write the ONNX file, with a dynamic batch and every weight under its torch name."""
    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    sample = torch.zeros(2, 1, 28, 28)
    program = torch.onnx.export(
        model, (sample,), dynamo=True, opset_version=18, input_names=["image"], output_names=["logits"],
        dynamic_shapes={"image": {0: batch}}, external_data=False, verbose=False,
    )  # fmt: skip
    assert program is not None
    proto = program.model_proto
    for entry in (*proto.graph.node, *proto.graph.value_info):
        # The exporter's records of the training machine's source lines: half the file, and of no use to a reader.
        del entry.metadata_props[:]
    proto.doc_string = ""
    onnx.helper.set_model_props(proto, notes)
    missing = set(dict(model.named_parameters())) - {tensor.name for tensor in proto.graph.initializer}
    if missing:
        raise SystemExit(f"the export renamed {sorted(missing)}")
    onnx.checker.check_model(proto, full_check=True)
    write_by_rename(path, lambda part: onnx.save(proto, part))


def verify(model: VisionTransformer, path: Path) -> None:
    """Compare the ONNX file with torch on two batch sizes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count in (1, 37):
        image = torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            expected = model(image).numpy()
        difference = float(np.abs(session.run(None, {"image": image.numpy()})[0] - expected).max())
        print(f"batch {count}: largest difference from torch {difference:.2e}")
        if difference >= 1e-4:
            raise SystemExit("the exported model does not compute what torch computes")


# The proof that compression hurts ------------------------------------------------------------------------------------


def is_block_weight(name: str) -> bool:
    """True for q, k, v, out, up and down."""
    return name.startswith("blocks.")


def prune(model: onnx.ModelProto, share: float, heads: int) -> onnx.ModelProto:
    """Zero the heads and neurons of least magnitude: the same share of each layer.

    A head or neuron is a group of rows of the weight [in, out] that reads it (out, down); zeroing these removes it.
    """
    pruned = onnx.ModelProto()
    pruned.CopyFrom(model)
    for tensor in pruned.graph.initializer:
        if not tensor.name.endswith(("attn.out.weight", "ffn.down.weight")):
            continue
        weight = onnx.numpy_helper.to_array(tensor).copy()
        groups = weight.reshape(heads if "attn" in tensor.name else len(weight), -1)  # a view: rows of one group adjoin
        weakest = np.argsort(np.linalg.norm(groups, axis=1))[: round(share * len(groups))]
        groups[weakest] = 0
        tensor.CopyFrom(onnx.numpy_helper.from_array(weight, tensor.name))
    return pruned


def print_table(path: Path, heads: int) -> None:
    """Print accuracy and drop, in percent, with standard errors, on the shipped test images."""
    task, model = MnistClassification(), onnx.load(path)
    start = time.perf_counter()
    reference = task.evaluate(model)
    seconds = time.perf_counter() - start
    print(f"evaluation of {reference.count} images on one thread: {seconds:.2f} s\n")
    print("| weights | accuracy, % | drop, points | loss rise, 1e-3 nat |\n|---|---|---|---|")

    def row(name: str, score: Score) -> None:
        (lost, error), (rise, rise_error) = drop(reference, score), loss_rise(reference, score)
        accuracy = f"{100 * score.value:.2f} ± {100 * score.standard_error:.2f}"
        loss = f"{1e3 * rise:.1f} ± {1e3 * rise_error:.1f}"
        print(f"| {name} | {accuracy} | {100 * lost:.2f} ± {100 * error:.2f} | {loss} |", flush=True)

    row("fp32", reference)
    for per_tensor in (False, True):
        for bits in (8, 6, 5, 4, 3, 2):
            rounded = round_weights(model, bits, select=is_block_weight, per_tensor=per_tensor)
            row(f"int{bits}, per {'tensor' if per_tensor else 'channel'}", task.evaluate(rounded))
    for share in (0.25, 0.5, 0.75):
        row(f"{share:.0%} of heads and neurons removed", task.evaluate(prune(model, share, heads)))


def main() -> None:
    """Train, export, verify, freeze the data, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="folder of the four IDX files")
    parser.add_argument("--epochs", type=int, default=Recipe().epochs)
    parser.add_argument("--seed", type=int, default=Recipe().seed)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recipe, shape = Recipe(seed=arguments.seed, epochs=arguments.epochs), Shape()

    freeze_data(arguments.mnist, Recipe().seed)
    images, labels = read_mnist(arguments.mnist, "train")
    start = time.perf_counter()
    model = train(torch.from_numpy(normalise(images)), torch.from_numpy(labels.astype(np.int64)), shape, recipe)
    minutes = (time.perf_counter() - start) / 60
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{count} parameters, {recipe.epochs} epochs, {minutes:.1f} min on {arguments.threads} threads")

    notes = {"data": "MNIST", "seed": str(recipe.seed), "epochs": str(recipe.epochs), "heads": str(shape.heads)}
    export(model, arguments.checkpoint, notes)
    verify(model, arguments.checkpoint)
    test_images, test_labels = read_mnist(arguments.mnist, "t10k")
    with torch.no_grad():
        guesses = torch.cat([model(part).argmax(1) for part in torch.from_numpy(normalise(test_images)).split(500)])
    print(f"accuracy on all {len(test_labels)} test images: {np.mean(guesses.numpy() == test_labels):.4f}")
    print_table(arguments.checkpoint, shape.heads)


if __name__ == "__main__":
    main()
