// Which npm packages a clone installs for `npm start`, and how set-up installs them.
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { delimiter, dirname, join, resolve } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { installDependencies, removeIncomplete } from "../../scripts/dependencies.mjs";
import { filesUnder } from "../../scripts/fingerprint.mjs";
import { temporaryFolders } from "../support/folders.js";

const root = resolve(import.meta.dirname, "../..");
const temporary = temporaryFolders();
const read = (file: string) => readFileSync(join(root, file), "utf8");
const { dependencies, devDependencies } = JSON.parse(read("package.json"));
const ofStart = Object.keys({ ...dependencies, ...devDependencies });
const ofTools = Object.keys(JSON.parse(read("scripts/development/package.json")).devDependencies);

/** What a file imports, as the formatter writes imports; `import()` with a literal as well. */
function specifiers(file: string): string[] {
  const statements = /^(?:(?:import|export)\b.*|\}) from "([^"]+)";$|^import "([^"]+)";$|\bimport\("([^"]+)"\)/gm;
  return [...read(file).matchAll(statements)].map(([, named, bare, dynamic]) => named ?? bare ?? dynamic ?? "");
}

const isOfNode = (specifier: string) => specifier.startsWith("node:") || builtinModules.includes(specifier);
const isPackage = (specifier: string) => !/^[.#]/.test(specifier) && !isOfNode(specifier);
const packageOf = (specifier: string) => /^(@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier;

/** The packages that the library imports, also while a command runs. */
const imported = [...new Set(filesUnder("lib", /\.ts$/).flatMap(specifiers).filter(isPackage).map(packageOf))];

describe("the packages of `npm start`", () => {
  test("include every package that the library imports", () => {
    expect(imported).toEqual(expect.arrayContaining(["zod", "commander", "cli-progress", "@observablehq/plot"]));
    for (const name of imported) expect(ofStart).toContain(name);
  });

  test("are those that the library, its types, set-up and the data of `npm start` need, and no others", () => {
    const setup = [...read("scripts/setup.mjs").matchAll(/"node_modules", "([\w@-]+)"/g)].map(
      (match) => match[1] ?? "",
    );
    const headers = /require\('([\w-]+)'\)\.include_dir/.exec(read("binding.gyp"))?.[1];
    const addonFinder = /require\("(node-gyp-build)"\)/.exec(read("lib/native/load.ts"))?.[1];
    const data = /resolveInPackage\("([\w-]+)"/.exec(read("lib/data/mnist.ts"))?.[1];
    const types = ofStart.filter((name) => [...imported, "node"].includes(name.replace(/^@types\//, "")));
    const needed = new Set([...imported, ...setup, headers, addonFinder, data, ...types]);
    expect([...needed].sort()).toEqual([...ofStart].sort());
  });

  test("are not listed a second time among those of tests and checks", () => {
    expect(ofTools.filter((name) => ofStart.includes(name))).toEqual([]);
  });

  test("are not needed by set-up itself, which runs before they are installed", () => {
    const reached = new Set(["scripts/setup.mjs", "scripts/compile-addon.mjs"]);
    for (const file of reached)
      for (const specifier of specifiers(file)) {
        expect(isPackage(specifier), `${file}: ${specifier}`).toBe(false);
        if (specifier.startsWith(".")) reached.add(join(dirname(file), specifier));
      }
    expect(reached).toContain("scripts/dependencies.mjs");
  });

  test("have a hash in the lockfile, as all others", () => {
    const packages: [string, { integrity?: string; link?: boolean }][] = Object.entries(
      JSON.parse(read("package-lock.json")).packages,
    );
    const installed = packages.filter(([path, { link }]) => path.startsWith("node_modules/") && !link);
    expect(installed.length).toBeGreaterThan(200);
    for (const [path, { integrity }] of installed) expect(integrity, path).toMatch(/^sha512-/);
  });
});

describe("their installation", () => {
  const path = process.env["PATH"];
  afterEach(() => {
    process.env["PATH"] = path;
  });

  /** A folder with two packages. npm is replaced by a shell script. */
  function cloneWith(npm: string): string {
    const [bin, folder] = [temporary(), temporary()];
    writeFileSync(join(bin, "npm"), `#!/bin/sh\necho "$@" > arguments\n${npm}\n`);
    chmodSync(join(bin, "npm"), 0o755);
    process.env["PATH"] = `${bin}${delimiter}${path}`;
    for (const name of ["first", "second", ".stepsize"]) {
      mkdirSync(join(folder, "node_modules", name), { recursive: true });
      writeFileSync(join(folder, "node_modules", name, "file"), "");
    }
    return folder;
  }

  const packages = (folder: string) => readdirSync(join(folder, "node_modules")).sort();

  test("leaves the tools out, unless they are asked for", () => {
    const folder = cloneWith("exit 0");
    expect(installDependencies(folder, { withTools: false })).toBeUndefined();
    expect(readFileSync(join(folder, "arguments"), "utf8")).toContain("--workspaces=false");
    expect(installDependencies(folder, { withTools: true })).toBeUndefined();
    expect(readFileSync(join(folder, "arguments"), "utf8")).not.toContain("workspaces");
  });

  test("keeps the packages if npm fails, because npm restores them", () => {
    const folder = cloneWith("exit 3");
    expect(installDependencies(folder, { withTools: true })).toContain("(exit code 3)");
    removeIncomplete(folder);
    expect(packages(folder)).toEqual([".stepsize", "first", "second"]);
  });

  test("keeps the packages if npm cannot be started", () => {
    const folder = cloneWith("exit 0");
    process.env["PATH"] = "/nowhere";
    expect(installDependencies(folder, { withTools: true })).toContain("ENOENT");
    removeIncomplete(folder);
    expect(packages(folder)).toEqual([".stepsize", "first", "second"]);
  });

  test("begins again if npm was killed, because npm would keep incomplete packages", () => {
    const folder = cloneWith("kill -9 $$");
    expect(installDependencies(folder, { withTools: true })).toContain("interrupted");
    removeIncomplete(folder);
    expect(packages(folder)).toEqual([".stepsize"]);
    expect(existsSync(join(folder, "node_modules", ".stepsize", "file"))).toBe(true);
    // Once.
    mkdirSync(join(folder, "node_modules", "third"));
    removeIncomplete(folder);
    expect(packages(folder)).toEqual([".stepsize", "third"]);
  });
});
