import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { endingSignals } from "#lib/cli/interrupts.js";
import { uba } from "#lib/schedule/index.js";
import { root } from "./support/examples.js";

const page = readFileSync(join(root, "docs/runs.md"), "utf8");

/** A number in the format of the page: three digits, no exponent above 1e-6. */
const shown = (rate: number) => (rate < 1e-6 ? rate.toExponential(2) : rate.toPrecision(3));

describe("docs/runs.md", () => {
  test("the rates at the seam are those of the schedule", () => {
    const [table = ""] = page.split("<!-- rates at the seam -->")[1]?.split("<!-- end -->") ?? [];
    const rows = table.split("\n").filter((line) => /^\| \d/.test(line));
    expect(rows).toHaveLength(4);
    for (const row of rows) {
      const [steps = "", ...rates] = row
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim());
      const step = Number(steps);
      const expected = [1, 5].flatMap((phi) => [
        shown(uba({ budget: 600, maxLr: 0.01, phi })(step - 1)),
        shown(uba({ budget: 1200, maxLr: 0.01, phi })(step)),
      ]);
      expect(rates).toEqual(expected);
    }
  });

  test("the signals that it names are caught", () => {
    const named = new Set(page.match(/SIG[A-Z0-9]+/g));
    named.delete("SIGKILL");
    expect([...named].filter((signal) => !(endingSignals as readonly string[]).includes(signal))).toEqual([]);
  });

  test("the README links to the page", () => {
    expect(existsSync(join(root, "docs/runs.md"))).toBe(true);
    expect(readFileSync(join(root, "README.md"), "utf8")).toContain("](docs/runs.md)");
  });
});
