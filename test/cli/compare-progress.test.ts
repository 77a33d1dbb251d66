import { Writable } from "node:stream";
import { describe, expect, test } from "vitest";
import { CompareProgress } from "#lib/cli/commands/compare-progress.js";
import { completeStudy, type TrainingStudy } from "#lib/study/index.js";
import { type PlannedRun, planOf } from "#lib/study/plan.js";
import { divergedRecord, recordOf } from "../study/support/records.js";

/** Takes down what is written to it. */
class Screen extends Writable {
  text = "";
  readonly columns = 80;
  constructor(readonly isTTY: boolean) {
    super();
  }
  override _write(chunk: Buffer, _: string, done: () => void) {
    this.text += chunk;
    done();
  }
  cursorTo() {}
  clearLine() {}
}

const runs = planOf(completeStudy({ optimizers: ["sgd"] }) as TrainingStudy, new Map()).flatMap(
  (plan) => plan.outstanding,
);
const [first, second] = runs as [PlannedRun, PlannedRun];
const far = { done: 3, left: 7, secondsLeft: 600 };

describe("if the output is not a terminal", () => {
  test("there is one line at the start and one for each run, but none for a step", async () => {
    const screen = new Screen(false);
    const progress = new CompareProgress(screen);
    await progress.open();
    progress.started({ done: 2, left: 8, secondsLeft: undefined });
    progress.runStarted(first);
    progress.step(first, 0, 2.3);
    progress.runFinished(first, recordOf(first, 0.5), far);
    progress.runFinished(second, divergedRecord(second), { done: 10, left: 0, secondsLeft: 0 });
    progress.note("a note");
    progress.close();
    expect(screen.text.split("\n")).toEqual([
      "2 runs done, 8 to run",
      "[3/10] mlp mnist sgd 100 steps, tuning: step 0.05 seed 0: validation loss 0.5000, accuracy 66.67 %, 1.0 s  about 10 min 00 s left",
      "[10/10] mlp mnist sgd 100 steps, tuning: step 0.1 seed 0: diverged after 3 steps",
      "a note",
      "",
    ]);
  });
});

describe("on a terminal", () => {
  test("there is a bar of all runs, and the remaining time comes before the text that may be cut off", async () => {
    const screen = new Screen(true);
    const progress = new CompareProgress(screen);
    await progress.open();
    progress.started(far);
    progress.runStarted(first);
    progress.step(first, 41, 1.25);
    progress.runFinished(first, recordOf(first, 0.5), { ...far, done: 4, left: 6 });
    progress.close();
    expect(screen.text).toContain("3 runs done, 7 to run  about 10 min 00 s left");
    expect(screen.text).toContain("4/10  about 10 min 00 s left  step 42/100  loss 1.25  mlp mnist");
    expect(screen.text).not.toContain("[4/10]");
  });
});
