// Writes the published package into a folder: everything except the prebuilt addons.
import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../gyp.mjs";
import { bundle, bundledPackages, entries, loadedWith, writeCommonJs, writeDeclarations } from "./bundle.mjs";

const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));

/** The scripts that compile the CPU addon where no prebuilt one fits. */
const installScripts = ["install.mjs", "build-addon.mjs", "compile-addon.mjs", "compile.mjs", "gyp.mjs"];

/** The program that measures PyTorch for `stepsize bench` and `stepsize check --bench`. */
const torchPeer = "bench/peers/torch_peer.py";

/** The fields that the package shares with the clone's package.json. */
const sharedFields = [
  "name",
  "version",
  "description",
  "keywords",
  "license",
  "repository",
  "homepage",
  "bugs",
  "type",
  "engines",
  "bin",
  "dependencies",
];

/**
 * The packages with tokenizers and with a decoder of images, which programs that use one install, and the versions that
 * work. Default: the version of the tests. `lib/data/decode-image.ts` checks that of sharp.
 */
const optionalPackages = { "gpt-tokenizer": undefined, sharp: ">=0.34.0" };

/** The package that reads a model's tokenizer.json. lib/data/tokenizer-json.ts requires the copy. */
const copiedPackage = join("node_modules", "@huggingface", "tokenizers");

/**
 * Writes the package into an empty folder.
 *
 * @returns the outputs of {@link bundle}
 */
export async function stage(folder) {
  rmSync(folder, { recursive: true, force: true });
  const dist = join(folder, "dist");
  const outputs = await bundle(dist);
  checkBundle(outputs);
  chmodSync(join(dist, "cli", "main.js"), 0o755);
  writeCommonJs(dist);
  mkdirSync(join(dist, "vendor"));
  cpSync(join(root, copiedPackage, "dist", "tokenizers.min.cjs"), join(dist, "vendor", "huggingface-tokenizers.cjs"));
  writeDeclarations(join(dist, "types"));
  copySources(folder);
  writeExamples(join(folder, "examples"));
  copyDocuments(join(folder, "docs"));
  for (const name of ["README.md", "CHANGELOG.md", "LICENSE", torchPeer]) cpSync(join(root, name), join(folder, name));
  writeFileSync(join(folder, "THIRD-PARTY-LICENSES"), licenses(outputs));
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest(outputs), null, 2)}\n`);
  return outputs;
}

/** Checks that the entries load nothing of the command line, and that the schedules load nothing of Node. */
function checkBundle(outputs) {
  for (const entry of Object.values(entries)) {
    const loaded = [...loadedWith(outputs, `${entry}.js`)];
    const packages = bundledPackages(outputs, loaded);
    if (packages.length > 0) throw new Error(`dist/${entry}.js contains ${packages.join(", ")}`);
    const external = loaded.flatMap((path) => outputs[path].imports.filter((one) => one.external));
    if (entry !== "index" && external.length > 0) throw new Error(`dist/${entry}.js imports ${external[0].path}`);
  }
}

/** Copies what compiles the CPU addon, with the headers of node-addon-api. */
function copySources(folder) {
  const cuda = join(root, "native", "cuda");
  cpSync(join(root, "native"), join(folder, "native"), { recursive: true, filter: (path) => path !== cuda });
  const headers = join(root, "node_modules", "node-addon-api");
  const vendored = join("native", "vendor", "node-addon-api");
  for (const name of ["napi.h", "napi-inl.h", "napi-inl.deprecated.h", "LICENSE.md"])
    cpSync(join(headers, name), join(folder, vendored, name));
  const command = "<!(node -p \"require('node-addon-api').include_dir\")";
  const gyp = readFileSync(join(root, "binding.gyp"), "utf8");
  if (!gyp.includes(JSON.stringify(command))) throw new Error(`binding.gyp: expected the include folder ${command}`);
  writeFileSync(join(folder, "binding.gyp"), gyp.replace(JSON.stringify(command), JSON.stringify(vendored)));
  mkdirSync(join(folder, "scripts"));
  for (const name of installScripts) cpSync(join(root, "scripts", name), join(folder, "scripts", name));
}

/** The example that is a page with its server, in plain JavaScript. */
const pageExample = "draw-digits";

/** Compiles the examples, so that they run without TypeScript. They are checked in the clone. */
function writeExamples(folder) {
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const project = join(root, "scripts", "package", "tsconfig.examples.json");
  execFileSync(process.execPath, [tsc, "-p", project, "--outDir", folder], { stdio: "inherit" });
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    writeFileSync(
      path,
      readFileSync(path, "utf8").replaceAll(/npx tsx examples\/([\w-]+)\.ts/g, "node examples/$1.js"),
    );
  }
  cpSync(join(root, "examples", pageExample), join(folder, pageExample), { recursive: true });
}

/** Copies the documents and their figures. The studies, which are large, stay in the repository. */
function copyDocuments(folder) {
  const studies = join(root, "docs", "studies");
  cpSync(join(root, "docs"), folder, { recursive: true, filter: (path) => path !== studies });
}

function manifest(outputs) {
  const clone = readJson(join(root, "package.json"));
  const { devDependencies: tested } = readJson(join(root, "scripts", "development", "package.json"));
  const pure = new Set(["./schedule", "./theory"].flatMap((name) => [...loadedWith(outputs, `${entries[name]}.js`)]));
  return {
    ...Object.fromEntries(sharedFields.filter((name) => name in clone).map((name) => [name, clone[name]])),
    peerDependencies: Object.fromEntries(
      Object.entries(optionalPackages).map(([name, range]) => [name, range ?? tested[name]]),
    ),
    peerDependenciesMeta: Object.fromEntries(Object.keys(optionalPackages).map((name) => [name, { optional: true }])),
    main: "./dist/index.cjs",
    types: "./dist/types/index.d.cts",
    exports: {
      ...Object.fromEntries(Object.entries(entries).map(([name, entry]) => [name, conditions(entry)])),
      "./package.json": "./package.json",
    },
    // The schedules and the theory have none, so a bundler can leave out what a program does not use.
    sideEffects: Object.keys(outputs)
      .filter((path) => !pure.has(path))
      .map((path) => `./dist/${path}`),
    scripts: { install: "node scripts/install.mjs" },
  };
}

function conditions(entry) {
  const module = { types: `./dist/types/${entry}.d.ts`, default: `./dist/${entry}.js` };
  return {
    // Also for require, on versions of Node that can require an ES module.
    "module-sync": module,
    import: module,
    require: { types: `./dist/types/${entry}.d.cts`, default: `./dist/${entry}.cjs` },
  };
}

/** The licenses of the npm packages that are a part of the bundle. */
function licenses(outputs) {
  const parts = [...bundledPackages(outputs), copiedPackage].sort().map((path) => {
    const folder = join(root, path);
    const { name, version, license } = readJson(join(folder, "package.json"));
    const file = readdirSync(folder).find((name) => /^(un)?licen[cs]e/i.test(name));
    // A few packages name their license and come without its text.
    const text = file ? readFileSync(join(folder, file), "utf8").trim() : `License: ${license}`;
    return `${name} ${version} (${license})\n\n${text}`;
  });
  return `${["The command line of stepsize, the export to ONNX and the tokenizers contain these packages.", ...parts].join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}

/** Returns the paths of all files in a folder, sorted. */
export function filesIn(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1))
    .sort();
}
