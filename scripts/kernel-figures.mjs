// Combines the compiler's report on every CUDA kernel with the kernel's traffic and computation. Writes
// bench/results/kernels-static.json, docs/kernels.md and the table in docs/fused-step.md. docs/kernels.md also has the
// predictions of scripts/step-predictions.mjs. Needs nvcc and a clone that is set up, but no GPU.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./gyp.mjs";
import { families } from "./kernel-costs.mjs";
import { architectures, kernelsOf, occupancy } from "./kernel-report.mjs";
import { flags, run } from "./nvcc.mjs";
import { predictionSection, predictSteps } from "./step-predictions.mjs";

const results = "bench/results/kernels-static.json";
const predictions = "bench/results/step-predictions.json";
const rules = ["Sgd", "SgdMomentum", "Adam", "AdamAmsgrad", "Lion"];
const moments = { Sgd: 0, SgdMomentum: 1, Adam: 2, AdamAmsgrad: 3, Lion: 1 };

/** Every kernel of a source, with the compiler's report for each architecture. */
function measure({ source, kernels: costs }) {
  const found = new Map();
  for (const architecture of architectures)
    for (const { kernel, mangled, threads, loops: _, ...report } of kernelsOf(`native/cuda/${source}`, architecture)) {
      const entry = found.get(mangled) ?? { source, kernel, threads };
      const shared = sharedOf(kernel, costs);
      const sizes = { threads, registers: report.registers, sharedBytes: report.sharedBytes + shared };
      found.set(mangled, { ...entry, [architecture]: { ...report, occupancy: occupancy(architecture, sizes) } });
    }
  return [...found.values()];
}

/** Bytes of dynamic shared memory. */
function sharedOf(kernel, costs) {
  const { shared = 0 } = costs[baseOf(kernel)] ?? {};
  return typeof shared === "function" ? shared(kernel) : shared;
}

/** The kernel's name without template arguments. */
function baseOf(kernel) {
  return kernel.replace(/<.*$/, "");
}

/** A single number if all are equal, otherwise the smallest and the largest. */
function range(values, text = String) {
  const [smallest, largest] = [Math.min(...values), Math.max(...values)].map(text);
  return smallest === largest ? smallest : `${smallest} to ${largest}`;
}

