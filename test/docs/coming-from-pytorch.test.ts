import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { names } from "#lib/schedule/index.js";
import { exampleFolder, examplesIn, root } from "./support/examples.js";

const page = readFileSync(join(root, "docs/coming-from-pytorch.md"), "utf8");

describe("docs/coming-from-pytorch.md", () => {
  const { output } = exampleFolder();

  test.each(examplesIn(page).map((text, i) => [i, text] as const))(
    "example %i prints the text of its comment",
    (_, text) => {
      const [, comment] = text.match(/console\.log\(.*\); \/\/ (.*)\n/) as string[];
      expect(output(text).trim()).toBe(comment);
    },
  );

  test("every schedule that the page names exists", () => {
    const named = [...page.matchAll(/by name `([\w-]+)`/g)].map(([, name]) => name as string);
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((name) => !names.includes(name))).toEqual([]);
  });

  test("the README links to the page", () => {
    expect(existsSync(join(root, "docs/coming-from-pytorch.md"))).toBe(true);
    expect(readFileSync(join(root, "README.md"), "utf8")).toContain("](docs/coming-from-pytorch.md)");
  });
});
