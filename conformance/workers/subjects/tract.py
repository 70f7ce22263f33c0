"""tract: the BatchNormalization node of an ONNX model, for inference alone.

bn1d run --worker 'python bn1d_worker.py subjects/tract.py'
"""

import os
import tempfile
from importlib.metadata import version

import onnx
import tract
from onnx_node import INFERENCE, INPUTS, Node


class Layer(Node):
    """tract reads its models from files."""

    about = {
        "name": "tract",
        "version": version("tract"),
        "homepage": "https://github.com/sonos/tract",
        "capabilities": INFERENCE,
        "names": INPUTS,
    }

    def compile(self, model):
        """Return what runs the model."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "layer.onnx")
            onnx.save(model, path)
            return tract.onnx().load(path).into_model().into_runnable()

    def run(self, runnable, x):
        """Return what comes out."""
        return [value.to_numpy() for value in runnable.run([x])]
