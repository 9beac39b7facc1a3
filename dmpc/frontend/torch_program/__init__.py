"""PyTorch modules as they are: a `torch.export` program as an ONNX model of standard operators.

`modules` finds a user's module, `program` exports or loads it, `convert` writes the ONNX model, one
handler for each ATen operation. The ONNX frontend does the rest. Nothing here loads torch before a
function needs it.
"""
