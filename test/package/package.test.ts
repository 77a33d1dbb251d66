// The published package, without addons and npm. `npm run package` checks the whole.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { beforeAll, describe, expect, test } from "vitest";
import {
  bundledPackages,
  entries,
  loadedWith,
  type Output,
  withProtectedConstructors,
} from "../../scripts/package/bundle.mjs";
import { filesIn, stage } from "../../scripts/package/stage.mjs";
import { temporaryFolders } from "../support/folders.js";

const root = resolve(import.meta.dirname, "../..");
const temporary = temporaryFolders();
let folder: string;
let outputs: Record<string, Output>;
let files: string[];
let manifest: Record<string, unknown>;

beforeAll(async () => {
  folder = join(temporary(), "a package");
  outputs = await stage(folder);
  files = filesIn(folder);
  manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
});

/** Runs an ES module in the package's folder, where `stepsize` is the package itself. Returns what it printed. */
function run(program: string, env: NodeJS.ProcessEnv = {}): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, STEPSIZE_ADDONS: undefined, ...env },
  });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  return stdout.trim();
}

describe("the files", () => {
  test("are those of the library, documents, examples, and the sources of the CPU addon with what compiles it", () => {
    const known = [
      /^dist\/(schedule\/(theory\/)?)?index\.c?js$/,
      /^dist\/chunks\/(chunk|write-onnx|csv-file|parquet-file)-\w+\.js$/,
      /^dist\/cli\/main\.js$/,
      /^dist\/cli\/chunks\/[\w-]+\.js$/,
      /^dist\/(check\/child|data\/gather-worker)\.js$/,
      /^dist\/watch\/(page\.js|uplot\.css)$/,
      /^dist\/vendor\/huggingface-tokenizers\.cjs$/,
      /^dist\/types\/.+\.d\.c?ts$/,
      /^native\/(?!cuda\/).+\.(cc|h|def|map)$/,
      /^native\/vendor\/node-addon-api\/LICENSE\.md$/,
      /^examples\/[\w-]+\.js$/,
      /^examples\/draw-digits\/[\w-]+\.(html|js|md|mjs)$/,
      /^docs\/([\w-]+\.md|figures\/[\w-]+\.(svg|png))$/,
      /^bench\/peers\/torch_peer\.py$/,
      /^scripts\/(install|build-addon|compile-addon|compile|gyp)\.mjs$/,
      /^(package\.json|binding\.gyp|README\.md|CHANGELOG\.md|LICENSE|THIRD-PARTY-LICENSES)$/,
    ];
    expect(files.filter((file) => !known.some((pattern) => pattern.test(file)))).toEqual([]);
    for (const pattern of known)
      expect(
        files.some((file) => pattern.test(file)),
        String(pattern),
      ).toBe(true);
  });

  test("have no source maps and no paths of the build machine, and take less than 8 MB", () => {
    for (const file of files.filter((file) => /\.[cm]?js$/.test(file))) {
      const text = readFileSync(join(folder, file), "utf8");
      expect(text.includes("sourceMappingURL"), file).toBe(false);
      expect(text.includes(root), file).toBe(false);
    }
    expect(files.reduce((sum, file) => sum + statSync(join(folder, file)).size, 0)).toBeLessThan(8e6);
  });

  test("include the license of every package that is a part of them", () => {
    const text = readFileSync(join(folder, "THIRD-PARTY-LICENSES"), "utf8");
    const packages = bundledPackages(outputs);
    expect(packages.length).toBeGreaterThan(5);
    for (const path of packages) expect(text).toContain(`${path.split("node_modules/").at(-1)} `);
  });

  test("compile without node-addon-api", () => {
    const gyp = readFileSync(join(folder, "binding.gyp"), "utf8");
    expect(gyp).toContain('"include_dirs": ["native/vendor/node-addon-api"]');
    const sources = [...gyp.matchAll(/"(native\/[\w/]+\.cc)"/g)].map(([, path]) => path as string);
    expect(sources.length).toBeGreaterThan(10);
    for (const source of sources) expect(files).toContain(source);
  });
});

