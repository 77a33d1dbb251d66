import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { describe, expect, test } from "vitest";

const lib = resolve(import.meta.dirname, "../../lib");

/**
 * The folders that each folder of lib/ may import besides itself and the files next to the folders. They are to its
 * left in docs/architecture.md.
 */
const allowed: Record<string, readonly string[]> = {
  schedule: [],
  data: [],
  native: [],
  report: ["schedule"],
  watch: ["files", "report"],
  tensorboard: [],
  tensor: ["native"],
  nn: ["native", "tensor"],
  models: ["native", "tensor", "nn"],
  files: ["native", "tensor"],
  optim: ["native", "tensor", "schedule"],
  bench: ["native", "tensor", "nn", "models", "optim", "data", "schedule", "weights", "train"],
  check: ["native", "tensor", "nn", "models", "optim", "schedule", "files", "bench"],
  weights: ["native", "tensor", "nn", "models", "optim", "data", "files"],
  onnx: ["native", "tensor", "nn", "files"],
  train: ["native", "tensor", "nn", "models", "optim", "data", "schedule", "files", "weights"],
  curvature: ["native", "tensor", "nn", "models", "optim", "data", "schedule", "files", "weights", "train"],
  tasks: ["native", "tensor", "nn", "models", "optim", "data", "schedule", "weights", "train"],
  study: ["native", "nn", "models", "optim", "data", "schedule", "files", "weights", "train", "tasks", "report"],
  text: ["native", "tensor", "nn", "data", "weights"],
  cli: [
    "native",
    "tensor",
    "nn",
    "models",
    "optim",
    "data",
    "schedule",
    "files",
    "weights",
    "onnx",
    "train",
    "tasks",
    "text",
    "curvature",
    "study",
    "report",
    "bench",
    "check",
    "watch",
    "tensorboard",
  ],
};

/** The folders of lib/ that a file imports from, according to its import and export statements. */
function foldersImported(file: string, source: string): string[] {
  const specifiers = [...source.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map((match) => match[1] as string);
  return specifiers.map((specifier) => relative(lib, resolve(dirname(file), specifier)).split("/")[0] as string);
}

/** Imports in the wrong direction, as `file → folder`. */
function violations(file: string, source: string): string[] {
  const importer = relative(lib, file).split("/")[0] as string;
  const forbidden = foldersImported(file, source).filter(
    (folder) =>
      folder !== importer && (folder === "index.js" || (folder in allowed && !allowed[importer]?.includes(folder))),
  );
  return forbidden.map((folder) => `${relative(lib, file)} → ${folder}`);
}

describe("imports go one way", () => {
  const folders = readdirSync(lib, { withFileTypes: true }).filter((entry) => entry.isDirectory());

  test("every folder of lib/ is in the list", () => {
    expect(folders.map(({ name }) => name).sort()).toEqual(Object.keys(allowed).sort());
  });

  test.each(folders.map(({ name }) => name))("lib/%s imports only folders to its left", (folder) => {
    const files = readdirSync(join(lib, folder), { recursive: true, encoding: "utf8" }).filter((f) =>
      f.endsWith(".ts"),
    );
    expect(files.length).toBeGreaterThan(0);
    expect(
      files.flatMap((file) => violations(join(lib, folder, file), readFileSync(join(lib, folder, file), "utf8"))),
    ).toEqual([]);
  });

  test("the check finds an import in the wrong direction, also of a type or with import()", () => {
    const file = join(lib, "tensor", "example.ts");
    expect(violations(file, 'import type { Trainer } from "../train/index.js";')).toEqual([
      "tensor/example.ts → train",
    ]);
    expect(violations(file, 'const cli = await import("../cli/main.js");')).toEqual(["tensor/example.ts → cli"]);
    expect(violations(file, 'import { Device } from "../native/index.js";')).toEqual([]);
  });

  test("the files next to the folders import none of them, except the entry point", () => {
    const files = readdirSync(lib).filter((name) => name.endsWith(".ts") && basename(name) !== "index.ts");
    expect(
      files
        .flatMap((file) => foldersImported(join(lib, file), readFileSync(join(lib, file), "utf8")))
        .filter((folder) => folder in allowed),
    ).toEqual([]);
  });
});
