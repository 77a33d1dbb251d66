// Whatever happens after step k, in the loop or by an option of the run, uses the state after step k. The expected
// state is that of a plain run that pauses there.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Evaluation, RunOptions, StepRecord, Trainer } from "#lib/train/index.js";
import { readCheckpoint } from "#lib/weights/index.js";
import { cudaDevices, openAll } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { budget, device, dropping, endOf, images, lowPrecision, type Run, residual } from "./support/runs.js";

const folder = temporaryFolders();
const on = await device();
const opened = [{ label: "cpu", device: on }, ...(await openAll({}, cudaDevices))];
const test = images.batches({ size: 40, shuffle: false });

/** All modes of a run. The mode must not change the results. */
const modes: RunOptions[] = [{}, { capture: true }, { runAhead: true }, { capture: true, runAhead: true }];
const titled = (mode: RunOptions) => Object.keys(mode).join(" and ") || "plain";
const exactModes = modes.filter(({ runAhead }) => !runAhead).map((mode) => ({ mode, title: titled(mode) }));
const aheadModes = modes.filter(({ runAhead }) => runAhead).map((mode) => ({ mode, title: titled(mode) }));
const allModes = [...exactModes, ...aheadModes];

async function recordsOf(trainer: Trainer, options: RunOptions = {}): Promise<StepRecord[]> {
  const records: StepRecord[] = [];
  for await (const record of trainer.run(options)) records.push(record);
  return records;
}

/** The state and the evaluation after every number of steps. */
async function statesOf({ trainer, ...parts }: Run) {
  const states: { end: Awaited<ReturnType<typeof endOf>>; evaluation: Evaluation }[] = [];
  const records: StepRecord[] = [];
  for (let until = 0; until <= budget; until++) {
    records.push(...(await recordsOf(trainer, { until })));
    states.push({ end: await endOf(parts), evaluation: await trainer.evaluate(test) });
  }
  return { states, records };
}

describe.each([residual, dropping, lowPrecision])("$title", ({ make }) => {
  // The residual network takes a minute and a half on the emulator.
  const devices = make === dropping.make ? opened : opened.slice(0, 1);
  describe.each(devices)("on $label", ({ device: here }) => {
    it("the loop body and the options see the state after the record's step in every mode", async () => {
      const { states, records } = await statesOf(make(here));
      for (const mode of modes) {
        const run = make(here);
        const seen: StepRecord[] = [];
        const called: number[] = [];
        const path = (step: number) => join(place, `${step}.safetensors`);
        const place = folder();
        const options: RunOptions = {
          ...mode,
          evaluateEvery: { steps: 4, data: test },
          checkpointEvery: { steps: [3, 8], path },
          onStep: {
            steps: [1, 6, 8],
            callback: async ({ step, evaluation }) => {
              called.push(step);
              expect(run.trainer.step).toBe(step + 1);
              expect(await endOf(run)).toEqual(states[step + 1]?.end);
              expect(evaluation).toEqual(step === 7 ? states[8]?.evaluation : undefined);
            },
          },
        };
        for await (const record of run.trainer.run(options)) {
          const { step } = record;
          seen.push(record);
          // The file is written after the body has finished with the record.
          if (step === 2) expect(existsSync(path(3))).toBe(false);
          if (step === 3) expect(existsSync(path(3))).toBe(true);
          const exact = !mode.runAhead || [1, 3, 4, 6, 8, 12].includes(step + 1);
          if (exact) expect(run.trainer.step).toBe(step + 1);
          if (exact) expect(await endOf(run)).toEqual(states[step + 1]?.end);
        }
        expect(called).toEqual([0, 5, 7]);
        const evaluated = (record: StepRecord) =>
          [3, 7, 11].includes(record.step)
            ? { ...record, evaluation: states[record.step + 1]?.evaluation, best: expect.any(Boolean) }
            : record;
        expect(seen).toEqual(records.map(evaluated));
        expect(await endOf(run)).toEqual(states[budget]?.end);
        for (const step of [3, 8]) {
          expect((await readCheckpoint(path(step))).info.step).toBe(step);
          const other = make(here, { seed: 99 });
          await other.trainer.load(path(step));
          expect(await endOf(other)).toEqual(states[step]?.end);
        }
      }
    });
  });
});

