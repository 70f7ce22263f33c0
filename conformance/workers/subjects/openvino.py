"""OpenVINO: the BatchNormalization node of an ONNX model of opset 15, on the CPU.

bn1d run --worker 'python bn1d_worker.py subjects/openvino.py'
"""

import openvino
from onnx_node import DIALECT, INFERENCE, INPUTS, TRAINING, Node

CORE = openvino.Core()
PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}  # else a CPU that has bfloat16 rounds to it


class Layer(Node):
    """With training_mode=1 in training."""

    about = {
        "name": "OpenVINO",
        "version": openvino.__version__.split("-")[0],
        "homepage": "https://docs.openvino.ai/",
        "capabilities": INFERENCE + TRAINING,
        "names": INPUTS,
        "dialect": DIALECT,
    }

    def compile(self, model):
        """Return a model for the CPU."""
        read = CORE.read_model(model.SerializeToString(), b"")
        return CORE.compile_model(read, "CPU", PRECISE)

    def run(self, compiled, x):
        """Return what comes out."""
        found = compiled([x])
        return [found[place].copy() for place in compiled.outputs]
