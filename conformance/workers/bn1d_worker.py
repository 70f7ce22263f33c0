"""Serve one layer to bn1d-conformance, over standard input and output.

    bn1d run --worker 'python bn1d_worker.py FILE.py[:Class]'

One file, Python 3.6 or newer, the standard library alone: copy it to where the framework under
test is. FILE.py defines a class, by default `Layer`, as docs/wire.md ("Write a subject in
Python") describes; `bn1d adapter new NAME` writes one to start from.

Arrays are NumPy's where NumPy can be imported, bfloat16 ones with ml_dtypes; else `Array` of
this file stands in.
"""

import base64
import importlib.util
import json
import os
import platform
import struct
import sys
from importlib.machinery import PathFinder

try:
    import numpy as np
except ImportError:
    np = None

PROTOCOL = 1
ROLES = ("weight", "bias", "running_mean", "running_var")
COUNTER = "num_batches_tracked"
REQUESTS = ("hello", "build", "load", "forward", "backward", "state", "close")
#: The letters that `struct` has for the dtypes that it can read.
LETTERS = {
    "float16": "e",
    "float32": "f",
    "float64": "d",
    "int64": "q",
    "int32": "i",
    "uint8": "B",
    "bool": "?",
}


class Array:
    """What stands in for NumPy's array where there is none: flat values, row by row."""

    def __init__(self, values, shape, dtype="float32"):
        """Keep the values, rounded when they are written."""
        self.values, self.shape, self.dtype = list(values), tuple(shape), dtype

    def tobytes(self):
        """The values in little-endian bytes; what is too large for the dtype is infinite."""
        return b"".join(self._packed(value) for value in self.values)

    def rounded(self):
        """The values as they come back."""
        letters = "<%d%s" % (len(self.values), LETTERS[self.dtype])
        return list(struct.unpack(letters, self.tobytes()))

    def _packed(self, value):
        letter = "<" + LETTERS[self.dtype]
        try:
            return struct.pack(letter, value)
        except OverflowError:
            return struct.pack(letter, float("inf") if value > 0 else -float("inf"))


def decode(given):
    """An array from dtype, shape and base64."""
    data, name = base64.b64decode(given["data"]), given["dtype"]
    if np is None:
        if name not in LETTERS:
            raise TypeError("arrays of %s need NumPy" % name)
        count = len(data) // struct.calcsize("<" + LETTERS[name])
        return Array(struct.unpack("<%d%s" % (count, LETTERS[name]), data), given["shape"], name)
    flat = np.frombuffer(data, _dtype(name).newbyteorder("<"))
    return flat.astype(_dtype(name)).reshape(given["shape"])


def _dtype(name):
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def encode(value):
    """An array of NumPy's or of this file as dtype, shape and base64; None stays None."""
    if value is None:
        return None
    if not hasattr(value, "tobytes"):
        value = np.asarray(value)
    data = value.tobytes()
    if sys.byteorder == "big" and np is not None and isinstance(value, np.ndarray):
        data = value.byteswap().tobytes()
    shape = [int(size) for size in value.shape]
    return {
        "dtype": str(value.dtype),
        "shape": shape,
        "data": base64.b64encode(data).decode("ascii"),
    }


class Server:
    """Layers by their numbers, and what is asked of them."""

    def __init__(self, subject):
        """Keep the class that makes layers."""
        self.subject, self.layers = subject, {}

    def hello(self, request):
        """Say who this is."""
        about = dict(self.subject.about)
        device = request.get("device", "cpu")
        devices = about.pop("devices", ["cpu"])
        if device not in devices:
            raise ValueError("it computes on %s, not on %s" % (", ".join(devices), device))
        self.subject.device = device
        python = "Python " + platform.python_version()
        return dict({"protocol": PROTOCOL, "language": python, "device": device}, **about)

    def build(self, request):
        """Construct a layer; a default that is not in the configuration is the layer's own."""
        self.layers[request["layer"]] = self.subject(request["config"])
        return {}

    def load(self, request):
        """Write tensors."""
        state = {k: v if k == COUNTER else decode(v) for k, v in request["state"].items()}
        self.layers[request["layer"]].load(state)
        return {}

    def forward(self, request):
        """Answer for an input."""
        layer, x = self.layers[request["layer"]], decode(request["x"])
        return {"y": encode(layer.forward(x, request["training"], request["grad"]))}

    def backward(self, request):
        """Answer with gradients."""
        found = self.layers[request["layer"]].backward(decode(request["dy"]))
        return dict(zip(("dx", "dweight", "dbias"), map(encode, found)))

    def state(self, request):
        """Answer with the tensors."""
        state = self.layers[request["layer"]].state()
        count = state.get(COUNTER)
        found = {role: encode(state.get(role)) for role in ROLES}
        return dict(found, **{COUNTER: None if count is None else int(count)})

    def close(self, request):
        """Forget a layer; without one, leave."""
        self.layers.pop(request.get("layer"), None)
        return {}

    def answer(self, request):
        """The answer to one request; what the layer raises is one, too."""
        try:
            return {"id": request["id"], "result": self._method(request["do"])(request)}
        except BaseException as error:
            return {"id": request["id"], "error": raised(error)}

    def _method(self, do):
        if do not in REQUESTS:
            raise ValueError("no request is called %r" % (do,))
        return getattr(self, do)


def raised(error):
    """An exception as type, message, and the exceptions of Python's that it also is."""
    kinds = [kind for kind in type(error).__mro__[1:] if kind.__module__ == "builtins"]
    return {
        "type": type(error).__name__,
        "message": str(error)[:1000],
        "bases": [k.__name__ for k in kinds if k not in (object, BaseException, Exception)],
    }


class Beside:
    """Find what lies beside the subject last: in mlx.py `import mlx` means the framework."""

    def __init__(self, places):
        """Keep the folders."""
        self.places = places

    def find_spec(self, name, path=None, target=None):
        """What nobody else has found; modules of a package are the package's."""
        return None if path else PathFinder.find_spec(name, self.places)


def load(target):
    """The class that FILE.py:Class names."""
    path, _, name = target.partition(".py")
    path = os.path.abspath(path + ".py")
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [place for place in sys.path if os.path.abspath(place) != here]
    sys.meta_path.append(Beside([os.path.dirname(path), here]))
    own = "subject_" + os.path.basename(path)[:-3]
    spec = importlib.util.spec_from_file_location(own, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return getattr(module, name.lstrip(":") or "Layer")


def streams():
    """The two ends of the wire; whatever else is printed goes to standard error instead."""
    reader = os.fdopen(os.dup(0), "r", encoding="utf-8")
    writer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    return reader, writer


def main():
    """Answer until told to close, or until nobody asks any more."""
    if len(sys.argv) != 2:
        sys.exit("usage: python bn1d_worker.py FILE.py[:Class]")
    reader, writer = streams()
    server, failed = None, None
    try:
        server = Server(load(sys.argv[1]))
    except BaseException as error:
        failed = raised(error)
    for line in iter(reader.readline, ""):
        request = json.loads(line)
        answer = {"id": request["id"], "error": failed} if failed else server.answer(request)
        writer.write(json.dumps(answer) + "\n")
        writer.flush()
        if request["do"] == "close" and "layer" not in request:
            os._exit(0)  # what a framework does when Python ends is slow, and not asked for


if __name__ == "__main__":
    main()
