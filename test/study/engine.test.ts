import { getEventListeners } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openDevice } from "#lib/native/index.js";
import {
  completeStudy,
  type EngineOptions,
  type RunRecord,
  readRecords,
  runStudy,
  StudyFolder,
  type StudyListener,
  type TrainingStudy,
} from "#lib/study/index.js";
import { type PlannedRun, planOf } from "#lib/study/plan.js";
import { makeRun, type RunEnvironment } from "#lib/study/study-run.js";
import { openTask, type Task } from "#lib/tasks/index.js";
import { readCheckpoint } from "#lib/weights/index.js";
import { classCount, testItems, tinyData } from "../cli/support/tiny-data.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";

const folders = temporaryFolders();
const data = tinyData(folders());

const given = {
  models: ["mlp"],
  data: [{ source: `idx:${data}`, name: "tiny", classes: classCount }],
  validation: 0.25,
  batch: 16,
  steps: 24,
  budgets: [0.5, 1],
  optimizers: [{ name: "sgd", peakLearningRates: [0.002, 0.02], uba: { peakLearningRates: [0.002, 0.02], phi: [2] } }],
  schedules: ["linear", "one-cycle", "uba"],
  extensions: 1,
  finalSeeds: [1, 2, 3],
  evaluations: 3,
};
const study = completeStudy(given) as TrainingStudy;

class Listener implements StudyListener {
  readonly notes: string[] = [];
  readonly finished: string[] = [];
  left: (number | undefined)[] = [];
  onStep: (step: number) => void = () => {};
  started() {}
  runStarted() {}
  step(_: PlannedRun, step: number) {
    this.onStep(step);
  }
  runFinished(run: PlannedRun, _: RunRecord, { left }: { left: number }) {
    this.finished.push(run.id);
    this.left.push(left);
  }
  note(message: string) {
    this.notes.push(message);
  }
}

let folder: StudyFolder;
let listener: Listener;
beforeEach(() => {
  folder = new StudyFolder(folders());
  listener = new Listener();
});

const work = (options: Partial<EngineOptions> = {}, of = study) =>
  runStudy(of, {
    folder,
    device: "cpu",
    threads: 1,
    signal: new AbortController().signal,
    version: "0.1.0",
    listener,
    ...options,
  });

/** What must not depend on how often the study was stopped. */
async function numbersIn(at: StudyFolder): Promise<object[]> {
  const { records } = await readRecords(at.runs);
  return [...records.values()].map(({ seconds: _, ...record }) => record);
}

