import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";

const root = resolve(import.meta.dirname, "../..");

/** Classes of this project or of a library whose objects are created in the same realm as the check. */
const projectClasses = new Set([
  "Buffer",
  "CommanderError",
  "Device",
  "Interrupted",
  "JsonFault",
  "Module",
  "Parameter",
  "StepsizeError",
  "Tensor",
  "UsageError",
]);

/** The classes that a file uses with `instanceof`, outside comments. */
function askedAbout(source: string): string[] {
  const code = source.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
  return [...code.matchAll(/\binstanceof\s+([\w.]+)/g)].map(([, name]) => name as string);
}

test("no instanceof checks a value that may come from another realm; lib/realms.ts has the checks for these", () => {
  const files = readdirSync(join(root, "lib"), { recursive: true, encoding: "utf8" }).filter((f) => f.endsWith(".ts"));
  const found = files.flatMap((file) =>
    askedAbout(readFileSync(join(root, "lib", file), "utf8"))
      .filter((name) => !projectClasses.has(name))
      .map((name) => `${file}: instanceof ${name}`),
  );
  expect(found).toEqual([]);
  // `Buffer` is the class of nn, not Node's.
  const withBuffer = files.filter((file) =>
    askedAbout(readFileSync(join(root, "lib", file), "utf8")).includes("Buffer"),
  );
  for (const file of withBuffer)
    expect(readFileSync(join(root, "lib", file), "utf8")).toMatch(
      /import \{[^}]*\bBuffer\b[^}]*\} from ".*(nn|parameter)/,
    );
});

test("the test finds an instanceof", () => {
  expect(askedAbout("if (x instanceof Float32Array || y instanceof Map) // instanceof Error")).toEqual([
    "Float32Array",
    "Map",
  ]);
});
