"""ResNet-50 in the survey's convention: its layers as Table 12 lists them, real graphs in the classes of Table 4."""

from __future__ import annotations

from dataclasses import dataclass

from workloads.errors import WorkloadError
from workloads.operator import Operator, Tensor
from workloads.survey.convention import Count
from workloads.workload import Workload

__all__ = [
    "CONVOLUTION_CLASSES",
    "RESNET50_LAYERS",
    "ConvLayer",
    "convolution_classes",
    "convolution_intensities",
    "resnet50_convolutions",
]


@dataclass(frozen=True, slots=True)
class ConvLayer:
    """A convolution with "same" padding that a network repeats.

    Attributes:
        kernel: Width of the filter.
        inputs: Input channels.
        outputs: Output channels.
        size: Width and height of the result.
        repeats: How often the network has it.
        stride: Step of the filter.
    """

    kernel: int
    inputs: int
    outputs: int
    size: int
    repeats: int = 1
    stride: int = 1

    def count(self) -> Count:
        """Count FLOPs and MOPs of all repeats: every tensor moved once, at 8 bits.

        Example:
            >>> round(ConvLayer(3, 64, 64, 56, 3).count().intensity, 2)
            527.55
        """
        return self.repeats * Count(2 * self.values()[0] * self.size**2, sum(self.values()))

    def values(self) -> tuple[int, int, int]:
        """Count the values of the filter, of the input that is read, and of the result, of one repeat."""
        pixels = self.size**2
        read = pixels if self.kernel == 1 else self.stride**2 * pixels  # a 1x1 filter skips what it steps over
        return self.kernel**2 * self.inputs * self.outputs, self.inputs * read, self.outputs * pixels


# He et al., Deep Residual Learning, 2016, Table 1, as Table 12 of the survey counts it: each row's FLOPs fix how many
# repeats it sums. The first block's 1x1 convolution of a stage reads another width: left out in stages 3 to 5, but
# counted in stage 2 as if it read 256 channels (it reads 64).
RESNET50_LAYERS: tuple[ConvLayer, ...] = (
    ConvLayer(1, 256, 64, 56, 3),
    ConvLayer(3, 64, 64, 56, 3),
    ConvLayer(1, 64, 256, 56, 3),
    ConvLayer(1, 512, 128, 28, 3),
    ConvLayer(3, 128, 128, 28, 4),
    ConvLayer(1, 128, 512, 28, 4),
    ConvLayer(1, 1024, 256, 14, 5),
    ConvLayer(3, 256, 256, 14, 6),
    ConvLayer(1, 256, 1024, 14, 6),
    ConvLayer(1, 2048, 512, 7, 2),
    ConvLayer(3, 512, 512, 7, 3),
    ConvLayer(1, 512, 2048, 7, 3),
)


def resnet50_convolutions(*, stride_in_3x3: bool) -> tuple[ConvLayer, ...]:
    """Give all 53 convolutions of ResNet-50.

    Args:
        stride_in_3x3: Whether a stage's first block steps in its 3x3 convolution (v1.5, what libraries ship) or in its
            first 1x1 convolution (v1, as published).

    Example:
        >>> [round(sum(layer.count().flops for layer in resnet50_convolutions(stride_in_3x3=v)) / 1e9, 2)
        ...  for v in (False, True)]
        [7.71, 8.17]

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, Table 1.
    """
    layers = [ConvLayer(7, 3, 64, 112, stride=2)]
    read, size = 64, 56
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width, stride = 64 << stage, 1 if stage == 0 else 2
        size //= stride
        for block in range(blocks):
            step = stride if block == 0 else 1
            first, second = (1, step) if stride_in_3x3 else (step, 1)
            layers += [
                ConvLayer(1, read, width, size * second, stride=first),
                ConvLayer(3, width, width, size, stride=second),
                ConvLayer(1, width, 4 * width, size),
            ]
            if block == 0:
                layers.append(ConvLayer(1, read, 4 * width, size, stride=step))
            read = 4 * width
    return tuple(layers)


CONVOLUTION_CLASSES = ("conv", "batchnorm", "relu", "other")
"""Operator classes of Table 4."""

_CLASS_OF = {"Conv": "conv", "BatchNormalization": "batchnorm", "Relu": "relu"}


def convolution_classes(workload: Workload) -> dict[str, Count]:
    """Count a convolutional network in the classes of Table 4, with our own operators' FLOPs, at 8 bits.

    Args:
        workload: Batch 1.

    Returns:
        `CONVOLUTION_CLASSES`, then "total_unfused" and "total_fused": norm and ReLU inside the convolutions, which
        neither work nor move anything by themselves.

    Raises:
        WorkloadError: The workload has no convolution.
    """
    counts = dict.fromkeys(CONVOLUTION_CLASSES, Count())
    for op in workload:
        if op.kind != "view":
            counts[_CLASS_OF.get(op.op_type, "other")] += op.count * Count(op.flops(), _moved(op))
    if not counts["conv"].flops:
        raise WorkloadError(f"{workload.name}: has no convolution; use survey.count_workload for a transformer")
    unfused = sum(counts.values(), start=Count())
    return {**counts, "total_unfused": unfused, "total_fused": counts["conv"] + counts["other"]}


def convolution_intensities(workload: Workload) -> dict[tuple[int, int, int], list[Count]]:
    """Give the count of every convolution of a real graph by (kernel, output channels, output width).

    Raises:
        WorkloadError: The workload has no convolution.
    """
    found: dict[tuple[int, int, int], list[Count]] = {}
    for op in _convolutions(workload):
        weight = next(tensor for tensor in op.inputs if tensor.role == "weight" and len(tensor.axes) > 1)
        outputs, *_, kernel = (int(extent) for extent in weight.shape(op.dims))
        width = int(op.outputs[0].shape(op.dims)[-1])
        found.setdefault((kernel, outputs, width), []).append(Count(op.flops(), _moved(op)))
    if not found:
        raise WorkloadError(f"{workload.name}: has no convolution")
    return found


def _convolutions(workload: Workload) -> list[Operator]:
    return [op for op in workload if op.op_type == "Conv"]


def _moved(op: Operator) -> float:
    """Count the values that an operator reads and writes, bias vectors apart."""
    read = {tensor.name: tensor for tensor in op.inputs if not (op.op_type == "Conv" and _is_bias(tensor))}
    return sum(float(tensor.values(op.dims)) for tensor in (*read.values(), *op.outputs))


def _is_bias(tensor: Tensor) -> bool:
    return tensor.role == "weight" and len(tensor.axes) == 1