describe("an uninterrupted study", () => {
  let whole: StudyFolder;
  let records: RunRecord[];
  const progress = new Listener();

  beforeAll(async () => {
    whole = new StudyFolder(folders());
    expect(await work({ folder: whole, listener: progress })).toEqual({ complete: true });
    records = [...(await readRecords(whole.runs)).records.values()];
  });

  const finals = () => records.filter(({ run }) => run.purpose === "final");

  test("has a record of every run, and no outstanding run", async () => {
    expect(
      planOf(study, new Map(records.map((record) => [record.id, record]))).flatMap((plan) => plan.outstanding),
    ).toEqual([]);
    expect(finals()).toHaveLength(2 * 3 * 3);
    expect(progress.left.at(-1)).toBe(0);
    const again = new Listener();
    expect(await work({ folder: whole, listener: again })).toEqual({ complete: true });
    expect(again.finished).toEqual([]);
    expect(existsSync(join(whole.path, "running"))).toBe(false);
  });

  test("has the same initial weights and the same first batch for all schedules with one seed", () => {
    for (const seed of study.finalSeeds) {
      const firstLosses = finals()
        .filter(({ run }) => run.seed === seed)
        .map(({ curve }) => curve.loss[0]);
      expect(firstLosses).toHaveLength(6);
      expect(new Set(firstLosses).size).toBe(1);
    }
    expect(new Set(finals().map(({ curve }) => curve.loss[0])).size).toBe(3);
  });

  test("has the curves and evaluations of its runs", () => {
    for (const { steps, curve, onTheWay, run, validation, test: tested, trainLoss } of finals()) {
      expect(steps).toBe(run.schedule["budget"]);
      expect(curve.step).toEqual(Array.from({ length: steps }, (_, i) => i));
      expect(curve.loss).toHaveLength(steps);
      expect(onTheWay?.map(([at]) => at)).toEqual([steps / 3, (2 * steps) / 3]);
      for (const result of [validation, tested]) {
        expect(result?.loss).toBeGreaterThan(0);
        expect(result?.accuracy).toBeGreaterThanOrEqual(0);
      }
      expect((tested?.accuracy as number) * testItems).toBeCloseTo(
        Math.round((tested?.accuracy as number) * testItems),
        9,
      );
      expect(trainLoss).toBeGreaterThan(0);
    }
    for (const { run, test: tested, onTheWay } of records)
      if (run.purpose === "tuning") expect([tested, onTheWay]).toEqual([undefined, undefined]);
  });

  test("has the same records as one that is stopped repeatedly, also within runs", async () => {
    for (let stops = 0; ; stops++) {
      const stop = new AbortController();
      const stopping = new Listener();
      // Somewhere in the next run, later each time.
      let steps = 0;
      stopping.onStep = () => {
        if (++steps === 5 + stops) stop.abort(new Error("stop"));
      };
      try {
        expect(await work({ listener: stopping, signal: stop.signal })).toEqual({ complete: true });
        expect(stops).toBeGreaterThan(10);
        break;
      } catch (error) {
        expect((error as Error).message).toBe("stop");
      }
    }
    expect(await numbersIn(folder)).toEqual(await numbersIn(whole));
  });

  test("is not started if its signal is already aborted", async () => {
    const sources = new Map([["tiny", "idx:no/such/folder"]]);
    const signal = AbortSignal.abort(new Error("before"));
    await expect(work({ signal, sources })).rejects.toThrow("before");
    expect(existsSync(folder.runs)).toBe(false);
  });

  test("has the same records as one with a checkpoint after every step", async () => {
    await work({ checkpointEvery: 0 });
    expect(readdirSync(join(folder.path, "running"))).toEqual([]);
    expect(await numbersIn(folder)).toEqual(await numbersIn(whole));
  });

  test("is completed from a part of its records", async () => {
    const lines = readFileSync(whole.runs, "utf8").split("\n");
    writeFileSync(folder.runs, `${lines.slice(0, 15).join("\n")}\n${lines[15]?.slice(0, 99)}`);
    await work();
    expect(listener.notes[0]).toContain("set aside");
    expect(listener.finished).toHaveLength(records.length - 15);
    expect(await numbersIn(folder)).toEqual(await numbersIn(whole));
  });

  test("does not continue on other data of the same name", async () => {
    const other = tinyData(folders());
    const images = join(other, "t10k-images-idx3-ubyte");
    const bytes = readFileSync(images);
    bytes[100] = (bytes[100] as number) ^ 1;
    writeFileSync(images, bytes);
    writeFileSync(folder.runs, `${readFileSync(whole.runs, "utf8").split("\n")[0]}\n`);
    await expectError(
      () => work({ sources: new Map([["tiny", `idx:${other}`]]) }),
      "invalid-state",
      "tiny",
      "other data",
      "another folder",
    );
    expect(listener.finished).toEqual([]);
  });

  test("continues on the same data at another path", async () => {
    writeFileSync(folder.runs, readFileSync(whole.runs));
    await work(
      { sources: new Map([["tiny", `idx:${tinyData(folders())}`]]) },
      completeStudy({ ...given, finalSeeds: [1, 2, 4] }) as TrainingStudy,
    );
    expect(listener.finished).toHaveLength(6);
  });
});

describe("parts of a study", () => {
  test("can be run separately: the tuning, then the final runs", async () => {
    await work({ only: "final" });
    expect(listener.finished).toEqual([]);
    expect(listener.notes.join()).toContain("2 of the comparisons are not tuned yet");
    await work({ only: "tuning" });
    const purposes = async () => [...(await readRecords(folder.runs)).records.values()].map(({ run }) => run.purpose);
    expect(new Set(await purposes())).toEqual(new Set(["tuning"]));
    const tuned = listener.finished.length;
    await work({ only: "final" });
    expect(listener.finished.length - tuned).toBe(18);
  });

  test("are limited in time: no run is started after the limit, and a started run is finished", async () => {
    expect(await work({ maxSeconds: 1e-9 })).toEqual({ complete: false });
    expect(listener.finished).toHaveLength(0);
    let runs = 0;
    while (!(await work({ maxSeconds: 0.05 })).complete && runs < 60) runs++;
    expect(runs).toBeGreaterThan(0);
    expect((await readRecords(folder.runs)).damaged).toEqual([]);
  });
});

