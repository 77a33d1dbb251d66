// nvcc's report on the kernels of a source: registers, spills, shared memory, the occupancy of a multiprocessor, and the
// instructions of each loop.
//
//   node scripts/kernel-report.mjs
//
// makes the reports that the tests read, two at a time. A report is kept in node_modules/.stepsize/kernels/ until a
// source, the compiler or a flag changes.
import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fingerprint, withIncludes } from "./fingerprint.mjs";
import { root } from "./gyp.mjs";
import { countByName, kernelsIn, loadsTogether, loopsOf } from "./machine-code.mjs";
import { flags, run } from "./nvcc.mjs";

// Limits of a multiprocessor, from NVIDIA's CUDA C++ Programming Guide, "Technical Specifications per Compute
// Capability".
const limits = {
  sm_80: { threads: 2048, blocks: 32, registers: 65_536, sharedBytes: 164 * 1024 },
  sm_90: { threads: 2048, blocks: 32, registers: 65_536, sharedBytes: 228 * 1024 },
};
export const architectures = Object.keys(limits);
const warp = 32;
// Registers are allocated per warp and shared memory per block, in units of these sizes. A block also reserves 1 KiB.
const registerPiece = 256;
const sharedPiece = 128;
const sharedOfBlock = 1024;

/** Occupancy: the fraction of a multiprocessor's threads that blocks of this size can fill. */
export function occupancy(architecture, { threads, registers, sharedBytes }) {
  const limit = limits[architecture];
  const roundUp = (value, piece) => Math.ceil(value / piece) * piece;
  const ofBlock = {
    threads,
    registers: (roundUp(threads, warp) / warp) * roundUp(registers * warp, registerPiece),
    sharedBytes: roundUp(sharedBytes, sharedPiece) + sharedOfBlock,
  };
  const fitting = Object.entries(ofBlock).map(([name, size]) => Math.floor(limit[name] / size));
  return (Math.min(limit.blocks, ...fitting) * threads) / limit.threads;
}

/** Shortens `stepsize::cuda::gemmKernel<…>(…)` to `gemmKernel<…>`. */
const short = (name) =>
  name
    .replace(/^void /, "")
    .replace(/\(.*$/, "")
    .replaceAll(/stepsize::|cuda::|pointwise::|update::|\(anonymous namespace\)::/g, "");

/** The largest number of bytes that one instruction of a kernel loads from or stores to global memory. */
function widestAccess(body) {
  const accesses = body.matchAll(/\b(?:ld|st)\.global\.(?:[a-z]+\.)*(?:v(\d)\.)?[a-z](\d+)\b/g);
  const widths = [...accesses].map(([, count = 1, bits]) => (count * bits) / 8);
  return Math.max(body.includes("cp.async.cg.shared.global") ? 16 : 0, ...widths);
}

const kept = join(root, "node_modules", ".stepsize", "kernels");

/** The path of a report. Its name contains a fingerprint of everything that the report depends on. */
function pathOf(source, architecture) {
  const files = ["scripts/kernel-report.mjs", "scripts/machine-code.mjs", ...withIncludes(source)];
  const key = fingerprint(files, architecture, flags, run("nvcc", "--version")).slice(0, 24);
  return join(kept, `${basename(source)}-${architecture}-${key}.json`);
}

/** The kernels of a source, compiled for an architecture, from a kept report if there is one. A warning is an error. */
export function kernelsOf(source, architecture) {
  const path = pathOf(source, architecture);
  if (existsSync(path)) return JSON.parse(readFileSync(path, "utf8"));
  const kernels = compiledKernels(source, architecture);
  mkdirSync(kept, { recursive: true });
  for (const old of readdirSync(kept).filter((name) => name.startsWith(`${basename(source)}-${architecture}-`)))
    rmSync(join(kept, old));
  // Another process may read it at any moment.
  writeFileSync(`${path}.${process.pid}`, JSON.stringify(kernels));
  renameSync(`${path}.${process.pid}`, path);
  return kernels;
}

function compiledKernels(source, architecture) {
  const folder = mkdtempSync(join(tmpdir(), "stepsize-kernels-"));
  try {
    const output = join(folder, "kernels.cubin");
    const keep = ["--keep", "--keep-dir", folder];
    const report = run(
      "nvcc",
      ...flags,
      "--Werror=all-warnings",
      `-arch=${architecture}`,
      ...keep,
      "-Xptxas",
      "-v",
      "-cubin",
      source,
      "-o",
      output,
    );
    const ptx = readFileSync(
      join(
        folder,
        readdirSync(folder).find((name) => name.endsWith(".ptx")),
      ),
      "utf8",
    );
    const threadsOf = new Map(
      [...ptx.matchAll(/\.entry (\w+)\([^)]*\)\s*\.maxntid (\d+)(?:, (\d+))?(?:, (\d+))?/g)].map(
        ([, name, x, y = 1, z = 1]) => [name, x * y * z],
      ),
    );
    const widest = new Map(
      ptx
        .split(".visible .entry ")
        .slice(1)
        .map((body) => [body.match(/^\w+/)[0], widestAccess(body)]),
    );
    const parts = report.split("Compiling entry function").slice(1);
    const machineCode = kernelsIn(readFileSync(output));
    const mangled = parts.map((part) => part.match(/'(\w+)'/)[1]);
    const names = run("c++filt", ...mangled)
      .trimEnd()
      .split("\n");
    return parts.map((part, i) => {
      const number = (pattern) => Number(part.match(pattern)?.[1] ?? 0);
      return {
        kernel: short(names[i]),
        mangled: mangled[i],
        threads: threadsOf.get(mangled[i]),
        registers: number(/Used (\d+) registers/),
        stackBytes: number(/(\d+) bytes stack frame/),
        spilledBytes: number(/(\d+) bytes spill stores/) + number(/(\d+) bytes spill loads/),
        sharedBytes: number(/(\d+) bytes smem/),
        widestAccess: widest.get(mangled[i]),
        loops: loopsOf(machineCode.get(mangled[i])).map((loop) => ({
          instructions: loop.length,
          counts: countByName(loop),
          loadsTogether: loadsTogether(loop),
        })),
      };
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Makes the reports of these sources in another process. */
function makeReports(sources) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [import.meta.filename, ...sources], { stdio: "inherit" });
    child.on("error", reject);
    child.on("close", (code) => (code === 0 ? resolve() : reject(new Error(`exit code ${code}`))));
  });
}

if (process.argv[1] === import.meta.filename) {
  const named = process.argv.slice(2);
  if (named.length > 0) {
    for (const source of named) kernelsOf(source, "sm_90");
  } else {
    const names = readdirSync(join(root, "native", "cuda")).filter((name) => name.endsWith(".cu"));
    // The attention and matrix kernels take as long as all others together.
    const isLong = (name) => /^(attention|optimizer)/.test(name);
    const sources = (chosen) => names.filter((name) => isLong(name) === chosen).map((name) => `native/cuda/${name}`);
    await Promise.all([makeReports(sources(true)), makeReports(sources(false))]);
  }
}
