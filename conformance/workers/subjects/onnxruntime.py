"""ONNX Runtime: the BatchNormalization node of opset 15 on the CPU.

bn1d run --worker 'python bn1d_worker.py subjects/onnxruntime.py:Inference'
"""

import onnxruntime
from onnx_node import DIALECT, INFERENCE, INPUTS, TRAINING, Node


class Inference(Node):
    """The node as models have it once they are trained."""

    about = {
        "name": "ONNX Runtime, inference",
        "version": onnxruntime.__version__,
        "homepage": "https://onnxruntime.ai/",
        "capabilities": INFERENCE,
        "names": INPUTS,
    }

    def compile(self, model):
        """Return a session."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        providers = ["CPUExecutionProvider"]
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers)

    def run(self, session, x):
        """Return what comes out."""
        return session.run(None, {"X": x})


class Training(Inference):
    """With training_mode=1, which returns the new statistics beside y."""

    about = dict(
        Inference.about,
        name="ONNX Runtime, training_mode=1",
        capabilities=INFERENCE + TRAINING,
        dialect=DIALECT,
    )
