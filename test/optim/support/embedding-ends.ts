// An optimizer over an array is not disposed of, and no device is opened. The process must end by itself.
import { SGD } from "#lib/optim/index.js";

const parameter = new Float32Array(1);
new SGD([parameter], { lr: 0.5, momentum: 0.9 }).step([Float32Array.of(1)]);
console.log(parameter[0]);
