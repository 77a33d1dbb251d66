// Like the schedules, their theory must work on a web page.
import { expect, test } from "vitest";
import * as theory from "#lib/schedule/theory/index.js";
import { bundle, evaluate } from "../support/bundle.js";

test("the theory needs nothing but the language", async () => {
  const made = await bundle('export * from "stepsize/theory";');
  expect(made.files).toContain("dist/schedule/theory/index.js");
  expect(
    made.files.filter(
      (file) =>
        !/^dist\/(schedule\/[\w/-]+|allocate|arguments|errors|lookup|options|nearest|quoting|realms)\.js$/.test(file),
    ),
  ).toEqual([]);
  // The bundle has 20 kB with the names of the schedules' options, and includes no library.
  expect(made.code.length).toBeLessThan(24_000);

  const inBrowser = evaluate<typeof theory>(made);
  expect(Object.keys(inBrowser).sort()).toEqual(Object.keys(theory).sort());
  const problem = { curvature: [1, 50], budget: 8, maxLr: 0.2 } as const;
  const [there, here] = [inBrowser.minimax(problem), theory.minimax(problem)];
  expect([...there.steps]).toEqual([...here.steps]);
  expect(JSON.stringify(inBrowser.suggest(problem))).toBe(JSON.stringify(theory.suggest(problem)));
});
