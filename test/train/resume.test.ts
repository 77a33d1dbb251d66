import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { cpuDevices } from "../support/devices.js";
import { temporaryFolders } from "../support/folders.js";
import {
  budget,
  device,
  dropping,
  endOf,
  images,
  lossesOf,
  lowPrecision,
  recordsOf,
  residual,
} from "./support/runs.js";

const folder = temporaryFolders();

describe.each([residual, dropping, lowPrecision])(
  "a resumed run has the same bits as an uninterrupted one: $title",
  ({ make }) => {
    // One run has 5 batches per epoch, the other 10 with 3 per step. These stops are at the start, inside an epoch and
    // between two epochs.
    const stops = [0, 1, 4, 7, 10];

    it.each(cpuDevices)("stopped at step 0, 1, 4, 7 or 10 ($label)", async ({ options }) => {
      const undisturbed = make(await device(options));
      const losses = lossesOf(await recordsOf(undisturbed.trainer));
      const end = await endOf(undisturbed);
      for (const k of stops) {
        const path = join(folder(), "run", `${k}.safetensors`);
        const first = make(await device(options), { budget: Math.max(1, k) });
        const before = k > 0 ? lossesOf(await recordsOf(first.trainer)) : [];
        await first.trainer.save(path);
        await first.data.close();

        // As in a new process: another device, other weights, a new optimizer, data from the start.
        const second = make(await device(options), { seed: 99 });
        await second.trainer.load(path);
        expect(second.trainer.step).toBe(k);
        const records = await recordsOf(second.trainer);
        expect(records[0]?.step).toBe(k);
        expect([...before, ...lossesOf(records)]).toEqual(losses);
        expect(await endOf(second)).toEqual(end);
        await second.data.close();
      }
      await undisturbed.data.close();
    });

    it("loaded into a trainer that has already trained", async () => {
      const path = join(folder(), "start.safetensors");
      const run = make(await device());
      await run.trainer.save(path);
      const losses = lossesOf(await recordsOf(run.trainer));
      const end = await endOf(run);
      await run.trainer.load(path);
      expect(lossesOf(await recordsOf(run.trainer))).toEqual(losses);
      expect(await endOf(run)).toEqual(end);
    });

    it("saving and loading a checkpoint again gives the same checkpoint and does not change training", async () => {
      const [one, two] = [join(folder(), "1.safetensors"), join(folder(), "2.safetensors")];
      const undisturbed = make(await device());
      const losses = lossesOf(await recordsOf(undisturbed.trainer));
      const run = make(await device());
      const saved: number[] = [];
      for await (const { loss } of run.trainer.run()) {
        saved.push(loss);
        await run.trainer.save(one);
      }
      expect(saved).toEqual(losses);
      await run.trainer.load(one);
      await run.trainer.save(two);
      expect(readFileSync(two).equals(readFileSync(one))).toBe(true);
    });

    it("with a longer budget", async () => {
      const path = join(folder(), "end.safetensors");
      const longer = make(await device(), { budget: budget + 3 });
      const losses = lossesOf(await recordsOf(longer.trainer));
      const first = make(await device());
      await recordsOf(first.trainer);
      await first.trainer.save(path);
      const second = make(await device(), { seed: 99, budget: budget + 3 });
      await second.trainer.load(path);
      expect(lossesOf(await recordsOf(second.trainer))).toEqual(losses.slice(budget));
    });
  },
);

it("a resumed run has the same running statistics of batch norm, and therefore the same evaluation", async () => {
  const path = join(folder(), "statistics.safetensors");
  const first = residual.make(await device());
  await recordsOf(first.trainer);
  await first.trainer.save(path);
  const second = residual.make(await device(), { seed: 99 });
  const other = await second.trainer.evaluate(images.batches({ size: 20 }));
  await second.trainer.load(path);
  const expected = await first.trainer.evaluate(images.batches({ size: 20 }));
  expect(await second.trainer.evaluate(images.batches({ size: 20 }))).toEqual(expected);
  expect(other).not.toEqual(expected);
});
