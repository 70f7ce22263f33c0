// ONNX Runtime Web: the BatchNormalization node of opset 15, in WebAssembly.
//
//   NODE_PATH=node_modules bn1d run --worker 'node worker.mjs subjects/onnxruntime_web.mjs'

import { createRequire } from "node:module";

const ort = createRequire(import.meta.url)("onnxruntime-web");
ort.env.logLevel = "fatal";
ort.env.wasm.numThreads = 1;

const NAMES = { weight: "scale", bias: "B", running_mean: "input_mean", running_var: "input_var" };
const FLOAT = 1; // of TensorProto.DataType

export class Layer {
  static about = {
    name: "ONNX Runtime Web, training_mode=1",
    version: ort.env.versions.web,
    homepage: "https://onnxruntime.ai/docs/get-started/with-javascript/web.html",
    capabilities: [
      "train", "eval", "weights", "statistics", "3d", "defaults", "eps-option", "momentum-option",
      "fp32", // alone: epsilon and momentum are attributes in single precision
    ],
    dialect: {
      momentum: "weight-of-old", default_momentum: "0.9", running_var: "biased",
      single_value: "bias", counter: "none",
    },
    names: NAMES,
  };

  constructor({ num_features, eps, momentum }) {
    Object.assign(this, { size: num_features, eps, momentum, sessions: {} });
    const filled = (v) => new Float32Array(num_features).fill(v);
    const tensor = (v) => ({ dtype: "float32", shape: [num_features], data: filled(v) });
    this.tensors = {
      weight: tensor(1), bias: tensor(0), running_mean: tensor(0), running_var: tensor(1),
    };
  }

  async forward(x, training) {
    const key = [x.shape.length, x.dtype, training];
    this.sessions[key] ??= await ort.InferenceSession.create(this.model(x, training));
    const feeds = { X: new ort.Tensor(x.dtype, x.data, x.shape) };
    for (const role in NAMES) {
      const { dtype, data, shape } = this.tensors[role];
      feeds[NAMES[role]] = new ort.Tensor(dtype, data, shape);
    }
    const found = await this.sessions[key].run(feeds);
    if (training) this.load({ running_mean: array(found.mean), running_var: array(found.var) });
    return array(found.Y);
  }

  // A model with one node, as bytes.
  model(x, training) {
    if (x.dtype !== "float32") throw new TypeError(`there is no model for ${x.dtype}`);
    const outputs = training ? ["Y", "mean", "var"] : ["Y"];
    const options = training ? [[integer(3, 1), "training_mode", 2]] : [];
    if (this.eps !== undefined) options.push([single(2, this.eps), "epsilon", 1]);
    if (this.momentum !== undefined) options.push([single(2, 1 - this.momentum), "momentum", 1]);
    const node = [
      ...["X", ...Object.values(NAMES)].map((name) => field(1, text(name))),
      ...outputs.map((name) => field(2, text(name))),
      field(4, text("BatchNormalization")),
      ...options.map(attribute),
    ];
    const free = ["N", this.size, "L", "M"].slice(0, x.shape.length);
    const graph = [
      field(1, ...node),
      field(2, text("layer")),
      field(11, ...valueInfo("X", free)),
      ...Object.values(NAMES).map((name) => field(11, ...valueInfo(name, [this.size]))),
      ...outputs.map((name) => field(12, ...valueInfo(name))),
    ];
    return Uint8Array.from([
      ...integer(1, 8), ...field(7, ...graph), ...field(8, field(1, text("")), integer(2, 15)),
    ]);
  }

  state() {
    return this.tensors;
  }

  load(state) {
    Object.assign(this.tensors, state);
  }
}

const array = ({ type, dims, data }) => ({ dtype: type, shape: [...dims], data });

// Protocol Buffers, as onnx.proto numbers the fields.
const text = (words) => [...Buffer.from(words)];
const varint = (v) => (v < 128 ? [v] : [(v % 128) + 128, ...varint(Math.floor(v / 128))]);
const integer = (place, v) => [...varint(place * 8), ...varint(v)];
const single = (place, v) => [...varint(place * 8 + 5), ...Buffer.from(Float32Array.of(v).buffer)];
const field = (place, ...parts) => {
  const bytes = parts.flat();
  return [...varint(place * 8 + 2), ...varint(bytes.length), ...bytes];
};
const attribute = ([value, name, type]) => field(5, field(1, text(name)), value, integer(20, type));
const dimension = (d) => field(1, typeof d === "number" ? integer(1, d) : field(2, text(d)));
const valueInfo = (name, shape) => {
  const sizes = shape ? [field(2, ...shape.map(dimension))] : [];
  return [field(1, text(name)), field(2, field(1, integer(1, FLOAT), ...sizes))];
};
