// Runs the operations that use the most shared memory, on a device with a limit set by the environment: large and small
// tiles of products, and attention with the largest head of each algorithm. Prints failures and hashes of all results.
import { createHash } from "node:crypto";
import { type DataType, openDevice } from "#lib/native/index.js";
import { cast, causalAttention, matmul, type Tensor, tensor } from "#lib/tensor/index.js";
import { numbers } from "../../support/numbers.js";
import { elements } from "../../support/reference.js";

const device = await openDevice("cuda:emulated");
const errors: string[] = [];
const sums: Record<string, string> = {};

function input(shape: readonly number[], salt: number, dtype: DataType): Tensor {
  const x = cast(tensor(device, numbers(elements(shape), salt), shape), dtype);
  return Object.assign(x, { requiresGrad: true });
}

/** The output of a call and the gradients of its inputs. */
async function run(what: string, inputs: readonly Tensor[], call: (...inputs: Tensor[]) => Tensor): Promise<void> {
  const hash = createHash("sha256");
  try {
    const output = call(...inputs).keep();
    output.multiply(output).sum().backward();
    for (const result of [output, ...inputs.map((one) => one.grad as Tensor)]) {
      const values = await result.read();
      hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    }
  } catch (error) {
    errors.push(`${what}: ${(error as Error).message}`);
  }
  sums[what] = hash.digest("hex");
}

for (const dtype of ["float32", "bfloat16"] as const) {
  for (const [m, k, n] of [
    [40, 24, 72],
    [1921, 8, 1025],
  ] as const)
    await run(`${dtype} ${m} × ${k} × ${n}`, [input([m, k], 1, dtype), input([k, n], 2, dtype)], (a, b) =>
      matmul(a!, b!),
    );
  for (const size of [30, 32, 64, 128, 136, 192, 200, 256]) {
    const shape = [1, 40, 1, size];
    const heads = [1, 2, 3].map((salt) => input(shape, salt, dtype));
    await run(`${dtype} heads of ${size}`, heads, (q, k, v) => causalAttention(q!, k!, v!));
  }
}
await device.close();
console.log(JSON.stringify({ errors, sums }));
