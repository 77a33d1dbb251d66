import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { PhiloxStream, Purpose } from "#lib/random.js";
import { temporaryFolders } from "../support/folders.js";
import { corpus, description, idBytes } from "./support/corpus.js";
import { data } from "./support/data.js";

const folder = temporaryFolders();

// More ids than 2³², in a file of holes, which takes no space.
const tokens = 6_000_000_000;
const context = 32;

it("only the windows of a file of 12 GB are read, and memory does not grow", async () => {
  const split = { documents: 1, tokens, bytes: tokens, digest: "x" };
  const path = corpus(folder(), { "tokens.json": JSON.stringify({ ...description, splits: { train: split } }) });
  const file = openSync(join(path, "train.tokens"), "w");
  ftruncateSync(file, 2 * tokens);
  const startOf = (window: number) => new PhiloxStream(0, window, Purpose.window).integer(tokens - context);
  // Each of the first windows says which it is.
  const first = Array.from({ length: 24 }, (_, window) => window);
  expect(Math.max(...first.map(startOf))).toBeGreaterThan(2 ** 32);
  for (const window of first) writeSync(file, idBytes("uint16", [window + 1]), 0, 2, 2 * startOf(window));
  closeSync(file);

  const text = await data.tokens(path, { context });
  expect([text.tokens, text.length]).toEqual([tokens, Math.floor((tokens - 1) / context)]);
  const source = text.batches({ size: 8 });
  try {
    const seen: number[] = [];
    let [before, drawn] = [0, 0];
    for await (const { inputs } of source.from(0)) {
      if (drawn < 3) for (let item = 0; item < 8; item++) seen.push(inputs.data[item * context]!);
      drawn += 1;
      if (drawn === 100) before = process.memoryUsage().rss;
      if (drawn === 1000) break;
    }
    expect(seen).toEqual(first.map((window) => window + 1));
    // The collector's own rhythm is within it, and a two-hundredth of the file would not be.
    expect(process.memoryUsage().rss - before).toBeLessThan(48 * 2 ** 20);
  } finally {
    await source.close();
  }
});