describe("package.json", () => {
  test("names files that exist", () => {
    const paths = JSON.stringify([manifest["exports"], manifest["bin"], manifest["sideEffects"], manifest["main"]]);
    const named = [...paths.matchAll(/"(?:\.\/)?((?:dist|package)[^"]*)"/g)].map(([, path]) => path as string);
    expect(named.length).toBeGreaterThan(15);
    for (const path of named) expect(files).toContain(path);
  });

  test("has one dependency and no limits on the platform", () => {
    expect(Object.keys(manifest["dependencies"] as object)).toEqual(["node-gyp-build"]);
    for (const name of ["os", "cpu", "libc", "devDependencies", "private", "imports"])
      expect(manifest).not.toHaveProperty(name);
    expect(manifest).toMatchObject({
      scripts: { install: "node scripts/install.mjs" },
      peerDependencies: { "gpt-tokenizer": expect.stringMatching(/^\^\d/), sharp: ">=0.34.0" },
      peerDependenciesMeta: { "gpt-tokenizer": { optional: true }, sharp: { optional: true } },
    });
  });

  test("passes publint", async () => {
    const { messages, pkg } = await publint({ pkgDir: folder, pack: false, strict: true });
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
  });
});

describe("the declarations", () => {
  test("do not offer the constructors that are internal", () => {
    const declared = (file: string) => readFileSync(join(folder, "dist/types", file), "utf8");
    const heads = /class (\w+)[^\n]*\{\n {4}protected constructor\(\);/g;
    const classes = files
      .filter((file) => file.startsWith("dist/types/") && file.endsWith(".d.ts"))
      .flatMap((file) => [...declared(file.slice("dist/types/".length)).matchAll(heads)].map(([, name]) => name));
    expect(classes).toEqual(expect.arrayContaining(["Tensor", "Device", "ArrayDataset", "TokenBatches"]));
    for (const name of ["AdamW", "Trainer", "Linear", "StepsizeError"]) expect(classes).not.toContain(name);
    expect(declared("tensor/tensor.d.cts")).toContain("protected constructor();");
  });

  test("of a class have one if the comment of its constructor says internal, and not if another comment does", () => {
    const source = `
export class First {
  /** @internal A field. */
  field = 1;
  /** Public. */
  constructor() {}
}
/** @internal */
export abstract class Second<T> extends First {
  /**
   * Text.
   * @internal
   */
  constructor(x: number) {}
}`;
    const declarations =
      "export declare class First {\n}\nexport declare abstract class Second<T> extends First {\n}\n";
    expect(withProtectedConstructors(declarations, source)).toBe(
      declarations.replace("extends First {", "extends First {\n    protected constructor();"),
    );
  });
});

describe("the modules", () => {
  test.each([
    ["stepsize", "index.js", 7],
    ["stepsize/schedule", "schedule/index.js", 4],
    ["stepsize/theory", "schedule/theory/index.js", 4],
  ])("of %s are few, with no part of the command line", (_, entry, most) => {
    const loaded = loadedWith(outputs, entry);
    expect(loaded.size).toBeLessThanOrEqual(most);
    expect(bundledPackages(outputs, loaded)).toEqual([]);
    const external = [...loaded].flatMap((path) => outputs[path]!.imports.filter((one) => one.external));
    for (const { path } of external) expect(path).toMatch(entry === "index.js" ? /^node:/ : /^nothing$/);
  });

  test("have the exports and the names of the clone's modules", async () => {
    const program = `
      const names = (module) => Object.entries(module).flatMap(([name, value]) =>
        typeof value === "object" && [null, Object.prototype].includes(Object.getPrototypeOf(value))
          ? names(value).map((inner) => name + "." + inner)
          : [name + (typeof value === "function" ? " " + value.name : "")]).sort();
      console.log(JSON.stringify(names(await import(process.env.FILE))));`;
    for (const entry of Object.values(entries)) {
      const [bundled, compiled] = [folder, root].map((at) =>
        JSON.parse(run(program, { FILE: join(at, "dist", `${entry}.js`) })),
      );
      expect(bundled).toEqual(compiled);
    }
  });

  test("of the schedules run alone", () => {
    const program = `
      import { uba } from "stepsize/schedule";
      import { suggest } from "stepsize/theory";
      console.log(uba({ budget: 100, maxLr: 0.1, phi: 2 })(0).toFixed(3), typeof suggest);`;
    expect(run(program)).toBe("0.100 function");
  });

  test("of the library load without an addon, and openDevice says how to get it", () => {
    const program = `
      import { openDevice } from "stepsize";
      console.log((await openDevice("cpu").catch((error) => error)).message);`;
    const lines = run(program).split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toContain("the package has no prebuilt addon");
    expect(lines[2]).toContain(`node "${join(folder, "scripts/install.mjs")}"`);
  });

  test("of the library read a tokenizer.json without another package", () => {
    const path = join(root, "test/golden/bpe/olmo");
    const program = `
      import { data } from "stepsize";
      const tokenizer = data.tokenizerOf(await data.readTokenizer(${JSON.stringify(path)}));
      console.log(tokenizer.decode(tokenizer.encode("The step")), tokenizer.endOfText);`;
    expect(run(program)).toBe("The step 400");
  });

  test("of the library train with an addon and a thread that gathers batches", () => {
    const program = `
      import { data, models, nn, openDevice, SGD, Trainer } from "stepsize";
      const device = await openDevice("cpu");
      const inputs = Float32Array.from({ length: 64 * 4 }, (_, i) => Math.sin(i));
      const labels = Int32Array.from({ length: 64 }, (_, i) => i % 2);
      const train = data.fromArrays({ inputs, shape: [4], labels, classes: ["a", "b"] });
      const model = models.mlp({ inputs: 4, hidden: [8], classes: 2, device, seed: 0 });
      const optimizer = new SGD(model.parameters(), { lr: 0.1 });
      const trainer = new Trainer({ model, optimizer, loss: nn.crossEntropy, data: train.batches({ size: 16 }), budget: 3 });
      const losses = [];
      for await (const { loss } of trainer.run()) losses.push(Number.isFinite(loss));
      await device.close();
      console.log(losses.join());`;
    expect(run(program, { STEPSIZE_ADDONS: join(root, "build/Release") })).toBe("true,true,true");
  });

  test("are found by require, which says what to do on a Node that cannot require ES modules", () => {
    const require = (flags: string[]) =>
      spawnSync(process.execPath, [...flags, "-e", 'require("stepsize/schedule").uba'], {
        cwd: folder,
        encoding: "utf8",
      });
    if ("require_module" in process.features) expect(require([]).status).toBe(0);
    if (process.allowedNodeEnvironmentFlags.has("--no-experimental-require-module"))
      expect(require(["--no-experimental-require-module"]).stderr).toContain('Use await import("stepsize/schedule")');
  });

  test("of the command line start", () => {
    const main = join(folder, "dist/cli/main.js");
    const options = { encoding: "utf8", cwd: temporary() } as const;
    const version = spawnSync(process.execPath, [main, "--version"], options);
    expect(version.stdout.trim()).toBe(manifest["version"]);
    const figure = join(options.cwd, "schedule.svg");
    const drawn = spawnSync(process.execPath, [main, "schedule", "uba", "--budget", "10", "--svg", figure], options);
    expect(drawn.stderr).toContain("wrote");
    expect(readFileSync(figure, "utf8")).toContain("<svg");
  });
});

describe("the bundle for another machine", () => {
  test("has the whole package, so the command line needs no npm package there", () => {
    const at = temporary();
    const env = { ...process.env, STEPSIZE_ADDONS: join(root, "build/Release") };
    const main = join(folder, "dist/cli/main.js");
    const options = { cwd: at, encoding: "utf8" } as const;
    const packed = spawnSync(process.execPath, [main, "check", "--bundle", "check.tar.gz"], { ...options, env });
    expect(packed.stderr).toContain("wrote check.tar.gz");
    // The folder has no addon for CUDA.
    expect(packed.stderr).toContain("without the cuda addon:");
    spawnSync("tar", ["-xf", "check.tar.gz"], options);
    expect(existsSync(join(at, "stepsize-check/package/node_modules"))).toBe(false);
    const args = ["check", "--device", "cpu", "--stage", "bench", "--only", "copy"];
    const there = spawnSync(join(at, "stepsize-check/stepsize"), args, { ...options, env: {} });
    expect(there.status, there.stderr).toBe(0);
    expect(there.stdout).toContain("check of cpu");
  });
});

describe("the installation", () => {
  test("succeeds without a compiler, and says what works and what does not", () => {
    const script = join(folder, "scripts/install.mjs");
    const env = { PATH: "/nowhere", HOME: process.env["HOME"] };
    const { status, stdout } = spawnSync(process.execPath, [script], { encoding: "utf8", env });
    expect(status).toBe(0);
    const lines = stdout.trim().split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toContain("no C++ compiler found");
    expect(lines[1]).toContain("stepsize/schedule and stepsize/theory work");
    expect(lines[2]).toContain(`node "${script}"`);
    expect(existsSync(join(folder, "build"))).toBe(false);
  });

  test("reports a compiler that fails, in one line", () => {
    const compiler = join(temporary(), "c++");
    writeFileSync(compiler, '#!/bin/sh\n[ "$1" = --version ] || { echo "fatal error: no such thing" >&2; exit 1; }\n', {
      mode: 0o755,
    });
    const env = { PATH: "/bin", HOME: process.env["HOME"], CXX: compiler };
    const script = join(folder, "scripts/install.mjs");
    const { status, stdout } = spawnSync(process.execPath, [script], { encoding: "utf8", env });
    expect(status).toBe(0);
    expect(stdout).toMatch(/none could be compiled: .*(error|Error|code)/);
  });
});
