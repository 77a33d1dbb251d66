import { Writable } from "node:stream";
import { describe, expect, test } from "vitest";
import { showProgress, startBar } from "#lib/cli/output/progress.js";
import { duration, shellWord, short, table } from "#lib/cli/output/text.js";

/** A stand-in for standard error. */
class Recorder extends Writable {
  text = "";
  readonly isTTY: boolean;
  readonly columns = 100;

  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }

  override _write(chunk: unknown, _encoding: string, done: () => void): void {
    this.text += String(chunk);
    done();
  }
}

const record = (step: number) => ({ step, loss: 0.5, learningRate: 0.01, items: 32 });

describe("progress", () => {
  test("on a terminal, one line is redrawn, notes are above it, and the cursor is restored", async () => {
    const stream = new Recorder(true);
    const progress = await showProgress(10, 2, stream);
    progress.step(record(4));
    progress.note("a note");
    progress.step(record(9));
    progress.close();
    expect(stream.text).toContain(" 10/10  loss 0.5000  lr 0.01  ");
    expect(stream.text).toContain("\r\x1b[Ka note\n");
    expect(stream.text.indexOf("\x1b[?25l")).toBeGreaterThanOrEqual(0);
    expect(stream.text.lastIndexOf("\x1b[?25h")).toBeGreaterThan(stream.text.lastIndexOf("\x1b[?25l"));
    // What it goes back to at its end was remembered after the last note, and not above it.
    expect(stream.text.lastIndexOf("\x1b7")).toBeGreaterThan(stream.text.indexOf("a note"));
  });

  test("the text next to a bar is escaped, and the escape sequences of the bar are not", async () => {
    const stream = new Recorder(true);
    const bar = await startBar(10, 0, stream);
    bar.update(1, { state: "\x1b]0;title\x07\n" });
    bar.stop();
    expect(stream.text).toContain(" 1/10  \\u001b]0;title\\u0007\\n");
    expect(stream.text).not.toContain("\x07");
    expect(stream.text).toContain("\x1b[?25h");
  });

  test("elsewhere, a few whole lines are printed, always including the last step", async () => {
    const stream = new Recorder(false);
    const progress = await showProgress(1000, 0, stream);
    for (let step = 0; step < 1000; step++) progress.step(record(step));
    progress.note("a note");
    progress.close();
    const lines = stream.text.trimEnd().split("\n");
    expect(lines.length).toBeLessThan(5);
    expect(lines.at(-2)).toMatch(/^step 1000\/1000 {2}loss 0\.5000 {2}lr 0\.01 {2}[\d,]+ images\/s {2}0 s left$/);
    expect(lines.at(-1)).toBe("a note");
  });
});

test.each([
  [0, "0 s"],
  [0.25, "0.3 s"],
  [9.96, "10 s"],
  [59.4, "59 s"],
  [59.6, "1 min 00 s"],
  [125, "2 min 05 s"],
  [3600 * 3 + 600, "3 h 10 min"],
  [Number.NaN, "?"],
])("%d seconds are %s", (seconds, words) => {
  expect(duration(seconds)).toBe(words);
});

test.each([
  [0.01, "0.01"],
  [1.9e-8, "1.9e-8"],
  [1e-6, "1e-6"],
  [-1.2345e20, "-1.23e+20"],
  [0.123456, "0.1235"],
  [0, "0"],
])("%d is shortened to %s", (value, words) => {
  expect(short(value)).toBe(words);
});

test("words are quoted for a shell, and columns are aligned", () => {
  expect(shellWord("runs/1")).toBe("runs/1");
  expect(shellWord("my run's")).toBe("'my run'\\''s'");
  expect(
    table(
      [
        ["a", "1"],
        ["bcd", "200"],
      ],
      [1],
    ),
  ).toBe("a      1\nbcd  200");
});
