import { createRequire } from "node:module";

const tf = createRequire(import.meta.url)("@tensorflow/tfjs");
const layer = tf.layers.batchNormalization({ axis: 1, epsilon: 0 });
layer.build([null, 3, 2]); // (N, C, L)
const [one, zero] = [tf.ones([3]), tf.zeros([3])];
layer.setWeights([tf.tensor([1, 10, 100]), zero, zero, one]); // gamma, beta, mean, variance
const y = layer.apply(tf.ones([1, 3, 2]), { training: false }).dataSync();
console.log(...y, "where 1 1 10 10 100 100 is right");
if (y[2] === 10) process.exit(1);