describe.each(exactModes)("in a loop body ($title)", ({ mode }) => {
  it.each(["break", "stop", "throw"])(
    "%s ends the run after the record's step, and a later run continues from there",
    async (how) => {
      const { states, records } = await statesOf(dropping.make(on));
      const run = dropping.make(on);
      const loop = async () => {
        for await (const { step } of run.trainer.run(mode)) {
          if (step !== 5) continue;
          if (how === "break") break;
          if (how === "throw") throw new Error("left");
          run.trainer.stop();
        }
      };
      await (how === "throw" ? expect(loop()).rejects.toThrow("left") : loop());
      expect(run.trainer.step).toBe(6);
      expect(await endOf(run)).toEqual(states[6]?.end);
      const path = join(folder(), "six.safetensors");
      await run.trainer.save(path);
      const other = dropping.make(on, { seed: 99 });
      await other.trainer.load(path);
      for (const each of [run, other]) {
        expect(await recordsOf(each.trainer, mode)).toEqual(records.slice(6));
        expect(await endOf(each)).toEqual(states[budget]?.end);
      }
    },
  );

  it("evaluate and save use the record's step, even if the loop continues", async () => {
    const { states, records } = await statesOf(residual.make(on));
    const run = residual.make(on);
    const place = folder();
    const evaluations: Promise<Evaluation>[] = [];
    const saves: Promise<void>[] = [];
    const seen: StepRecord[] = [];
    for await (const record of run.trainer.run(mode)) {
      seen.push(record);
      // Not awaited: the next step waits for the evaluation, because it switches the model's mode.
      evaluations.push(run.trainer.evaluate(test));
      saves.push(run.trainer.save(join(place, `${record.step + 1}.safetensors`)));
    }
    expect(seen).toEqual(records);
    expect(await Promise.all(evaluations)).toEqual(states.slice(1).map(({ evaluation }) => evaluation));
    await Promise.all(saves);
    const other = residual.make(on, { seed: 99 });
    for (let step = 1; step <= budget; step++) {
      await other.trainer.load(join(place, `${step}.safetensors`));
      expect(other.trainer.step).toBe(step);
      expect(await endOf(other)).toEqual(states[step]?.end);
    }
  });

  it.each(["awaited", "not awaited"])(
    "load continues with the batches and records after the checkpoint (%s)",
    async (how) => {
      for (const { make } of [residual, dropping]) {
        const { states, records } = await statesOf(make(on));
        const run = make(on);
        const path = join(folder(), "three.safetensors");
        const seen: StepRecord[] = [];
        let loading: Promise<void> | undefined;
        for await (const record of run.trainer.run(mode)) {
          seen.push(record);
          if (record.step === 2) await run.trainer.save(path);
          if (record.step !== 7 || loading) continue;
          loading = run.trainer.load(path);
          if (how === "awaited") await loading;
        }
        await loading;
        expect(seen).toEqual([...records.slice(0, 8), ...records.slice(3)]);
        expect(await endOf(run)).toEqual(states[budget]?.end);
      }
    },
  );

  it("a forward pass in the loop body does not change later training", async () => {
    const { records } = await statesOf(dropping.make(on));
    const run = dropping.make(on);
    const seen: StepRecord[] = [];
    for await (const record of run.trainer.run(mode)) {
      seen.push(record);
      // The model is left in evaluation mode and with gradients.
      run.model.eval();
      for (const parameter of run.model.parameters()) parameter.grad ??= parameter.detach();
    }
    expect(seen).toEqual(records);
  });
});

describe.each(aheadModes)("with runAhead ($title)", ({ mode }) => {
  it("a run refuses calls that would use later weights, and names the option to use instead", async () => {
    const { records } = await statesOf(residual.make(on));
    const { trainer } = residual.make(on);
    const path = join(folder(), "none.safetensors");
    const seen: StepRecord[] = [];
    for await (const record of trainer.run(mode)) {
      seen.push(record);
      if (record.step !== 4) continue;
      expect(trainer.step).toBeGreaterThan(5);
      const words = [`record is that of step 4`, `has made ${trainer.step} steps`, "runAhead"];
      await expectError(() => trainer.evaluate(test), "invalid-state", "evaluate", "evaluateEvery", ...words);
      await expectError(() => trainer.save(path), "invalid-state", "save", "checkpointEvery", ...words);
      await expectError(() => trainer.load(path), "invalid-state", "load", "onStep", ...words);
    }
    expect(existsSync(path)).toBe(false);
    expect(seen).toEqual(records);
  });

  it.each(["break", "stop"])("%s ends the run later, and the trainer reports the step", async (how) => {
    const { states, records } = await statesOf(residual.make(on));
    const run = residual.make(on);
    const seen: StepRecord[] = [];
    for await (const record of run.trainer.run(mode)) {
      seen.push(record);
      if (record.step !== 4) continue;
      if (how === "break") break;
      run.trainer.stop();
    }
    const { step } = run.trainer;
    expect(seen).toEqual(records.slice(0, how === "break" ? 5 : step));
    expect(await endOf(run)).toEqual(states[step]?.end);
    expect(await recordsOf(run.trainer, mode)).toEqual(records.slice(step));
  });
});

describe.each(allModes)("a trainer ($title)", ({ mode }) => {
  it("allows one run at a time", async () => {
    const { records } = await statesOf(residual.make(on));
    const { trainer } = residual.make(on);
    const seen: StepRecord[] = [];
    // A run that has not begun does not block another one.
    trainer.run(mode);
    for await (const record of trainer.run(mode)) {
      seen.push(record);
      if (record.step === 3)
        await expectError(() => recordsOf(trainer, mode), "invalid-state", "run", "has not ended", "record of step 3");
    }
    expect(seen).toEqual(records);
    const iterator = residual.make(on).trainer;
    const two = await Promise.allSettled([recordsOf(iterator, mode), recordsOf(iterator, mode)]);
    expect(two[0]).toMatchObject({ status: "fulfilled", value: records });
    expect(two[1]).toMatchObject({ status: "rejected", reason: { code: "invalid-state" } });
  });

  it("refuses to load during a step", async () => {
    const run = residual.make(on);
    const path = join(folder(), "start.safetensors");
    await run.trainer.save(path);
    const running = recordsOf(run.trainer, mode);
    await expectError(() => run.trainer.load(path), "invalid-state", "load", "making a step");
    expect(await running).toHaveLength(budget);
  });
});
