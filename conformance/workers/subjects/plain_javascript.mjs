// BatchNorm1d in plain JavaScript, computed in double precision.
//
//   bn1d run --worker 'node worker.mjs subjects/plain_javascript.mjs'

const filled = (size, value) => new Float64Array(size).fill(value);

export class Layer {
  static about = {
    name: "plain JavaScript",
    version: process.versions.v8,
    homepage: "https://nodejs.org/",
    capabilities: [
      "train", "eval", "grad", "param-grad", "weights", "statistics", "parameters", "buffers",
      "counter", "cumulative", "defaults", "3d", "eps-option", "momentum-option",
      "affine-option", "bias-option", "tracking-option", "fp32", "fp64",
    ],
  };

  constructor({ num_features, eps = 1e-5, momentum = 0.1, affine = true, bias = true,
                track_running_stats = true, dtype = "float32" }) {
    Object.assign(this, { size: num_features, eps, momentum, affine, dtype });
    this.bias = affine && bias;
    this.tracks = track_running_stats;
    this.count = 0;
    this.tensors = {
      weight: filled(num_features, 1), bias: filled(num_features, 0),
      running_mean: filled(num_features, 0), running_var: filled(num_features, 1),
    };
  }

  forward(x, training, grad) {
    this.shape(x);
    this.batch = training || !this.tracks;
    const { weight, bias, running_mean, running_var } = this.tensors;
    const [mean, variance] = this.batch ? this.moments(x) : [running_mean, running_var];
    if (training && this.tracks) this.track(mean, variance);
    this.rstd = variance.map((v) => 1 / Math.sqrt(v + this.eps));
    this.hat = Float64Array.from(x.data, (v, k) => (v - mean[this.c(k)]) * this.rstd[this.c(k)]);
    return like(x, (k) => this.hat[k] * weight[this.c(k)] + bias[this.c(k)]);
  }

  // N, C and L, and the channel of a flat place.
  shape(x) {
    if (![2, 3].includes(x.shape.length) || x.shape[1] !== this.size)
      throw new RangeError(`expected (N, ${this.size}) or (N, ${this.size}, L), got shape ${x.shape}`);
    const step = x.shape[2] ?? 1;
    this.n = x.shape[0] * step;
    this.c = (k) => Math.floor(k / step) % this.size;
  }

  moments(x) {
    if (this.n === 1) throw new RangeError(`expected more than 1 value per channel, got shape ${x.shape}`);
    if (this.eps <= 0) throw new RangeError(`eps must be positive, got ${this.eps}`);
    const mean = this.sums(x.data, (v) => v).map((v) => v / this.n);
    return [mean, this.sums(x.data, (v, c) => (v - mean[c]) ** 2).map((v) => v / this.n)];
  }

  sums(data, term) {
    const out = filled(this.size, 0);
    data.forEach((v, k) => { out[this.c(k)] += term(v, this.c(k), k); });
    return out;
  }

  track(mean, variance) {
    this.count += 1;
    if (!this.n) return;
    const m = this.momentum ?? 1 / this.count;
    const round = this.dtype === "float32" ? Math.fround : (v) => v;
    const move = (old, now, factor) => old.map((v, c) => round((1 - m) * v + m * now[c] * factor));
    this.tensors.running_mean = move(this.tensors.running_mean, mean, 1);
    this.tensors.running_var = move(this.tensors.running_var, variance, this.n / (this.n - 1));
  }

  backward(dy) {
    const dbias = this.sums(dy.data, (g) => g);
    const dweight = this.sums(dy.data, (g, c, k) => g * this.hat[k]);
    const through = (g, c, k) => g - dbias[c] / this.n - (this.hat[k] * dweight[c]) / this.n;
    const dx = like(dy, (k) => {
      const c = this.c(k);
      const g = this.batch ? through(dy.data[k], c, k) : dy.data[k];
      return g * this.rstd[c] * this.tensors.weight[c];
    });
    return [dx, this.affine ? this.array(dweight) : null, this.bias ? this.array(dbias) : null];
  }

  array(values) {
    const Type = this.dtype === "float32" ? Float32Array : Float64Array;
    return { dtype: this.dtype, shape: [this.size], data: Type.from(values) };
  }

  state() {
    const { weight, bias, running_mean, running_var } = this.tensors;
    return {
      weight: this.affine ? this.array(weight) : null,
      bias: this.bias ? this.array(bias) : null,
      ...(this.tracks && {
        running_mean: this.array(running_mean),
        running_var: this.array(running_var),
        num_batches_tracked: this.count,
      }),
    };
  }

  load({ num_batches_tracked, ...arrays }) {
    this.count = num_batches_tracked ?? this.count;
    const has = { weight: this.affine, bias: this.bias, running_mean: this.tracks, running_var: this.tracks };
    for (const [role, { data }] of Object.entries(arrays))
      if (has[role]) this.tensors[role] = Float64Array.from(data);
  }
}

const like = ({ dtype, shape, data }, value) => ({ dtype, shape, data: data.map((_, k) => value(k)) });
