// What a program is told if an addon is missing, damaged or foreign, in a clone and in an installed package.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { explain, findAddon, searchAddon } from "#lib/native/load.js";
import { findPackage } from "#lib/package-root.js";
import { temporaryFolders } from "../support/folders.js";

const temporary = temporaryFolders();
const root = resolve(import.meta.dirname, "../..");
const platform = `${process.platform}-${process.arch}`;
const cpu = findAddon("cpu").file as string;
const prebuilt = (name: string, on = platform) => `addons/${name}/prebuilds/${on}/stepsize.glibc.node`;

/** A folder with empty files. */
function folderWith(...paths: string[]): string {
  const folder = temporary();
  for (const path of paths) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), "");
  }
  return folder;
}

/** A folder that looks like an installed package with these files. */
const installed = (...paths: string[]) => folderWith("package.json", ...paths);

/** A folder that looks like a clone. */
const clone = (...paths: string[]) => folderWith("package.json", "lib/index.ts", ...paths);

/** The explanation of an addon that is not there or cannot be loaded. */
function explanation(name: string, places: Parameters<typeof searchAddon>[1]): string[] {
  const report = searchAddon(name, places);
  expect(report.addon).toBeUndefined();
  const lines = explain(report).split("\n");
  expect(lines).toHaveLength(3);
  expect(lines[1]).toBe(`Looked at: ${report.lookedAt.join(", ")}`);
  return lines;
}

describe("the search", () => {
  test("is by name, in the folder that is given, in the build folders, then among the prebuilt files", () => {
    const root = installed(prebuilt("cuda"));
    expect(searchAddon("cpu", { root, folder: "/given" }).lookedAt).toEqual([
      "/given/cpu.node",
      join(root, "build/Release/cpu.node"),
      join(root, "build-cpu/Release/cpu.node"),
      join(root, "addons/cpu/prebuilds", platform, "/"),
    ]);
    // The prebuilt file of another addon is not taken.
    expect(searchAddon("cpu", { root }).file).toBeUndefined();
    expect(searchAddon("cuda", { root }).file).toBe(join(root, prebuilt("cuda")));
    mkdirSync(join(root, "build-cuda/Release"), { recursive: true });
    writeFileSync(join(root, "build-cuda/Release/cuda.node"), "");
    expect(searchAddon("cuda", { root }).file).toBe(join(root, "build-cuda/Release/cuda.node"));
  });

  test("finds and loads a prebuilt file", () => {
    const root = installed(prebuilt("cpu"));
    copyFileSync(cpu, join(root, prebuilt("cpu")));
    expect(searchAddon("cpu", { root })).toMatchObject({
      file: join(root, prebuilt("cpu")),
      addon: { backend: "cpu" },
    });
  });
});

describe("a missing addon", () => {
  test("in a package without one for this platform: the compiler and the command", () => {
    const root = installed(prebuilt("cpu", "plan9-mips"), prebuilt("cpu", "linux-riscv64"));
    const [what, , advice] = explanation("cpu", { root });
    expect(what).toBe(
      `the cpu addon: the package has no prebuilt addon for ${platform} (prebuilt: linux-riscv64 with glibc, plan9-mips), and none was compiled`,
    );
    expect(advice).toBe(`Install a C++20 compiler (g++ 12 or clang 14), then run: node "${root}/scripts/install.mjs"`);
  });

  test("in a package whose prebuilt addon is for another C library", () => {
    const folder = installed(prebuilt("cpu"));
    const program = `
      import { searchAddon } from ${JSON.stringify(join(root, "dist/native/load.js"))};
      console.log(searchAddon("cpu", { root: process.env.FOLDER }).problem);`;
    // node-gyp-build reads the variable LIBC.
    const env = { ...process.env, LIBC: "musl", FOLDER: folder };
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8", env });
    expect(stdout).toContain(`the prebuilt addon for ${platform} needs glibc, and this system has another C library`);
  });

  test("in a package: CUDA has no installation from source, and devices for tests are named as such", () => {
    const root = installed();
    expect(explanation("cuda", { root })[2]).toContain('Use the device "cpu"');
    expect(explanation("cuda-emulated", { root })[0]).toContain("for tests");
  });

  test("in a clone: the command that builds it", () => {
    const root = clone();
    expect(explanation("cpu", { root })[2]).toBe("Build it with: npm run setup");
    expect(explanation("cuda", { root })[2]).toContain("nvcc of CUDA 13 and cmake");
    expect(explanation("cuda-ptx", { root })[2]).toContain("npm run setup -- --test");
  });
});

