import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { JsonFault, maxJsonDepth, parseJson } from "#lib/json.js";

function faultOf(text: string, rules = {}): JsonFault {
  try {
    parseJson(text, rules);
  } catch (error) {
    if (error instanceof JsonFault) return error;
    throw error;
  }
  throw new Error(`was read: ${text}`);
}

describe("parseJson", () => {
  it("parses the output of JSON.stringify like JSON.parse", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom(undefined, 1, "\t"), (value, space) => {
        const text = JSON.stringify(value, undefined, space);
        expect(parseJson(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  it("refuses what JSON.parse refuses, and accepts nothing more", () => {
    const pieces = [
      "{",
      "}",
      "[",
      "]",
      ":",
      ",",
      '"a"',
      '"b"',
      "1",
      "-",
      "0",
      ".5",
      "e3",
      "true",
      "null",
      " ",
      "\n",
      '"\\u0',
      "x",
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 8 }), (parts) => {
        const text = parts.join("");
        let value: unknown;
        try {
          value = JSON.parse(text);
        } catch {
          expect(() => parseJson(text)).toThrow(JsonFault);
          return;
        }
        // JSON.parse keeps the last value of a repeated name, and parseJson refuses it.
        if (/("[ab]")\s*:.*\1\s*:/s.test(text)) return;
        expect(parseJson(text)).toEqual(value);
      }),
      { numRuns: 5000 },
    );
  });

  it.each([
    ["{", 1, "a name in quotation marks", "the end of the file"],
    ['{"a":1,}', 7, "a name in quotation marks", '"}"'],
    ['{"a":1,"a":2}', 7, "every name once", '"a" again'],
    ['{"a":1,"\\u0061":2}', 7, "every name once", '"a" again'],
    ["[1,]", 3, "a value of JSON", '"]"'],
    ["[1 2]", 3, '"]"', '"2"'],
    ["01", 1, "the end of the JSON", '"1"'],
    ['"a\nb"', 2, "control characters", '"\\n"'],
    ['"\\x"', 0, "JSON's escapes", "\\\\x"],
    ['"abc', 0, "quotation marks at both ends", "the end"],
    ["", 0, "a value of JSON", "the end of the file"],
    ["\ufeff{}", 0, "a value of JSON", "\\ufeff"],
  ])("reports where %j is wrong", (text, at, expected, found) => {
    const fault = faultOf(text);
    expect(fault.at).toBe(at);
    expect(fault.message).toContain(expected);
    expect(fault.message).toContain(found);
  });

  it("accepts nesting up to its limit and refuses any deeper nesting", () => {
    const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
    expect(parseJson(nested(maxJsonDepth))).toEqual(JSON.parse(nested(maxJsonDepth)));
    for (const depth of [maxJsonDepth + 1, 1_000_000])
      expect(faultOf(nested(depth)).message).toContain(`at most ${maxJsonDepth} levels`);
    expect(faultOf('{"a":'.repeat(100_000)).at).toBe(5 * maxJsonDepth);
  });

  it("accepts only plain digits for counts if requested", () => {
    expect(parseJson("[0, 12, 9007199254740993]", { plainCounts: true })).toEqual([0, 12, 9007199254740992]);
    for (const written of ["4.0", "4e0", "-0", "1E2"])
      expect(faultOf(`[${written}]`, { plainCounts: true }).message).toContain("digits alone");
    expect(parseJson("[-4, 0.5]", { plainCounts: true })).toEqual([-4, 0.5]);
  });

  it("treats __proto__ as an ordinary name", () => {
    const value = parseJson('{"__proto__": {"polluted": true}, "b": 1}') as Record<string, unknown>;
    expect(Object.keys(value)).toEqual(["__proto__", "b"]);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });
});
