// Builds the CPU addon with the C++ compiler alone, from the targets and flags of binding.gyp: for machines without the
// Python that node-gyp needs. Knows as much of gyp as that file uses.
//
//   node scripts/compile-addon.mjs <include folder of Node> <output folder> [extra compiler flag ...]
import { execFile, execSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const compiler = process.env.CXX ?? "c++";
const run = promisify(execFile);

/** binding.gyp is a Python literal: without its comments it is a JavaScript one too. */
function readBinding() {
  const text = readFileSync(join(root, "binding.gyp"), "utf8").replaceAll(/^\s*#.*$/gm, "");
  return new Function(`return (${text})`)();
}

function holds(condition) {
  const [, name, value] = condition.match(/^(\w+)=='(\w+)'$/) ?? [];
  const facts = { OS: process.platform, target_arch: process.arch };
  if (!(name in facts)) throw new Error(`binding.gyp: the condition ${condition} is not understood`);
  return facts[name] === value;
}

/** Adds what applies here of a node's conditions to the node itself. */
function resolveConditions({ conditions = [], ...node }) {
  for (const [condition, addition] of conditions)
    if (holds(condition))
      for (const [key, list] of Object.entries(addition)) node[key] = [...(node[key] ?? []), ...list];
  return node;
}

function expand(list = [], variables) {
  return list.flatMap((item) => {
    const whole = item.match(/^<@\((\w+)\)$/);
    if (whole) return variables[whole[1]];
    const command = item.match(/^<!\((.+)\)$/);
    if (command) return execSync(command[1], { cwd: root, encoding: "utf8" }).trim();
    return item.replace("<(module_root_dir)", root);
  });
}

/** The compilations and the link that make `cpu.node`. */
function plan(includeFolder, objects, extra) {
  const binding = resolveConditions(readBinding());
  const { variables, target_defaults: defaults } = binding;
  const targets = binding.targets.map(resolveConditions);
  const compilations = targets.flatMap((target) => {
    const flags = expand(
      [...defaults.cflags, ...defaults.cflags_cc, ...(target.cflags ?? []), ...(target.cflags_cc ?? [])],
      variables,
    );
    const defines = (target.defines ?? []).map((define) => `-D${define}`);
    const includes = expand(target.include_dirs, variables).map((folder) => `-I${folder}`);
    return target.sources.map((source) => {
      const object = join(objects, `${target.target_name}-${basename(source)}.o`);
      // As a system folder: the warnings that are errors here are not meant for Node's headers.
      const node = ["-isystem", includeFolder];
      return {
        source,
        object,
        args: ["-fPIC", "-pthread", ...flags, ...extra, ...defines, ...includes, ...node, "-c", source, "-o", object],
      };
    });
  });
  const addon = targets.find(({ target_name }) => target_name === "cpu");
  const link = [
    "-shared",
    "-pthread",
    ...expand(addon.ldflags, variables),
    ...compilations.map(({ object }) => object),
  ];
  return { compilations, link };
}

const [includeFolder, output, ...extra] = process.argv.slice(2);
if (!includeFolder || !output) {
  console.error(
    "usage: node scripts/compile-addon.mjs <include folder of Node> <output folder> [extra compiler flag ...]",
  );
  process.exit(2);
}
mkdirSync(output, { recursive: true });
const objects = mkdtempSync(join(output, "objects-"));
try {
  const { compilations, link } = plan(includeFolder, objects, extra);
  const work = [...compilations];
  const compileNext = async () => {
    for (let next = work.shift(); next; next = work.shift()) await run(compiler, next.args, { cwd: root });
  };
  await Promise.all([compileNext(), compileNext()]);
  const built = join(objects, "cpu.node");
  await run(compiler, [...link, "-o", built], { cwd: root });
  renameSync(built, join(output, "cpu.node"));
} catch (error) {
  console.error(error.stderr || error.message);
  process.exitCode = 1;
} finally {
  rmSync(objects, { recursive: true, force: true });
}
