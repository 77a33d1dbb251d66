// Like the schedules, their theory must stay fit for a web page.
import { expect, test } from "vitest";
import * as theory from "#lib/schedule/theory/index.js";
import { bundle, evaluate } from "../support/bundle.js";

test("the theory runs where there is nothing but the language", async () => {
  const made = await bundle('export * from "stepsize/theory";');
  expect(made.files).toContain("dist/schedule/theory/index.js");
  expect(
    made.files.filter(
      (file) => !/^dist\/(schedule\/[\w/-]+|allocate|arguments|errors|options|nearest|quoting|realms)\.js$/.test(file),
    ),
  ).toEqual([]);
  // 20 kB with what names the schedules' options; none of it is a library.
  expect(made.code.length).toBeLessThan(24_000);

  const inBrowser = evaluate<typeof theory>(made);
  expect(Object.keys(inBrowser).sort()).toEqual(Object.keys(theory).sort());
  const problem = { curvature: [1, 50], budget: 8, maxLr: 0.2 } as const;
  const [there, here] = [inBrowser.minimax(problem), theory.minimax(problem)];
  expect([...there.steps]).toEqual([...here.steps]);
  expect(JSON.stringify(inBrowser.suggest(problem))).toBe(JSON.stringify(theory.suggest(problem)));
});
