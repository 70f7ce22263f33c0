"""The reference evaluator that comes with ONNX.

bn1d run --worker 'python bn1d_worker.py subjects/onnx_reference.py'
"""

import onnx
from onnx.reference import ReferenceEvaluator
from onnx_node import DIALECT, INFERENCE, INPUTS, TRAINING, Node


class Layer(Node):
    """BatchNormalization of opset 15."""

    about = {
        "name": "ONNX reference evaluator, opset 15",
        "version": onnx.__version__,
        "homepage": "https://onnx.ai/onnx/api/reference.html",
        "capabilities": INFERENCE + TRAINING,
        "names": INPUTS,
        "dialect": DIALECT,
    }

    def compile(self, model):
        """Return an evaluator."""
        return ReferenceEvaluator(model)

    def run(self, evaluator, x):
        """Return what comes out."""
        return evaluator.run(None, {"X": x})


class Opset9(Layer):
    """BatchNormalization of opset 9, which is inference alone."""

    opset = 9
    about = dict(Layer.about, name="ONNX reference evaluator, opset 9", capabilities=INFERENCE)
