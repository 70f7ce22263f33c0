import subprocess
import sys

code = """
import tempfile, numpy, onnx, tract
from onnx import helper, numpy_helper
names = ["scale", "B", "mean", "var"]
node = helper.make_node("BatchNormalization", ["X", *names], ["Y"])
x, y = (helper.make_tensor_value_info(n, 1, ["N"]) for n in "XY")
w = [numpy_helper.from_array(numpy.ones(3, "float32"), n) for n in names]
graph = helper.make_graph([node], "g", [x], [y], w)
path = tempfile.mkdtemp() + "/1d.onnx"
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)]), path)
tract.onnx().load(path).into_model().into_runnable().run([numpy.ones(3, "float32")])
"""
assert subprocess.run([sys.executable, "-c", code], check=False).returncode < 0  # a signal
