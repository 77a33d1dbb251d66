// `stepsize/schedule` is the part of the package that needs no addon. It must work on a web page.
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import * as entry from "stepsize/schedule";
import { expect, test } from "vitest";
import * as schedule from "#lib/schedule/index.js";
import { bundle, evaluate } from "./support/bundle.js";

const root = resolve(import.meta.dirname, "../..");

/** The message of the error that a call throws. */
function complaint(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return String(error);
  }
  return "nothing";
}

test("all schedules work in a browser bundle", async () => {
  const made = await bundle('export * from "stepsize/schedule";');
  expect(made.files).toContain("dist/schedule/index.js");
  expect(
    made.files.filter(
      (file) =>
        !/^dist\/(schedule\/[\w-]+|allocate|arguments|errors|lookup|options|nearest|quoting|realms)\.js$/.test(file),
    ),
  ).toEqual([]);
  // The bundle has 21 kB with 16 schedules and the names of their options. The limit leaves room for a schedule or two,
  // and not for a library.
  expect(made.code.length).toBeLessThan(24_000);

  const inBrowser = evaluate<typeof schedule>(made);
  expect(Object.keys(inBrowser).sort()).toEqual(Object.keys(schedule).sort());
  const samples: schedule.UbaOptions[] = [
    { budget: 100, maxLr: 0.1 },
    { budget: 1000, maxLr: 3e-4, minLr: 1e-6, phi: 5, warmup: 50 },
    { budget: 30, phases: [10, 20].map((iterations) => ({ iterations, maxLr: 1 / iterations, phi: iterations })) },
  ];
  for (const options of samples) {
    const [there, here] = [inBrowser.uba(options), schedule.uba(options)];
    // The same JavaScript engine computes both, so the numbers are equal.
    expect([...inBrowser.tabulate(there)]).toEqual([...schedule.tabulate(here)]);
    expect(JSON.stringify(there)).toBe(JSON.stringify(here));
  }
  // Errors are the same too, so no message contains a name that the minifier shortens.
  for (const wrong of [{ budget: 0 }, { maxLr: new Float32Array(1) }, { phi: () => 1 }, { fi: 2 }, { budget: [5n] }]) {
    const options = { budget: 10, maxLr: 1, ...wrong } as unknown as schedule.UbaOptions;
    const expected = complaint(() => schedule.uba(options));
    expect(expected).toMatch(/^StepsizeError: uba/);
    expect(complaint(() => inBrowser.uba(options))).toBe(expected);
  }
});

test.each([
  [
    "the whole package",
    'export { schedule } from "stepsize";',
    /^.*dist\/.*\.js imports node:\w+, which no browser has/,
  ],
  ["one builtin", 'import * as util from "util"; export { util };', /entry\.js imports util, which no browser has/],
  ["an addon", 'import "../../build/Release/cpu.node";', /entry\.js imports .*cpu\.node, which no browser has/],
])("a bundle fails if it contains %s", async (_, text, message) => {
  await expect(bundle(text)).rejects.toThrow(message);
});

test("the export of the package is the same module", () => {
  expect(entry.uba).toBe(schedule.uba);
  expect(Object.keys(entry)).toEqual(Object.keys(schedule));
});

/** Runs the text of a module in a separate process. Returns its output and the addons that it had loaded at its end. */
function run(text: string): { printed: string; addons: string[] } {
  const end = `
    process.report.excludeNetwork = true;
    const { sharedObjects } = process.report.getReport();
    console.log(JSON.stringify(sharedObjects.filter((file) => file.endsWith(".node"))));`;
  const options = { cwd: root, encoding: "utf8" } as const;
  const child = spawnSync(process.execPath, ["--input-type=module", "--eval", text + end], options);
  expect(child.stderr).toBe("");
  const lines = child.stdout.trimEnd().split("\n");
  return { addons: JSON.parse(lines.pop() as string), printed: lines.join("\n") };
}

test("no addon is loaded in Node", () => {
  const options = { budget: 10, maxLr: 0.5, phi: 3 };
  const { printed, addons } = run(`
    const { tabulate, uba } = await import("stepsize/schedule");
    console.log(JSON.stringify([...tabulate(uba(${JSON.stringify(options)}))]));`);
  expect(JSON.parse(printed)).toEqual([...schedule.tabulate(schedule.uba(options))]);
  expect(addons).toEqual([]);
  // The same check of a program that loads an addon, to show that the check works.
  const { addons: withDevice } = run(`
    const { openDevice } = await import("stepsize");
    await (await openDevice("cpu")).close();`);
  expect(withDevice).toEqual([expect.stringMatching(/cpu\.node$/)]);
});
