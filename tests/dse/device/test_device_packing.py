"""Weights of 3, 4 and 8 bits, and 2:4: what is stored is what was meant, in no more bits than promised."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="kernels need torch")

from dse.measure.device.kernel import Maker  # noqa: E402
from dse.measure.device.kernels.packing import pack, unpack  # noqa: E402
from dse.measure.device.kernels.two_of_four import dense_pairs, make_pairs  # noqa: E402
from dse.measure.device.signatures import Signature  # noqa: E402


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_codes_come_back_and_take_their_bits(bits: int) -> None:
    codes = torch.randint(0, 1 << bits, (384, 40), generator=torch.Generator().manual_seed(bits), dtype=torch.uint8)
    packed = pack(codes, bits)
    assert packed.numel() * 8 == codes.numel() * bits
    assert torch.equal(unpack(packed, bits), codes)


@pytest.mark.parametrize("bits", [3, 4])
def test_every_code_changes_the_bytes_of_its_own_column_alone(bits: int) -> None:
    codes = torch.zeros((128, 3), dtype=torch.uint8)
    for feature in range(128):
        one = codes.clone()
        one[feature, 1] = (1 << bits) - 1
        assert not pack(one, bits)[:, [0, 2]].any()
        assert unpack(pack(one, bits), bits)[feature, 1] == (1 << bits) - 1


def test_two_of_four_keeps_two_of_each_four_in_their_places() -> None:
    maker = Maker(torch.Generator().manual_seed(0), "cpu")
    signature = Signature(op="gemm", m=4, n=24, k=256, a_dtype="fp16", w_dtype="fp16_2:4")
    operands = make_pairs(signature, maker)
    dense = dense_pairs(operands).reshape(64, 4, 24)
    assert ((dense != 0).sum(1) == 2).all()
    kept = dense.transpose(1, 2)[dense.transpose(1, 2) != 0].reshape(64, 24, 2)
    assert torch.equal(kept.transpose(1, 2).reshape(128, 24), operands["values"])
    assert operands["places"].numel() * 8 == 256 * 24  # 4 bits for each four
