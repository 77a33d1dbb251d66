// Measures how far matrix products in float32, TF32 and bf16 are from float64, on the emulated GPU, for factors of
// normally distributed numbers. The emulator rounds factors and results as a GPU does, and partial sums more exactly.
//
//   node scripts/product-errors.mjs
//
// Writes docs/studies/precision/products.json and products.md. Needs a clone that is set up for tests.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { openDevice, tensor } from "../dist/index.js";
import { PhiloxStream } from "../dist/random.js";
import { root } from "./gyp.mjs";

const side = 64;
const depths = [64, 512, 4096];

const exact = await openDevice("cuda:emulated");
const rounding = await openDevice("cuda:emulated", { float32Products: "tf32" });
const kinds = [
  { products: "float32", device: exact, dtype: "float32" },
  { products: "TF32", device: rounding, dtype: "float32" },
  { products: "bf16", device: exact, dtype: "bfloat16" },
];

const stream = new PhiloxStream(1, 0);
const uniform = () => (stream.uint32() + 0.5) / 2 ** 32;
const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
const numbers = (count) => Float32Array.from({ length: count }, normal);
const widened = (bits) => new Float32Array(Uint32Array.from(bits, (value) => value << 16).buffer);

/** The product in float64, and the sums of the magnitudes of its terms. */
function reference(a, b, k) {
  const sums = new Float64Array(side * side);
  const sizes = new Float64Array(side * side);
  for (let i = 0; i < side; i++)
    for (let t = 0; t < k; t++)
      for (let j = 0; j < side; j++) {
        const term = a[i * k + t] * b[t * side + j];
        sums[i * side + j] += term;
        sizes[i * side + j] += Math.abs(term);
      }
  return { sums, sizes };
}

const rms = (values) => Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);

const rows = [];
for (const k of depths) {
  const [a, b] = [numbers(side * k), numbers(k * side)];
  const { sums, sizes } = reference(a, b, k);
  for (const { products, device, dtype } of kinds) {
    const result = await tensor(device, a, [side, k], { dtype })
      .matmul(tensor(device, b, [k, side], { dtype }))
      .read();
    const values = dtype === "bfloat16" ? widened(result) : result;
    const errors = sums.map((sum, i) => Math.abs(values[i] - sum));
    rows.push({
      k,
      products,
      relative: rms(errors) / rms(sums),
      worst: Math.max(...errors.map((error, i) => error / sizes[i])),
    });
  }
}
await Promise.all([exact, rounding].map((device) => device.close()));

const command = "node scripts/product-errors.mjs";
const folder = join(root, "docs", "studies", "precision");
writeFileSync(join(folder, "products.json"), `${JSON.stringify({ command, side, rows }, null, 2)}\n`);
const short = (value) => value.toExponential(1);
writeFileSync(
  join(folder, "products.md"),
  `# Errors of matrix products

[${side}, k] · [k, ${side}] with normally distributed numbers, on the emulated GPU, compared with float64. Factors and
results are rounded as on a GPU. A GPU rounds partial sums less exactly than the emulator.
\`${command}\` regenerates this page.

- **relative**: root mean square of the errors divided by that of the results
- **worst**: the largest error divided by the sum of the magnitudes of the terms

| k | products in | relative | worst |
| --- | --- | --- | --- |
${rows.map(({ k, products, relative, worst }) => `| ${[k, products, short(relative), short(worst)].join(" | ")} |`).join("\n")}
`,
);