describe("a file that is no addon of stepsize", () => {
  const file = "build/Release/cpu.node";
  const elf = readFileSync(cpu);

  /** The file's beginning with another number in a field of the ELF header. */
  const altered = (at: number, value: number) => {
    const copy = Buffer.from(elf);
    copy[at] = value;
    return copy;
  };

  test.each([
    ["an empty file", Buffer.alloc(0), "the file is no library, 0 bytes"],
    ["a text", Buffer.from("not an addon, but a text\n"), "the file is no library, 25 bytes"],
    ["a file that was cut", elf.subarray(0, 5000), "its end is missing (the file is an ELF file for"],
    ["a file for another processor", altered(18, 183), "an ELF file for arm64"],
    ["a file for Windows", Buffer.from(`MZ${" ".repeat(100)}`), "a Windows file"],
    ["a file for macOS", Buffer.from(`cffaedfe${"00".repeat(100)}`, "hex"), "a macOS file"],
  ])("%s", (_, bytes, words) => {
    const root = installed(file);
    writeFileSync(join(root, file), bytes);
    const [what, , advice] = explanation("cpu", { root });
    expect(what).toContain(`the cpu addon: ${join(root, file)} could not be loaded: `);
    expect(what).toContain(words);
    expect(what).toContain(`this is ${platform})`);
    expect(advice).toBe(`Delete the file, then run: node "${root}/scripts/install.mjs"`);
  });

  test("the advice depends on where the file is", () => {
    const root = installed(prebuilt("cpu"), "given/cpu.node");
    expect(explanation("cpu", { root })[2]).toContain("Install stepsize again, or compile");
    expect(explanation("cpu", { root, folder: join(root, "given") })[2]).toContain("STEPSIZE_ADDONS");
    expect(explanation("cuda", { root: installed(prebuilt("cuda")) })[2]).toContain('or use the device "cpu"');
    expect(explanation("cpu", { root: clone(file) })[2]).toBe("Delete the file, then run: npm run setup");
  });

  /** A Node-API addon with one export, whose version of Node-API is given. */
  const foreign = `
    typedef struct e* env; typedef struct v* value;
    __attribute__((visibility("default"))) int node_api_module_get_api_version_v1(void) { return VERSION; }
    __attribute__((visibility("default"))) value napi_register_module_v1(env e, value exports) { return exports; }`;
  const compiles = spawnSync("cc", ["--version"]).status === 0;

  test.skipIf(!compiles).each([
    ["another addon", 8, "it is not an addon of stepsize"],
    // Node itself crashes when it loads such an addon.
    ["another addon for a Node-API of the future", 1000, "it is not an addon of stepsize"],
  ])("%s", (_, version, words) => {
    const root = installed(file);
    const args = ["-shared", "-fPIC", `-DVERSION=${version}`, "-o", join(root, file), "-x", "c", "-"];
    expect(spawnSync("cc", args, { input: foreign }).status).toBe(0);
    expect(explanation("cpu", { root })[0]).toContain(words);
  });

  test.skipIf(!compiles)("a library with the right names that registers no addon", () => {
    const root = installed(file);
    const args = ["-shared", "-fPIC", "-o", join(root, file), "-x", "c", "-"];
    expect(spawnSync("cc", args, { input: 'const char* name = "setErrorClass";' }).status).toBe(0);
    expect(explanation("cpu", { root })[0]).toMatch(/self-register|could not be loaded/);
  });

  test("nothing throws at import; openDevice rejects with the explanation", () => {
    const folder = folderWith("cpu.node", "cuda.node");
    const program = `
      import { openDevice, listDevices, schedule } from ${JSON.stringify(join(root, "dist/index.js"))};
      const error = await openDevice().catch((error) => error);
      console.log(JSON.stringify([typeof schedule.uba === "function", error.code, error.message, listDevices()]));`;
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
      encoding: "utf8",
      env: { ...process.env, STEPSIZE_ADDONS: folder },
    });
    const [works, code, message, devices] = JSON.parse(stdout);
    expect([works, code]).toEqual([true, "not-found"]);
    expect(message).toContain(`the cpu addon: ${join(folder, "cpu.node")} could not be loaded`);
    expect(message.split("\n")).toHaveLength(3);
    for (const { problem } of devices) expect(problem).toContain("could not be loaded");
  });
});

describe("the folder of the package", () => {
  test("is the nearest one above with a package.json of stepsize", () => {
    const folder = temporary();
    writeFileSync(join(folder, "package.json"), '{ "name": "stepsize", "version": "1.2.3" }');
    mkdirSync(join(folder, "dist/chunks"), { recursive: true });
    writeFileSync(join(folder, "dist/package.json"), '{ "type": "module" }');
    writeFileSync(join(folder, "dist/chunks/package.json"), "no JSON");
    expect(findPackage(join(folder, "dist/chunks"))).toEqual({ root: folder, version: "1.2.3" });
  });

  test("is the start if there is none, as in a program that bundles stepsize", () => {
    const folder = temporary();
    expect(findPackage(folder)).toEqual({ root: folder, version: "unknown" });
    expect(existsSync(join(folder, "package.json"))).toBe(false);
  });
});