function familyTable({ title, source, kernels: costs }, all) {
  const percent = (share) => `${Math.round(100 * share)} %`;
  const rows = Object.entries(costs).map(([base, { element, bytes, flops }]) => {
    const instances = all.filter((one) => one.source === source && baseOf(one.kernel) === base);
    if (instances.length === 0) throw new Error(`${source} has no ${base}`);
    const of = (pick) => architectures.map((name) => range(instances.map((one) => pick(one[name]))));
    const occupied = architectures.map((name) =>
      range(
        instances.map((one) => one[name].occupancy),
        percent,
      ),
    );
    const sharedBytes = range(instances.map((one) => one.sm_90.sharedBytes + sharedOf(one.kernel, costs)));
    const registers = of(({ registers }) => registers);
    const atOnce = range(instances.map((one) => one.sm_90.widestAccess));
    return `| ${[base, element, bytes, atOnce, flops, ...registers, sharedBytes, ...occupied].join(" | ")} |`;
  });
  return [
    `## ${title}`,
    "",
    `\`native/cuda/${source}\``,
    "",
    "| kernel | per | bytes | at once | operations | registers sm_80 | sm_90 | shared bytes | occupancy sm_80 | sm_90 |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}

function page(version, kernels, predicted) {
  const spilled = kernels.filter((one) =>
    architectures.some((name) => one[name].spilledBytes + one[name].stackBytes > 0),
  );
  return `# CUDA kernels

This page lists what each kernel moves and computes per element, counted by hand (\`scripts/kernel-costs.mjs\`), and the report
of nvcc ${version}. **No kernel was run on hardware yet**, so there are no times on this page. On a machine with a GPU
\`npx stepsize check --device cuda:0 --bench\` measures every kind of operation beside a copy of the same number of bytes, a
prediction, and PyTorch. \`node scripts/kernel-figures.mjs\` writes this page from
\`${results}\`. If a kernel has several instances, the table shows the smallest and the largest value.

- **bytes**: bytes that memory has to move, in float32 unless stated otherwise. For bfloat16 it is half as many for activations
  and weights. Reads that a cache answers are not counted.
- **at once**: the most bytes that one instruction moves from or to global memory.
- **operations**: a transcendental function or a division counts as one.
- **occupancy**: the share of a multiprocessor's 2,048 threads that registers, shared memory and the size of a block allow at
  once. A kernel that only moves memory needs half of it or more. A matrix product needs less, and more registers instead.

Kernels that use memory outside registers, as spills or a stack: ${spilled.length === 0 ? "none" : spilled.map(({ kernel }) => kernel).join(", ")}.

${families.map((family) => familyTable(family, kernels)).join("\n\n")}

${predictionSection(predicted)}`;
}

/** The types of an instance of the update: bytes of parameter, gradient and moment, and whether there is a copy. */
function storageOf(kernel) {
  const [, rule, types] = kernel.match(/^updateKernel<(\w+), Storage<(.*)> >$/);
  const [parameter, gradient, moment, copies] = types.split(", ");
  const bytes = (type) => (type === "float" ? 4 : 2);
  const storage = {
    rule,
    parameter: bytes(parameter),
    gradient: bytes(gradient),
    moment: moments[rule] > 0 ? bytes(moment) : 0,
    copies: copies === "true",
  };
  const { parameter: p, gradient: g, moment: m } = storage;
  return { ...storage, bytes: 2 * p + g + 2 * moments[rule] * m + (storage.copies ? 2 : 0) };
}

const typeName = (bytes) => (bytes === 0 ? "–" : bytes === 4 ? "float32" : "bfloat16");

function updateTable(kernels) {
  const rows = kernels
    .filter(({ kernel }) => baseOf(kernel) === "updateKernel")
    .map((one) => ({ ...storageOf(one.kernel), registers: architectures.map((name) => one[name].registers) }))
    .sort((a, b) => rules.indexOf(a.rule) - rules.indexOf(b.rule) || b.bytes - a.bytes)
    .map(({ rule, parameter, gradient, moment, copies, bytes, registers }) => {
      const stored = `${typeName(parameter)}${copies ? " + bfloat16 copy" : ""}`;
      return `| ${[rule, stored, typeName(gradient), typeName(moment), bytes, ...registers].join(" | ")} |`;
    });
  return [
    `| rule | parameter | gradient | moments | bytes per parameter | registers ${architectures.join(" | registers ")} |`,
    "| --- | --- | --- | --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}

const version = run("nvcc", "--version").match(/release ([\d.]+), V([\d.]+)/)[2];
// Sources named on the command line are measured again, and the others are taken from the file. Without arguments all
// are measured.
const again = process.argv.slice(2);
const before = again.length === 0 ? [] : JSON.parse(readFileSync(join(root, results), "utf8")).kernels;
const kernels = families.flatMap((family) =>
  again.length === 0 || again.includes(family.source)
    ? measure(family)
    : before.filter(({ source }) => source === family.source),
);
const command = "node scripts/kernel-figures.mjs";
writeFileSync(join(root, results), `${JSON.stringify({ command, nvcc: version, flags, kernels }, null, 2)}\n`);
const predicted = await predictSteps();
writeFileSync(join(root, predictions), `${JSON.stringify({ command, ...predicted }, null, 2)}\n`);
writeFileSync(join(root, "docs", "kernels.md"), page(version, kernels, predicted));
const steps = join(root, "docs", "fused-step.md");
const text = readFileSync(steps, "utf8");
const marks = [`<!-- figures from ${results} -->`, "<!-- end of figures -->"];
const [begin, end] = [text.indexOf(marks[0]) + marks[0].length, text.indexOf(marks[1])];
writeFileSync(steps, `${text.slice(0, begin)}\n\n${updateTable(kernels)}\n\n${text.slice(end)}`);
