// Fills the GPU's memory, which the environment limits to 64 MiB.
import { openDevice } from "#lib/native/index.js";
import { Parameter } from "#lib/nn/index.js";
import { AdamW } from "#lib/optim/index.js";
import { full, type Tensor, zeros } from "#lib/tensor/index.js";
import { thrown } from "./thrown.js";

const million = 2 ** 20;
const device = await openDevice("cuda:emulated");
const seen: Record<string, unknown> = {};

const held: Tensor[] = [];
const fillUp = () => {
  for (;;) held.push(full(device, [million], held.length));
};
seen["full"] = thrown(fillUp);
seen["pieces"] = held.length;
// The error is not sticky: tensors keep their values, and the device still works.
await device.synchronize();
seen["values"] = await Promise.all(held.map(async (one) => (await one.read())[million - 1]));
seen["again"] = thrown(() => zeros(device, [million]));

// Disposing of one tensor makes room for another.
held.pop()?.dispose();
held.push(full(device, [million], 77));
seen["reused"] = (await (held.at(-1) as Tensor).read())[0];

// Tensors of another size need the memory that is cached for this one.
for (const one of held.splice(0)) one.dispose();
seen["cached"] = device.memory().cached > 0;
const large = zeros(device, [12 * million]);
seen["large"] = (await large.read()).length;
large.dispose();
device.trim();

// A step whose moments do not fit changes nothing, and succeeds once there is room.
const parameter = new Parameter(full(device, [2 * million], 1));
parameter.grad = full(device, [2 * million], 1);
const ballast = zeros(device, [11 * million]);
const optimizer = new AdamW([parameter], { lr: 0.5, weightDecay: 0, amsgrad: true });
seen["step"] = thrown(() => optimizer.step());
seen["iteration"] = optimizer.iteration;
seen["keys"] = [...optimizer.stateDict().keys()];
seen["before"] = (await parameter.read())[0];
ballast.dispose();
optimizer.step();
seen["after"] = (await parameter.read())[0];
seen["stats"] = await optimizer.stats();
await device.close();
console.log(JSON.stringify(seen));
