import { createRequire } from "node:module";

const tf = createRequire(import.meta.url)("@tensorflow/tfjs");
const layer = tf.layers.batchNormalization({ center: false });
try {
  layer.apply(tf.tensor([[1], [2]]), { training: true });
  process.exit(1);
} catch (error) {
  console.log(error.message);
}
