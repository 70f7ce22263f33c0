"""OpenCV: the BatchNormalization node of an ONNX model, read by its module dnn.

bn1d run --worker 'python bn1d_worker.py subjects/opencv_dnn.py'
"""

import cv2
import numpy as np
from onnx_node import INFERENCE, INPUTS, Node


class Layer(Node):
    """The node of opset 15, which it has for inference alone."""

    about = {
        "name": "OpenCV dnn",
        "version": cv2.__version__,
        "homepage": "https://docs.opencv.org/5.x/d6/d0f/group__dnn.html",
        "capabilities": INFERENCE,
        "names": INPUTS,
    }

    def compile(self, model):
        """Return a network."""
        return cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))

    def run(self, net, x):
        """Return what comes out."""
        net.setInput(x, "X")
        return [net.forward("Y").copy()]
