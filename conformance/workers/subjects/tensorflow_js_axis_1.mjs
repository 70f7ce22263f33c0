// TensorFlow.js: tf.layers.batchNormalization with axis: 1, which is told to take channels first.
//
//   NODE_PATH=node_modules bn1d run --worker 'node worker.mjs subjects/tensorflow_js_axis_1.mjs'

import { Layer as ChannelsLast } from "./tensorflow_js.mjs";

const { layout, ...dialect } = ChannelsLast.about.dialect;

export class Layer extends ChannelsLast {
  static axis = 1;
  static about = {
    ...ChannelsLast.about, name: "tf.layers.batchNormalization({axis: 1})", dialect,
  };
}
