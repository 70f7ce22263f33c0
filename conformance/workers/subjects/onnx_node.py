"""A layer that is one ONNX BatchNormalization node, for the subjects that run it."""

import numpy as np
from onnx import helper, numpy_helper

INPUTS = {"weight": "scale", "bias": "B", "running_mean": "input_mean", "running_var": "input_var"}
#: No fp64: epsilon and momentum are attributes in single precision, whatever the tensors are in.
INFERENCE = ["eval", "weights", "statistics", "3d", "defaults", "eps-option", "fp32"]
TRAINING = ["train", "momentum-option"]
DIALECT = {
    "default_momentum": "0.9",
    "momentum": "weight-of-old",
    "running_var": "biased",
    "single_value": "bias",
    "counter": "none",
}


class Node:
    """The tensors are constants of the graph; with other tensors there is another graph."""

    opset = 15

    def __init__(self, config):
        """Begin as a new layer of PyTorch's: the node has no tensors of its own."""
        size, dtype = config["num_features"], config.get("dtype", "float32")
        ones, zeros = np.ones(size, dtype), np.zeros(size, dtype)
        self.tensors = {"weight": ones, "bias": zeros, "running_mean": zeros, "running_var": ones}
        self.size, self.options, self.compiled = size, {}, {}
        if "eps" in config:
            self.options = {"epsilon": config["eps"], "momentum": 1 - config["momentum"]}

    def forward(self, x, training, grad):
        """Run the graph for the rank, the dtype and the mode; in training it moves statistics."""
        key = x.ndim, x.dtype.name, training
        if key not in self.compiled:
            self.compiled[key] = self.compile(self.model(x, training))
        y, *moved = self.run(self.compiled[key], x)
        if training:
            self.load(dict(zip(("running_mean", "running_var"), moved)))
        return y

    def model(self, x, training):
        """Return a model with one node; N and L are free."""
        kind = helper.np_dtype_to_tensor_dtype(x.dtype)
        outputs = ["Y", "running_mean", "running_var"][: 3 if training else 1]
        mode = {"training_mode": 1} if training else {}
        node = helper.make_node(
            "BatchNormalization", ["X", *INPUTS.values()], outputs, **self.options, **mode
        )
        shape = ["N", self.size, *("L%d" % place for place in range(x.ndim - 2))][: x.ndim]
        own = helper.np_dtype_to_tensor_dtype(self.tensors["weight"].dtype)
        graph = helper.make_graph(
            [node],
            "layer",
            [helper.make_tensor_value_info("X", kind, shape)],
            [helper.make_tensor_value_info("Y", kind, shape)]
            + [helper.make_tensor_value_info(name, own, [self.size]) for name in outputs[1:]],
            [numpy_helper.from_array(self.tensors[k], name) for k, name in INPUTS.items()],
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8
        )

    def state(self):
        """Return the tensors."""
        return self.tensors

    def load(self, state):
        """Replace tensors."""
        self.tensors = dict(self.tensors, **state)
        self.compiled = {}
