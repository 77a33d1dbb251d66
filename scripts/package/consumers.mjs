// Programs that use the packed package as people do, in an empty folder without compilers on the path.
import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "../gyp.mjs";

const tsc = join(root, "node_modules", "typescript", "bin", "tsc");

/** Returns the file of a command on the path. */
function commandFile(name) {
  const folder = process.env.PATH.split(delimiter).find((folder) => existsSync(join(folder, name)));
  if (!folder) throw new Error(`${name} is not on the path`);
  return realpathSync(join(folder, name));
}

/** A folder in which the package is installed, with programs that use it. */
export class Consumer {
  /** The folder of the project. Its name has a space, as the names of many users' folders. */
  folder;
  #base;
  #env;

  constructor() {
    this.#base = mkdtempSync(join(tmpdir(), "stepsize-package-"));
    this.folder = join(this.#base, "a project");
    mkdirSync(this.folder);
    // npm runs scripts with sh.
    const bin = join(this.#base, "bin");
    mkdirSync(bin);
    symlinkSync(process.execPath, join(bin, "node"));
    for (const name of ["npm", "npx", "sh"]) symlinkSync(commandFile(name), join(bin, name));
    // Settings of the npm that runs this script do not apply to the project.
    const kept = Object.entries(process.env).filter(([name]) => !/^(npm_|node_|stepsize_|init_cwd)/i.test(name));
    this.#env = { ...Object.fromEntries(kept), PATH: bin };
  }

  dispose() {
    rmSync(this.#base, { recursive: true });
  }

  write(name, text) {
    mkdirSync(dirname(join(this.folder, name)), { recursive: true });
    writeFileSync(join(this.folder, name), text);
  }

  /** Runs a command in the folder. Returns its output, and throws with it if the command fails. */
  run(command, ...args) {
    const options = { cwd: this.folder, env: this.#env, encoding: "utf8", timeout: 300_000 };
    const { status, stdout, stderr, error } = spawnSync(command, args, options);
    if (status === 0) return stdout;
    throw new Error(`${command} ${args.join(" ")} failed (${error?.message ?? `code ${status}`})\n${stdout}${stderr}`);
  }

  /** Runs a program and compares the last line of its output. */
  expect(name, text, wanted, ...flags) {
    this.write(name, text);
    const last = this.run("node", ...flags, name)
      .trim()
      .split("\n")
      .at(-1);
    if (last !== wanted) throw new Error(`${name}: expected ${wanted}, got ${last}`);
  }

  /** Installs a tarball. Returns the number of packages. */
  install(tarball) {
    this.write("package.json", JSON.stringify({ name: "a-project", version: "1.0.0", private: true }));
    this.run("npm", "install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error", tarball);
    const { packages } = JSON.parse(readFileSync(join(this.folder, "node_modules", ".package-lock.json"), "utf8"));
    return Object.keys(packages).length;
  }

  /** The files that a program loads, as URLs. */
  loadedModules(specifier) {
    this.write("import.mjs", `import ${JSON.stringify(specifier)};`);
    this.write("hooks.mjs", moduleHooks);
    const register = "import { register } from 'node:module'; register('./hooks.mjs', import.meta.url);";
    this.write("register.mjs", register);
    const urls = this.run("node", "--import", "./register.mjs", "import.mjs").split("\n");
    return urls.filter((url) => url.includes("/node_modules/"));
  }

  /** CPU time of a program that imports a module, in milliseconds beyond that of an empty program: the median. */
  importTime(specifier, repetitions = 9) {
    this.write("empty.mjs", time);
    this.write("time.mjs", `import ${JSON.stringify(specifier)};\n${time}`);
    const differences = Array.from({ length: repetitions }, () => {
      const [empty, whole] = ["empty.mjs", "time.mjs"].map((name) => Number(this.run("node", name)));
      return whole - empty;
    });
    return differences.sort((a, b) => a - b)[repetitions >> 1];
  }
}

const time = "const { user, system } = process.cpuUsage(); console.log((user + system) / 1000);";

// Runs on a thread of its own, whose console may come too late.
const moduleHooks = `
import { writeSync } from "node:fs";
export async function load(url, context, next) {
  writeSync(1, url + "\\n");
  return next(url, context);
}
`;

const rates =
  "const rate = uba({ budget: 100, maxLr: 0.1, phi: 2 }); console.log([rate(0), rate(99)].map((x) => x.toFixed(4)).join());";

/** The checks of an installed package, by name. Each throws, or returns what to print. */
export const checks = {
  "the schedule alone": (consumer) => {
    consumer.expect("schedule.mjs", `import { uba } from "stepsize/schedule";\n${rates}`, "0.1000,0.0000");
    consumer.expect(
      "theory.mjs",
      'import { suggest } from "stepsize/theory";\nconsole.log(typeof suggest);',
      "function",
    );
  },

  "an array optimizer": (consumer) =>
    consumer.expect(
      "optimizer.mjs",
      `import { SGD } from "stepsize";
const weights = Float32Array.of(1, 2, 3);
new SGD([weights], { lr: 0.5 }).step([Float32Array.of(1, 1, 2)]);
console.log(weights.join());`,
      "0.5,1.5,2",
    ),

  "three training steps": (consumer) =>
    consumer.expect(
      "train.mjs",
      `import { AdamW, data, models, nn, openDevice, schedule, Trainer } from "stepsize";
const device = await openDevice("cpu");
const inputs = Float32Array.from({ length: 64 * 16 }, (_, i) => Math.sin(i));
const labels = Int32Array.from({ length: 64 }, (_, i) => i % 4);
const train = data.fromArrays({ inputs, shape: [16], labels, classes: ["a", "b", "c", "d"] });
const model = models.mlp({ inputs: 16, hidden: [8], classes: 4, device, seed: 0 });
const lr = schedule.uba({ budget: 3, maxLr: 1e-2, phi: 2 });
const optimizer = new AdamW(model.parameters(), { lr });
const trainer = new Trainer({ model, optimizer, loss: nn.crossEntropy, data: train.batches({ size: 16 }) });
let steps = 0;
for await (const { loss } of trainer.run()) if (Number.isFinite(loss)) steps++;
await device.close();
console.log(steps);`,
      "3",
    ),

  "examples without development tools": (consumer) => {
    const examples = join("node_modules", "stepsize", "examples");
    for (const name of ["plain-javascript.js", "one-step.js", "resume.js"]) consumer.run("node", join(examples, name));
  },

  "npx stepsize info": (consumer) => {
    const { addons } = JSON.parse(consumer.run("npx", "--no", "stepsize", "info", "--json"));
    const cpu = addons.find(({ name }) => name === "cpu");
    if (!cpu.loaded?.startsWith(realpathSync(consumer.folder))) throw new Error(JSON.stringify(cpu));
    return addons.map(({ name, loaded }) => `${name}: ${loaded ? "prebuilt" : "none"}`).join(", ");
  },

  "npx stepsize schedule": (consumer) => {
    const text = consumer.run("npx", "--no", "stepsize", "schedule", "uba", "--budget", "10", "--max-lr", "0.1");
    if (!/0\.1/.test(text)) throw new Error(text);
  },

  "a figure as SVG": (consumer) => {
    const figure = join(consumer.folder, "schedule.svg");
    consumer.run("npx", "--no", "stepsize", "schedule", "uba", "--budget", "10", "--max-lr", "0.1", "--svg", figure);
    if (!readFileSync(figure, "utf8").includes("<svg")) throw new Error(`${figure}: expected a figure`);
  },

  "scripts/install.mjs": (consumer) => {
    const output = consumer.run("node", join("node_modules", "stepsize", "scripts", "install.mjs"));
    if (output !== "") throw new Error(`expected no output, because the prebuilt addon fits, got ${output}`);
  },

  "a CommonJS consumer": (consumer) => {
    const canRequire = process.features.require_module === true;
    for (const specifier of ["stepsize", "stepsize/schedule", "stepsize/theory"])
      consumer.expect(
        "require.cjs",
        `try { console.log(Object.keys(require("${specifier}")).length > 0); } catch ({ message }) { console.log(message); }`,
        canRequire
          ? "true"
          : `require("${specifier}"): stepsize is an ES module, and this Node cannot require one. Use await import("${specifier}"), or Node 20.19, 22.12 or newer.`,
        "--no-warnings",
      );
    consumer.expect("import.cjs", `import("stepsize/schedule").then(({ uba }) => { ${rates} });`, "0.1000,0.0000");
    return canRequire ? "require works" : "require says what to do";
  },

  "a TypeScript consumer": (consumer) => {
    const program = `
import { AdamW, type Device, openDevice, schedule, type StepRecord, Tensor, Trainer, ops } from "stepsize";
import { type Schedule, uba } from "stepsize/schedule";
import { suggest } from "stepsize/theory";
const lr: Schedule = uba({ budget: 10, maxLr: 0.1, phi: 2 });
const optimizer = new AdamW([new Float32Array(3)], { lr });
optimizer.step([new Float32Array(3)]);
export const open: (name?: string) => Promise<Device> = openDevice;
export const losses = (records: readonly StepRecord[]): number[] => records.map(({ loss }) => loss);
export const all = [Trainer, ops.relu, schedule.cosine, suggest];
// @ts-expect-error The budget is a number.
uba({ budget: "10", maxLr: 0.1, phi: 2 });
// @ts-expect-error Tensors come from functions.
new Tensor();
`;
    for (const name of ["consumer.mts", "consumer.cts"]) consumer.write(`types/${name}`, program);
    const done = [];
    for (const [module, moduleResolution] of [
      ["node16", "node16"],
      ["nodenext", "nodenext"],
      ["esnext", "bundler"],
    ]) {
      const compilerOptions = {
        ...{ module, moduleResolution, target: "es2022", lib: ["es2022", "dom"], types: [] },
        ...{ strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true },
      };
      // Bundlers read all files as ES modules.
      const files = moduleResolution === "bundler" ? ["consumer.mts"] : ["consumer.mts", "consumer.cts"];
      consumer.write("types/tsconfig.json", JSON.stringify({ compilerOptions, files }));
      consumer.run("node", tsc, "-p", "types");
      done.push(moduleResolution);
    }
    return done.join(", ");
  },

  "a Vite build of stepsize/schedule": (consumer) => {
    consumer.write("vite/main.js", `import { uba } from "stepsize/schedule";\n${rates}`);
    const vite = pathToFileURL(join(root, "node_modules", "vite", "dist", "node", "index.js")).href;
    consumer.write(
      "vite/build.mjs",
      `import { build } from ${JSON.stringify(vite)};
const lib = { entry: "main.js", formats: ["es"], fileName: () => "main.mjs" };
await build({ root: import.meta.dirname, logLevel: "error", build: { lib, outDir: "out", minify: false } });`,
    );
    consumer.run("node", join("vite", "build.mjs"));
    const output = readFileSync(join(consumer.folder, "vite", "out", "main.mjs"), "utf8");
    if (/\bnode:|__vite-browser-external/.test(output)) throw new Error("the output imports a module of Node");
    consumer.expect("vite/run.mjs", 'import "./out/main.mjs";', "0.1000,0.0000");
    return `${(output.length / 1000).toFixed(1)} kB`;
  },
};

/** Packs a folder. Returns the path of the tarball. */
export function pack(folder, target) {
  mkdirSync(target, { recursive: true });
  const args = ["pack", "--json", "--loglevel=error", `--pack-destination=${target}`];
  const [{ filename }] = JSON.parse(execFileSync("npm", args, { cwd: folder, encoding: "utf8" }));
  return join(target, filename);
}
