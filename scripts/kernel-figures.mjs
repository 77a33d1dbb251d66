// What the compiler says of the step's CUDA kernels: registers, spills, shared memory, and the width of their loads and
// stores. Writes bench/results/update-kernels-static.json and the table in docs/fused-step.md. Needs nvcc and no GPU.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./gyp.mjs";

const results = join(root, "bench", "results", "update-kernels-static.json");
const page = join(root, "docs", "fused-step.md");
const architectures = ["sm_80", "sm_90"];
// As CMakeLists.txt has them.
const flags = ["-std=c++17", "-O3", "-fmad=false"];
const rules = ["Sgd", "SgdMomentum", "Adam", "AdamAmsgrad", "Lion"];
const moments = { Sgd: 0, SgdMomentum: 1, Adam: 2, AdamAmsgrad: 3, Lion: 1 };

function nvcc(...args) {
  const { status, stdout, stderr, error } = spawnSync("nvcc", args, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`nvcc ${args.join(" ")}: ${error?.message ?? stderr}`);
  return `${stdout}${stderr}`;
}

/** From a mangled name: the rule, and the types of parameter, gradient, moment and copy. */
function kernelOf(mangled) {
  const rule = rules.find((name) => mangled.includes(`updateKernelINS_6update${name.length}${name}E`));
  if (!rule) return { kernel: mangled.includes("gradientNorm") ? "gradientNorm" : "prepareStep" };
  const [, storage] = mangled.match(/StorageI(.*?)Lb(\d)E/);
  const copies = /Lb1E/.test(mangled);
  // f, or NS_8BFloat16E the first time and S5_ afterwards.
  const types = storage.match(/f|NS_8BFloat16E|S\d*_/g).map((type) => (type === "f" ? 4 : 2));
  const [parameter, gradient, moment] = types;
  return { kernel: rule, parameter, gradient, moment: moments[rule] > 0 ? moment : 0, copies };
}

function bytesOf({ kernel, parameter, gradient, moment, copies }) {
  return parameter === undefined
    ? undefined
    : 2 * parameter + gradient + 2 * moments[kernel] * moment + (copies ? 2 : 0);
}

function measure() {
  const folder = mkdtempSync(join(tmpdir(), "stepsize-kernels-"));
  try {
    const kernels = new Map();
    for (const architecture of architectures) {
      const report = nvcc(
        ...flags,
        `-arch=${architecture}`,
        "-Xptxas",
        "-v",
        "-c",
        "test/cuda/update_kernels.cu",
        "-o",
        join(folder, "kernels.o"),
      );
      for (const part of report.split("Compiling entry function").slice(1)) {
        const mangled = part.match(/'(\w+)'/)[1];
        const entry = kernels.get(mangled) ?? { ...kernelOf(mangled), bytes: bytesOf(kernelOf(mangled)) };
        entry[architecture] = {
          registers: Number(part.match(/Used (\d+) registers/)[1]),
          spilledBytes: Number(part.match(/(\d+) bytes spill stores/)[1]),
          sharedBytes: Number(part.match(/(\d+) bytes smem/)?.[1] ?? 0),
        };
        kernels.set(mangled, entry);
      }
    }
    return [...kernels.values()];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const name = (bytes) => (bytes === 0 ? "–" : bytes === 4 ? "float32" : "bfloat16");

function table(kernels) {
  const rows = kernels
    .filter(({ bytes }) => bytes !== undefined)
    .sort((a, b) => rules.indexOf(a.kernel) - rules.indexOf(b.kernel) || b.bytes - a.bytes)
    .map(({ kernel, parameter, gradient, moment, copies, bytes, ...reports }) => {
      const registers = architectures.map((architecture) => reports[architecture].registers);
      const stored = `${name(parameter)}${copies ? " + bfloat16 copy" : ""}`;
      return `| ${[kernel, stored, name(gradient), name(moment), bytes, ...registers].join(" | ")} |`;
    });
  const others = kernels
    .filter(({ bytes }) => bytes === undefined)
    .map(({ kernel, ...reports }) => `${kernel} ${architectures.map((one) => reports[one].registers).join(" / ")}`);
  const spills = kernels.reduce((sum, one) => sum + architectures.reduce((s, a) => s + one[a].spilledBytes, 0), 0);
  return [
    `| rule | parameter | gradient | moments | bytes a parameter | registers ${architectures.join(" | registers ")} |`,
    "| --- | --- | --- | --- | --- | --- | --- |",
    ...rows,
    "",
    `Registers of the other kernels: ${[...new Set(others)].join(", ")}. Bytes spilled by all of them together: ${spills}.`,
  ].join("\n");
}

const version = nvcc("--version").match(/release ([\d.]+), V([\d.]+)/)[2];
const kernels = measure();
const command = "node scripts/kernel-figures.mjs";
writeFileSync(results, `${JSON.stringify({ command, nvcc: version, flags, kernels }, null, 2)}\n`);
const text = readFileSync(page, "utf8");
const marks = ["<!-- figures from bench/results/update-kernels-static.json -->", "<!-- end of figures -->"];
const [begin, end] = [text.indexOf(marks[0]) + marks[0].length, text.indexOf(marks[1])];
writeFileSync(page, `${text.slice(0, begin)}\n\n${table(kernels)}\n\n${text.slice(end)}`);
