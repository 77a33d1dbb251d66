// Reads binding.gyp without Python. Supports only the gyp features that this file uses.
import { execSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..");

function holds(condition, facts) {
  const [, name, value] = condition.match(/^(\w+)=='(\w+)'$/) ?? [];
  if (!(name in facts)) throw new Error(`binding.gyp: the condition ${condition} is not supported`);
  return facts[name] === value;
}

/** Merges the applicable conditions of a node into the node. */
function resolveConditions({ conditions = [], ...node }, facts) {
  for (const [condition, addition] of conditions)
    if (holds(condition, facts))
      for (const [key, list] of Object.entries(addition)) node[key] = [...(node[key] ?? []), ...list];
  return node;
}

/** The targets for an architecture, named as by `process.arch`, with complete flags: `{ name, sources, flags, link }`. */
export function readTargets(architecture = process.arch) {
  const facts = { OS: process.platform, target_arch: architecture };
  // binding.gyp is a Python literal. Without comments it is also a JavaScript literal.
  const text = readFileSync(join(root, "binding.gyp"), "utf8").replaceAll(/^\s*#.*$/gm, "");
  const binding = resolveConditions(new Function(`return (${text})`)(), facts);
  const { variables, target_defaults: defaults } = binding;
  const expand = (list = []) =>
    list.flatMap((item) => {
      const whole = item.match(/^<@\((\w+)\)$/);
      if (whole) return variables[whole[1]];
      const command = item.match(/^<!\((.+)\)$/);
      if (command) return execSync(command[1], { cwd: root, encoding: "utf8" }).trim();
      return item.replace("<(module_root_dir)", root);
    });
  return binding.targets
    .map((target) => resolveConditions(target, facts))
    .map((target) => ({
      name: target.target_name,
      sources: target.sources,
      flags: [
        ...expand([...defaults.cflags, ...defaults.cflags_cc, ...(target.cflags ?? []), ...(target.cflags_cc ?? [])]),
        ...(target.defines ?? []).map((define) => `-D${define}`),
        ...expand(target.include_dirs).map((folder) => `-I${folder}`),
      ],
      link: expand(target.ldflags),
    }));
}
