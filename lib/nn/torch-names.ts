import type { TorchLayout, TorchNames } from "../tensor/index.js";
import type { Module } from "./module.js";

/**
 * Returns the names in PyTorch of a module's tensors. Each is the name of a member, followed by the member's name of
 * the tensor.
 *
 * @param nameOf returns the name in PyTorch of a tensor or module that is directly inside `module`
 */
export function composeTorchNames(module: Module, nameOf: (member: string) => string): TorchNames {
  const names = new Map<string, string>();
  const layouts = new Map<string, TorchLayout>();
  const children = [...directChildren(module)].map(([path, child]) => {
    const name = nameOf(path);
    return { path: `${path}.`, prefix: name === "" ? "" : `${name}.`, table: child.torchNames() };
  });
  for (const path of module.stateDict().keys()) {
    const child = children.find((candidate) => path.startsWith(candidate.path));
    if (!child) {
      names.set(path, nameOf(path));
      continue;
    }
    const rest = path.slice(child.path.length);
    const name = child.table.names.get(rest);
    const layout = child.table.layouts?.get(rest);
    if (name !== undefined) names.set(path, child.prefix + name);
    if (layout !== undefined) layouts.set(path, layout);
  }
  const unused = children.flatMap(({ prefix, table }) => table.unused.map((name) => prefix + name));
  return { names, unused, layouts };
}

/** Returns the modules that are directly inside a module, by path. */
function directChildren(module: Module): Map<string, Module> {
  const found = new Map<string, Module>();
  for (const [path, child] of module.namedModules()) {
    const isNested = [...found.keys()].some((outer) => path.startsWith(`${outer}.`));
    if (child !== module && !isNested) found.set(path, child);
  }
  return found;
}
