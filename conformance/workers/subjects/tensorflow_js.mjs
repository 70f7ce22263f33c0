// TensorFlow.js: tf.layers.batchNormalization, channels last, on the backend "cpu".
//
//   NODE_PATH=node_modules bn1d run --worker 'node worker.mjs subjects/tensorflow_js.mjs'

import { createRequire } from "node:module";

const warn = console.warn;
console.warn = () => {}; // it advertises tfjs-node
const tf = createRequire(import.meta.url)("@tensorflow/tfjs");
await tf.ready();
console.warn = warn;

const NAMES = {
  weight: "gamma", bias: "beta", running_mean: "movingMean", running_var: "movingVariance",
};

export class Layer {
  static axis = -1;
  static about = {
    name: "tf.layers.batchNormalization",
    version: tf.version.tfjs,
    homepage: "https://js.tensorflow.org/api/latest/#layers.batchNormalization",
    capabilities: [
      "train", "eval", "grad", "param-grad", "weights", "statistics", "parameters", "buffers",
      "defaults", "3d", "eps-option", "momentum-option", "affine-option", "bias-option", "fp32",
    ],
    dialect: {
      momentum: "weight-of-old", default_momentum: "0.99", default_eps: "1e-3",
      running_var: "biased", single_value: "bias", counter: "none", layout: "channels-last",
    },
    names: NAMES,
  };

  constructor({ num_features, eps, momentum, affine = true, bias = true }) {
    const { axis } = this.constructor;
    this.options = { axis, scale: affine, center: affine && bias };
    if (eps !== undefined) this.options.epsilon = eps;
    if (momentum !== undefined) this.options.momentum = 1 - momentum;
    const three = axis === 1 ? [null, num_features, null] : [null, null, num_features];
    this.shapes = { 2: [null, num_features], 3: three };
    this.make(2);
  }

  // Build a layer for inputs of so many axes: it takes no others.
  make(axes) {
    this.axes = axes;
    this.layer = tf.layers.batchNormalization(this.options);
    this.layer.build(this.shapes[axes]);
  }

  forward(x, training) {
    const axes = x.shape.length;
    if (axes in this.shapes && axes !== this.axes) {
      const kept = this.layer.getWeights();
      this.make(axes);
      this.layer.setWeights(kept);
    }
    [this.x, this.training] = [this.given(x), training];
    return this.taken(this.layer.apply(this.x, { training }));
  }

  // Differentiate a second pass; the statistics stay as forward() left them.
  backward(dy) {
    const own = ["weight", "bias"].map((role) => this.layer[NAMES[role]]?.read());
    const kept = this.layer.getWeights().map((t) => t.clone());
    const call = () => this.layer.apply(this.x, { training: this.training });
    const inputs = [this.x, ...own.filter(Boolean)];
    const [dx, ...learned] = tf.engine().gradients(call, inputs, this.given(dy), true).grads;
    this.layer.setWeights(kept);
    return [this.taken(dx), ...own.map((t) => (t ? array(learned.shift()) : null))];
  }

  // (N, C, L) as the layer's (N, L, C), and back.
  swap(t) {
    return t.rank === 3 && this.options.axis === -1 ? tf.transpose(t, [0, 2, 1]) : t;
  }

  given({ data, shape, dtype }) {
    return this.swap(tf.tensor(data, shape, dtype));
  }

  taken(t) {
    return array(this.swap(t));
  }

  state() {
    const read = (name) => this.layer[name] && array(this.layer[name].read());
    return Object.fromEntries(Object.entries(NAMES).map(([role, name]) => [role, read(name)]));
  }

  load(state) {
    for (const [role, { shape, data }] of Object.entries(state))
      this.layer[NAMES[role]]?.write(tf.tensor(data, shape));
  }
}

const array = (t) => ({ dtype: t.dtype, shape: t.shape, data: t.dataSync() });
