"""FLOPs per point of the loop nest, by ONNX op type: the one convention that every report follows.

Convention of this project: a multiply-add is two FLOPs; every other elementary operation (add, multiply, compare, exp,
erf, tanh, sqrt) is one; a composite is the sum of its elementary operations, so that a chain and the fused operator
that replaces it count the same. Data movement and logic on masks is zero. Bias additions inside Conv and Gemm are not
counted, as in the survey's tables (Kim et al., Full Stack Optimization of Transformer Inference, 2023, Table 3).
"""

from __future__ import annotations

__all__ = ["ACTIVATIONS", "ELEMENTWISE", "NORMS", "REDUCTIONS"]

ELEMENTWISE: dict[str, float] = {
    "Abs": 1,
    "Acos": 1,
    "Acosh": 1,
    "Add": 1,
    "And": 0,
    "Asin": 1,
    "Asinh": 1,
    "Atan": 1,
    "Atanh": 1,
    "BitShift": 0,
    "BitwiseAnd": 0,
    "BitwiseNot": 0,
    "BitwiseOr": 0,
    "BitwiseXor": 0,
    "Ceil": 1,
    "Cos": 1,
    "Cosh": 1,
    "Div": 1,
    "Equal": 0,
    "Erf": 1,
    "Exp": 1,
    "Floor": 1,
    "Greater": 0,
    "GreaterOrEqual": 0,
    "IsInf": 0,
    "IsNaN": 0,
    "Less": 0,
    "LessOrEqual": 0,
    "Log": 1,
    "Max": 1,
    "Mean": 1,
    "Min": 1,
    "Mod": 1,
    "Mul": 1,
    "Neg": 1,
    "Not": 0,
    "Or": 0,
    "Pow": 1,
    "Reciprocal": 1,
    "Round": 1,
    "Sign": 1,
    "Sin": 1,
    "Sinh": 1,
    "Sqrt": 1,
    "Sub": 1,
    "Sum": 1,
    "Tan": 1,
    "Where": 0,
    "Xor": 0,
}
"""Element-wise arithmetic and logic. Sum, Mean, Max and Min: per operand beyond the first."""

ACTIVATIONS: dict[str, float] = {
    "Celu": 5,
    "Clip": 2,
    "Elu": 4,
    "FastGelu": 8,
    "Gelu": 5,
    "HardSigmoid": 4,
    "HardSwish": 5,
    "LeakyRelu": 2,
    "Mish": 6,
    "PRelu": 2,
    "QuickGelu": 6,
    "Relu": 1,
    "ScaledSiLU": 6,
    "Selu": 5,
    "Shrink": 3,
    "Sigmoid": 4,
    "Softplus": 3,
    "Softsign": 3,
    "Swish": 5,
    "Tanh": 1,
    "ThresholdedRelu": 1,
}
"""Activation functions. Gelu: div, erf, add, mul, mul; FastGelu: the eight steps of the tanh form; Sigmoid: neg, exp,
add, div; Celu: Elu and a division; Shrink: two comparisons and an addition; Softsign: abs, add, div."""

NORMS: dict[str, float] = {
    "BatchNormalization": 2,
    "GroupNorm": 7,
    "GroupNormalization": 7,
    "InstanceNormalization": 7,
    "LayerNormalization": 7,
    "LRN": 4,
    "LpNormalization": 3,
    "MeanVarianceNormalization": 5,
    "RMSNormalization": 4,
    "SimplifiedLayerNormalization": 4,
    "SkipGroupNorm": 8,
    "SkipLayerNormalization": 8,
    "SkipSimplifiedLayerNormalization": 5,
}
"""Norms, per normalised value. LayerNormalization: mean, sub, square, mean, div, scale, shift. BatchNormalization:
folded into one scale and one shift. Skip...: one addition more; a bias that is added too is one more."""

REDUCTIONS: dict[str, float] = {
    "ArgMax": 1,
    "ArgMin": 1,
    "CumProd": 1,
    "CumSum": 1,
    "GlobalLpPool": 2,
    "ReduceL1": 2,
    "ReduceL2": 2,
    "ReduceLogSum": 1,
    "ReduceLogSumExp": 2,
    "ReduceMax": 1,
    "ReduceMean": 1,
    "ReduceMin": 1,
    "ReduceProd": 1,
    "ReduceSum": 1,
    "ReduceSumInteger": 1,
    "ReduceSumSquare": 2,
    "GlobalAveragePool": 1,
    "GlobalMaxPool": 1,
}
"""Reductions, per value read."""
