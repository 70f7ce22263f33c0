// Serve one layer to bn1d-conformance from Node 18 or newer, without a package.
//
//   bn1d run --worker 'node worker.mjs [SUBJECT.mjs]'
//
// SUBJECT.mjs exports a class Layer as subjects/plain_javascript.mjs does, which is what is served
// without one. Each of its methods may be async. An array is { dtype, shape, data }, data a typed
// array; docs/wire.md describes the messages.

import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const TYPES = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
};
const ROLES = ["weight", "bias", "running_mean", "running_var"];
const COUNTER = "num_batches_tracked";

console.log = console.info = console.error; // standard output is the wire's

function decode({ dtype, shape, data }) {
  const Type = TYPES[dtype];
  if (!Type) throw new TypeError(`there are no arrays of ${dtype}`);
  const bytes = Uint8Array.from(Buffer.from(data, "base64")); // aligned, and a copy
  return { dtype, shape, data: new Type(bytes.buffer) };
}

function encode(array) {
  if (array == null) return null;
  const { dtype, shape, data } = array;
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return { dtype, shape, data: bytes.toString("base64") };
}

class Server {
  constructor(Layer) {
    this.Layer = Layer;
    this.layers = new Map();
  }

  async answer(request) {
    const { id } = request;
    try {
      return { id, result: await this.result(request) };
    } catch (error) {
      const bases = error instanceof RangeError ? ["ValueError"] : [];
      return { id, error: { type: error.name, message: `${error.message}`, bases } };
    }
  }

  async result(request) {
    if (request.do === "hello") return this.hello(request);
    if (request.do === "build") {
      this.layers.set(request.layer, new this.Layer(request.config));
      return {};
    }
    if (request.do === "close") {
      this.layers.delete(request.layer);
      return {};
    }
    const layer = this.layers.get(request.layer);
    if (!layer) throw new RangeError(`there is no layer ${request.layer}`);
    if (request.do === "load") return this.load(layer, request);
    if (request.do === "forward") return this.forward(layer, request);
    if (request.do === "backward") return this.backward(layer, request);
    if (request.do === "state") return this.state(layer);
    throw new RangeError(`no request is called ${request.do}`);
  }

  hello({ device }) {
    if (device !== "cpu") throw new RangeError(`it computes on cpu, not on ${device}`);
    return { protocol: 1, language: `JavaScript, Node ${process.versions.node}`, ...this.Layer.about };
  }

  async load(layer, { state }) {
    const pairs = Object.entries(state).map(([k, v]) => [k, k === COUNTER ? v : decode(v)]);
    await layer.load(Object.fromEntries(pairs));
    return {};
  }

  async forward(layer, { x, training, grad }) {
    return { y: encode(await layer.forward(decode(x), training, grad)) };
  }

  async backward(layer, { dy }) {
    const [dx, dweight, dbias] = (await layer.backward(decode(dy))).map(encode);
    return { dx, dweight, dbias };
  }

  async state(layer) {
    const state = await layer.state();
    const arrays = Object.fromEntries(ROLES.map((role) => [role, encode(state[role])]));
    return { ...arrays, [COUNTER]: state[COUNTER] ?? null };
  }
}

const place = process.argv[2] ?? new URL("subjects/plain_javascript.mjs", import.meta.url).pathname;
const server = new Server((await import(pathToFileURL(resolve(place)))).Layer);
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  process.stdout.write(JSON.stringify(await server.answer(request)) + "\n");
  if (request.do === "close" && request.layer === undefined) break;
}
process.stdin.destroy(); // nothing is left to wait for
