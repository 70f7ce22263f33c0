import numpy as np
from onnx import helper
from onnx.reference import ReferenceEvaluator

info = helper.make_tensor_value_info
names = ["X", "scale", "B", "mean", "var"]
node = helper.make_node("BatchNormalization", names, ["Y"], epsilon=0.0)
inputs = [info(n, 1, None) for n in names]
graph = helper.make_graph([node], "g", inputs, [info("Y", 1, None)])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=8)
one, zero = np.ones(1, "float32"), np.zeros(1, "float32")
feeds = dict(zip(names, [np.array([[10.0], [30.0]], "float32"), one, zero, zero, one]))
[y] = ReferenceEvaluator(model).run(None, feeds)
print(y.ravel(), "where 10 and 30 are right")
assert abs(y.ravel() - [10, 30]).min() > 1  # the batch's own statistics are mixed in
