// Makes `dist/` of the published package: bundled ES modules, small CommonJS files, and declarations.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { build } from "esbuild";
import { root } from "../gyp.mjs";

/** The import paths of the package, and the file of each without its ending, below `dist/`. */
export const entries = { ".": "index", "./schedule": "schedule/index", "./theory": "schedule/theory/index" };

/** The files that Node starts by their path: the command, the program of a check's cases, and that of a worker thread. */
export const programs = ["cli/main", "check/child", "data/gather-worker"];

/**
 * Bundles lib/ into a folder.
 *
 * The command line has its own copy of the library. If it shared modules with the entries, these would be split into
 * many small files, because each command needs other parts, and each file makes `import "stepsize"` slower.
 *
 * @returns the outputs by their path below the folder: `{ imports, inputs, bytes }`, with imports as `{ path, kind,
 * external }`
 */
export async function bundle(folder) {
  return {
    ...(await bundleTogether(folder, Object.values(entries), "chunks")),
    ...(await bundleTogether(folder, programs, "cli/chunks")),
    ...(await bundlePage(folder)),
  };
}

/** Bundles the page of `stepsize watch` with its chart library into the files that lib/watch/assets.ts serves. */
async function bundlePage(folder) {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: { page: "lib/watch/page/main.ts", uplot: "node_modules/uplot/dist/uPlot.min.css" },
    outdir: join(folder, "watch"),
    tsconfig: join(root, "lib", "watch", "page", "tsconfig.json"),
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    legalComments: "none",
    metafile: true,
    logLevel: "warning",
  });
  return outputsOf(folder, metafile);
}

async function bundleTogether(folder, files, chunks) {
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: files.map((file) => `lib/${file}.ts`),
    outbase: "lib",
    outdir: folder,
    chunkNames: `${chunks}/[name]-[hash]`,
    bundle: true,
    // One copy of each module, so that errors and tensors have the same class in every entry.
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    external: ["node-gyp-build"],
    // THIRD-PARTY-LICENSES has the licenses.
    legalComments: "none",
    metafile: true,
    write: false,
    logLevel: "warning",
  });
  for (const { path, text } of outputFiles) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, withRequire(text));
  }
  return outputsOf(folder, metafile);
}

/** The outputs of a build by their path below the folder. */
function outputsOf(folder, metafile) {
  const short = (path) => relative(folder, join(root, path));
  return Object.fromEntries(
    Object.entries(metafile.outputs).map(([path, { imports, inputs, bytes }]) => [
      short(path),
      {
        bytes,
        inputs: Object.keys(inputs),
        imports: imports.map((one) => (one.external ? one : { ...one, path: short(one.path) })),
      },
    ]),
  );
}

/** Defines `require` in the module in which esbuild put its helper for CommonJS packages that require Node's modules. */
function withRequire(text) {
  if (!/^var __require = /m.test(text)) return text;
  if (text.startsWith("#!")) throw new Error("the helper of esbuild is in a program; it was expected in a chunk");
  return `import { createRequire } from "node:module";\nconst require = createRequire(import.meta.url);\n${text}`;
}

/** Returns the outputs that are loaded with one of them, itself included. Imports with `import()` do not count. */
export function loadedWith(outputs, path, found = new Set()) {
  if (found.has(path)) return found;
  found.add(path);
  for (const { path: next, kind, external } of outputs[path].imports)
    if (!external && kind !== "dynamic-import") loadedWith(outputs, next, found);
  return found;
}

/** Returns the folders of the npm packages that are a part of the outputs. */
export function bundledPackages(outputs, paths = Object.keys(outputs)) {
  const inputs = [...paths].flatMap((path) => outputs[path].inputs);
  const folders = inputs.map((input) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1]);
  return [...new Set(folders.filter((folder) => folder !== undefined))].sort();
}

/** Writes the files that `require` finds on versions of Node that do not know the condition "module-sync". */
export function writeCommonJs(folder) {
  for (const [name, entry] of Object.entries(entries)) {
    const specifier = name.replace(".", "stepsize");
    const text = `"use strict";
try {
  module.exports = require("./index.js");
} catch (error) {
  if (error.code !== "ERR_REQUIRE_ESM") throw error;
  throw new Error(
    'require("${specifier}"): stepsize is an ES module, and this Node cannot require one. ' +
      'Use await import("${specifier}"), or Node 20.19, 22.12 or newer.',
    { cause: error },
  );
}
`;
    writeFileSync(join(folder, `${entry}.cjs`), text);
  }
}

/** Writes the declarations: `.d.ts` for import, and the same as `.d.cts` for require. */
export function writeDeclarations(folder) {
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const project = join(root, "scripts", "package", "tsconfig.json");
  execFileSync(process.execPath, [tsc, "-p", project, "--outDir", folder], { stdio: "inherit" });
  const reached = new Set();
  for (const entry of Object.values(entries)) walkDeclarations(join(folder, `${entry}.d.ts`), reached);
  for (const file of reached) {
    const source = readFileSync(join(root, "lib", relative(folder, file).replace(/\.d\.ts$/, ".ts")), "utf8");
    writeFileSync(file, withProtectedConstructors(readFileSync(file, "utf8"), source));
  }
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath ?? entry.path, entry.name);
    if (entry.isFile() && !reached.has(file)) rmSync(file);
  }
  for (const file of reached) {
    const text = readFileSync(file, "utf8").replaceAll(specifiers, (all, path) => all.replace(path, forRequire(path)));
    writeFileSync(forRequire(file), text);
  }
}

/**
 * Declares the constructors that are internal as protected. The compiler leaves them out, and a class without a
 * constructor could be constructed without arguments.
 *
 * @param {string} declarations of a file, without the internal ones
 * @param {string} source of the file
 * @returns {string} the declarations
 */
export function withProtectedConstructors(declarations, source) {
  const isInternal = /\/\*\*(?:(?!\*\/)[\s\S])*@internal(?:(?!\*\/)[\s\S])*\*\/\s*constructor\(/;
  const classes = source.split(/^(?=(?:export )?(?:abstract )?class \w)/m).filter((text) => isInternal.test(text));
  for (const [, name] of classes.map((text) => /class (\w+)/.exec(text)).filter((found) => found !== null)) {
    const head = new RegExp(`^export declare (?:abstract )?class ${name}\\b.*\\{$`, "m");
    // A class that is internal as a whole is not declared.
    if (!head.test(declarations)) continue;
    declarations = declarations.replace(head, (line) => `${line}\n    protected constructor();`);
  }
  return declarations;
}

const specifiers = /(?:\bfrom|\bimport|\bmodule)\s*\(?\s*"(\.[^"]+)"/g;

function forRequire(path) {
  return path.replace(/\.(d\.ts|js)$/, (ending) => (ending === ".js" ? ".cjs" : ".d.cts"));
}

function walkDeclarations(file, reached) {
  if (reached.has(file)) return;
  if (!existsSync(file)) throw new Error(`${file}: imported by a declaration, but not written`);
  reached.add(file);
  for (const [, path] of readFileSync(file, "utf8").matchAll(specifiers))
    walkDeclarations(join(dirname(file), path.replace(/\.js$/, ".d.ts")), reached);
}