describe("settings that do not fit are refused before the first run", () => {
  test.each<[string, object, ...string[]]>([
    [
      "a model for other data",
      { models: ["mlp"], data: [{ source: `idx:${data}`, name: "tiny", classes: 2 }] },
      "invalid-file",
      "label",
    ],
    [
      "a batch larger than the data",
      { batch: 1000 },
      "invalid-argument",
      "at most 72, the number of training items of tiny",
      "1000",
    ],
    ["a context for images", { data: [{ source: `idx:${data}`, context: 8 }] }, "invalid-argument", "context"],
    ["missing data", { data: [`idx:${data}/none`] }, "not-found", "none"],
  ])("%s", async (_, change, code, ...words) => {
    await expectError(
      () => work({}, completeStudy({ ...given, ...change }) as TrainingStudy),
      code as string,
      ...words,
    );
    expect(existsSync(folder.runs)).toBe(false);
  });
});

describe("one run", () => {
  const run = planOf(study, new Map())[1]?.outstanding[0] as PlannedRun;
  const final: PlannedRun = { ...run, spec: { ...run.spec, purpose: "final", seed: 1 } };
  const opened = Promise.all([
    openTask(`idx:${data}`, { classes: classCount, validation: { share: 0.25, seed: 0 } }),
    openDevice("cpu", { threads: 1 }),
  ]);

  async function environment(more: Partial<RunEnvironment> = {}): Promise<RunEnvironment> {
    const [task, device] = await opened;
    return {
      task,
      device,
      fingerprint: "f",
      version: "v",
      checkpoint: folder.running(run.id),
      checkpointEvery: 60,
      evaluations: 3,
      signal: new AbortController().signal,
      note: (message) => listener.notes.push(message),
      onStep: () => {},
      ...more,
    };
  }

  /** Stops after some steps, with a checkpoint. */
  async function stopped(after: number): Promise<void> {
    const stop = new AbortController();
    const onStep = (step: number) => step + 1 === after && stop.abort(new Error("stop"));
    await expect(environment({ signal: stop.signal, onStep }).then((env) => makeRun(final, env))).rejects.toThrow(
      "stop",
    );
    expect(existsSync(folder.running(run.id))).toBe(true);
  }

  const withoutTime = ({ seconds: _, ...record }: RunRecord) => record;

  test("reads the test split once, after its last step, or never if it is a trial", async () => {
    const [task] = await opened;
    const evaluated: string[] = [];
    let steps = 0;
    const watched: Task = Object.assign(Object.create(task), {
      evaluationBatches: (split: "test", maxItems?: number) => {
        evaluated.push(`${split} after ${steps}`);
        return task.evaluationBatches(split, maxItems);
      },
      trainingBatches: task.trainingBatches.bind(task),
      modelConfig: task.modelConfig.bind(task),
      card: task.card.bind(task),
    });
    const onStep = (step: number) => {
      steps = step + 1;
    };
    await makeRun(final, await environment({ task: watched, onStep }));
    expect(evaluated).toEqual(["validation after 8", "validation after 16", "validation after 24", "test after 24"]);
    evaluated.length = 0;
    await makeRun(run, await environment({ task: watched, onStep }));
    expect(evaluated).toEqual(["validation after 24"]);
  });

  test("has the same record whenever it is stopped, also directly at an evaluation and after the last step", async () => {
    const whole = withoutTime(await makeRun(final, await environment()));
    for (const after of [1, 7, 8, 9, 16, 23, 24]) {
      folder = new StudyFolder(folders());
      await stopped(after);
      expect(withoutTime(await makeRun(final, await environment())), `stopped after ${after}`).toEqual(whole);
    }
    expect(listener.notes).toEqual([]);
  });

  test.each<[string, (checkpoint: string) => void]>([
    ["is truncated", (checkpoint) => truncateSync(checkpoint, 500)],
    ["is empty", (checkpoint) => truncateSync(checkpoint, 0)],
    [
      "has lost its losses",
      (checkpoint) => writeFileSync(`${checkpoint}.json`, '{"losses":[1],"onTheWay":[],"seconds":1}'),
    ],
    ["has half of its losses", (checkpoint) => truncateSync(`${checkpoint}.json`, 30)],
  ])("is repeated if its checkpoint %s, which is set aside with a message", async (_, damage) => {
    const whole = withoutTime(await makeRun(final, await environment()));
    await stopped(10);
    const checkpoint = folder.running(run.id);
    damage(checkpoint);
    const steps: number[] = [];
    const record = await makeRun(final, await environment({ onStep: (step) => steps.push(step) }));
    expect(withoutTime(record)).toEqual(whole);
    expect(steps[0]).toBe(0);
    expect(listener.notes).toHaveLength(1);
    expect(listener.notes[0]).toMatch(/set aside as .*\.damaged-\d+; the run starts again/);
    expect(readdirSync(join(checkpoint, "..")).filter((name) => name.includes(".damaged-"))).toHaveLength(2);
  });

  test("continues from the older checkpoint if it was killed between the two files of a checkpoint", async () => {
    const whole = withoutTime(await makeRun(final, await environment()));
    await stopped(7);
    const checkpoint = readFileSync(folder.running(run.id));
    await stopped(15);
    writeFileSync(folder.running(run.id), checkpoint);
    const steps: number[] = [];
    const record = await makeRun(final, await environment({ onStep: (step) => steps.push(step) }));
    expect(withoutTime(record)).toEqual(whole);
    expect(steps[0]).toBeLessThan(12);
    expect(listener.notes).toEqual([]);
  });

  test("has a checkpoint of all finished steps after an error, and then the same record", async () => {
    const whole = withoutTime(await makeRun(final, await environment()));
    for (const at of [1, 9, 15]) {
      folder = new StudyFolder(folders());
      const onStep = (step: number) => {
        if (step === at) throw new Error("on the way");
      };
      await expect(environment({ onStep }).then((env) => makeRun(final, env))).rejects.toThrow("on the way");
      const { step } = (await readCheckpoint(folder.running(run.id))).info;
      expect(step).toBeGreaterThan(at);
      expect(JSON.parse(readFileSync(`${folder.running(run.id)}.json`, "utf8")).losses).toHaveLength(step);
      expect(withoutTime(await makeRun(final, await environment())), `after step ${at}`).toEqual(whole);
    }
    expect(listener.notes).toEqual([]);
  });

  test("leaves no listener on its signal", async () => {
    const { signal } = new AbortController();
    await makeRun(final, await environment({ signal }));
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  test("continues from its checkpoint and not from the start", async () => {
    await stopped(10);
    const steps: number[] = [];
    await makeRun(final, await environment({ onStep: (step) => steps.push(step) }));
    expect(steps[0]).toBeGreaterThanOrEqual(10);
    expect(steps.at(-1)).toBe(23);
  });

  test("gives a record if it diverges", async () => {
    const wild = planOf(
      completeStudy({
        ...given,
        peakLearningRates: [1e25, 1e30],
        optimizers: [{ name: "sgd", uba: { peakLearningRates: [1, 2], phi: [2] } }],
      }) as TrainingStudy,
      new Map(),
    );
    const record = await makeRun(wild[1]?.outstanding[0] as PlannedRun, await environment());
    expect(record).toMatchObject({ status: "diverged", trainLoss: null });
    expect(record).not.toHaveProperty("validation");
    expect(record.steps).toBeLessThan(24);
    // The record is read back unchanged.
    mkdirSync(folder.path, { recursive: true });
    writeFileSync(folder.runs, `${JSON.stringify(record)}\n`);
    expect((await readRecords(folder.runs)).records.get(record.id)).toEqual(record);
  });

  test("leaves no memory on the device behind", async () => {
    const env = await environment();
    await makeRun(final, env);
    const before = env.device.memory();
    for (let again = 0; again < 3; again++) await makeRun(final, env);
    expect(env.device.memory()).toMatchObject({ allocated: before.allocated, tensors: before.tensors });
  });
});
