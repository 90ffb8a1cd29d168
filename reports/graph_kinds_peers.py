"""Other ONNX profilers, as code that runs in an interpreter of its own."""

from __future__ import annotations

__all__ = ["PEERS", "PEER_CODE"]

PEERS = {"onnx-tool": "onnx-tool 1.0.1", "onnx-opcounter": "onnx-opcounter 0.0.4"}

PEER_CODE = """
import contextlib, io, json, os, sys, time
import numpy as np
import onnx
tool, path, bind = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
PRODUCTS = {
    "Attention", "Conv", "ConvTranspose", "Einsum", "FusedConv", "FusedMatMul", "Gemm", "GroupQueryAttention", "If",
    "Loop",
    "MatMul", "MatMulInteger", "MatMulNBits", "MoE", "MultiHeadAttention", "QAttention", "QGemm", "QLinearConv",
    "QLinearMatMul",
}
model = onnx.load(path, load_external_data=False)
stored = {tensor.name for tensor in model.graph.initializer}
feeds = {}
for item in model.graph.input:
    if item.name not in stored:
        dims = item.type.tensor_type.shape.dim
        shape = [bind[dim.dim_param] if dim.dim_param else dim.dim_value for dim in dims]
        feeds[item.name] = np.ones(shape, onnx.helper.tensor_dtype_to_np_dtype(item.type.tensor_type.elem_type))
def with_weights(model, path):
    from onnx.external_data_helper import load_external_data_for_model
    load_external_data_for_model(model, os.path.dirname(path))
    return model
start = time.process_time()
with contextlib.redirect_stdout(io.StringIO()):
    if tool == "onnx-tool":
        import onnx_tool
        graph = onnx_tool.Model(path).graph
        graph.shape_infer(feeds)
        graph.profile()
        macs = sum(float(node.macs[0]) for node in graph.nodemap.values() if node.op_type in PRODUCTS)
    else:
        from onnx_opcounter import calculate_macs
        for item in model.graph.input:
            for dim in item.type.tensor_type.shape.dim:
                if dim.dim_param:
                    size = bind[dim.dim_param]
                    dim.ClearField("dim_param")
                    dim.dim_value = size
        macs = float(calculate_macs(with_weights(model, path)))
cpu = time.process_time() - start
status = open("/proc/self/status").read().splitlines()
peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024
print(json.dumps({"macs": macs, "cpu_s": round(cpu, 2), "peak_mb": peak}))
"""
"""Arguments: tool, file, sizes of the symbolic axes as JSON. Prints macs of products, CPU seconds, peak memory."""
