/**
 * A strict parser of JSON. Unlike `JSON.parse`, it rejects an object with two equal names, and limits the nesting, so
 * that recursive code can visit the value. It takes linear time and uses no API of Node.js.
 *
 * @module
 */
import { printable, quoted } from "./quoting.js";

/** An error in JSON text, with its position. */
export class JsonFault extends Error {
  override readonly name = "JsonFault";
  /** Index of the first character that is wrong. */
  readonly at: number;

  constructor(at: number, expected: string, found: string) {
    super(`expected ${expected}, found ${found}`);
    this.at = at;
  }
}

/** Largest nesting of arrays and objects. */
export const maxJsonDepth = 64;

/** Options of {@link parseJson}. */
export interface JsonRules {
  /** Whether whole numbers ≥ 0 must be written with digits alone, not as `4.0`, `4e0` or `-0`. Default false. */
  readonly plainCounts?: boolean;
}

/**
 * Parses JSON text.
 *
 * @throws JsonFault at the first wrong character, at a name that occurs twice, or if the nesting is too deep
 */
export function parseJson(text: string, { plainCounts = false }: JsonRules = {}): unknown {
  const scanner = new Scanner(text, plainCounts);
  const value = scanner.value(0);
  scanner.expectEnd();
  return value;
}

const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;

class Scanner {
  readonly #text: string;
  readonly #plainCounts: boolean;
  #at = 0;

  constructor(text: string, plainCounts: boolean) {
    this.#text = text;
    this.#plainCounts = plainCounts;
  }

  value(depth: number): unknown {
    this.#skipSpace();
    switch (this.#text.charCodeAt(this.#at)) {
      case 0x22:
        return this.#string();
      case 0x7b:
        return this.#object(this.#deeper(depth));
      case 0x5b:
        return this.#array(this.#deeper(depth));
      case 0x74:
        return this.#word("true", true);
      case 0x66:
        return this.#word("false", false);
      case 0x6e:
        return this.#word("null", null);
      default:
        return this.#number();
    }
  }

  expectEnd(): void {
    this.#skipSpace();
    if (this.#at < this.#text.length) this.#refuse("the end of the JSON");
  }

  #deeper(depth: number): number {
    if (depth === maxJsonDepth) this.#refuse(`nesting of at most ${maxJsonDepth} levels`, "more of it");
    this.#at++;
    return depth + 1;
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) this.#refuse("a value of JSON");
    this.#at += word.length;
    return value;
  }

  #object(depth: number): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    if (this.#takes("}")) return object;
    do {
      this.#skipSpace();
      const start = this.#at;
      if (this.#text[start] !== '"') this.#refuse("a name in quotation marks");
      const name = this.#string();
      if (Object.hasOwn(object, name)) throw new JsonFault(start, "every name once", `${quoted(name)} again`);
      this.#expect(":");
      const value = this.value(depth);
      // An assignment to `__proto__` would set the prototype of the object.
      if (name === "__proto__")
        Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
      else object[name] = value;
    } while (this.#takes(","));
    this.#expect("}");
    return object;
  }

  #array(depth: number): unknown[] {
    const array: unknown[] = [];
    if (this.#takes("]")) return array;
    do array.push(this.value(depth));
    while (this.#takes(","));
    this.#expect("]");
    return array;
  }

  #string(): string {
    const start = this.#at;
    let plain = true;
    for (let at = start + 1; at < this.#text.length; at++) {
      const unit = this.#text.charCodeAt(at);
      if (unit === 0x22) {
        this.#at = at + 1;
        if (plain) return this.#text.slice(start + 1, at);
        return this.#unescaped(start, at + 1);
      }
      if (unit === 0x5c) {
        plain = false;
        at++;
      } else if (unit < 0x20) {
        this.#at = at;
        this.#refuse("a text without control characters");
      }
    }
    throw new JsonFault(start, "a text with quotation marks at both ends", "the end of the file");
  }

  #unescaped(start: number, end: number): string {
    try {
      return JSON.parse(this.#text.slice(start, end));
    } catch {
      throw new JsonFault(start, "a text with JSON's escapes", quoted(this.#text.slice(start, end)));
    }
  }

  #number(): number {
    const start = this.#at;
    number.lastIndex = start;
    const written = number.exec(this.#text)?.[0];
    if (written === undefined) return this.#refuse("a value of JSON");
    const value = Number(written);
    // Other numbers are checked by the caller, who knows their meaning.
    if (this.#plainCounts && Number.isInteger(value) && value >= 0 && /[^0-9]/.test(written))
      this.#refuse("a number written with digits alone", quoted(written));
    this.#at += written.length;
    return value;
  }

  #skipSpace(): void {
    for (; ; this.#at++) {
      const unit = this.#text.charCodeAt(this.#at);
      if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return;
    }
  }

  #takes(character: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #expect(character: string): void {
    if (!this.#takes(character)) this.#refuse(`"${character}"`);
  }

  #refuse(expected: string, found = this.#here()): never {
    throw new JsonFault(this.#at, expected, found);
  }

  #here(): string {
    const codePoint = this.#text.codePointAt(this.#at);
    return codePoint === undefined ? "the end of the file" : `"${printable(String.fromCodePoint(codePoint))}"`;
  }
}
