/**
 * Foreign text in messages and on a terminal, such as names and values from a file or an argument. It is cut to a
 * maximum length, and control characters are escaped. This module uses no API of Node.js.
 *
 * @module
 */

/** Largest number of characters of foreign text in a message. */
export const maxQuotedLength = 80;

// Control characters (C0 and C1, and so escape sequences), line and paragraph separators, marks that change the
// direction of text, invisible characters, and halves of surrogate pairs. Joiners are not included, because scripts and
// emoji need them.
const controlCharacters = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]|(?![\u200c\u200d])\p{Cf}/gu;

/** Replaces every control character, including line feeds, by an escape such as `\u001b`. */
export function printable(text: string): string {
  return text.replace(controlCharacters, escaped);
}

/** Replaces every control character except line feeds by an escape. */
export function printableLines(text: string): string {
  return text.replace(controlCharacters, (character) => (character === "\n" ? character : escaped(character)));
}

/** Returns foreign text for a message, such as the name of a tensor: escaped, and cut if it is too long. */
export function shown(text: string, maxLength = maxQuotedLength): string {
  return printable(shortened(text, maxLength));
}

/** Returns foreign text for a message in quotation marks: escaped, and cut if it is too long. */
export function quoted(text: string): string {
  return printable(JSON.stringify(shortened(text, maxQuotedLength)));
}

/**
 * Returns a value as JSON on one line, with escapes for the characters that {@link printable} escapes. It parses to the
 * same value.
 */
export function printableJson(value: unknown): string {
  return printable(JSON.stringify(value));
}

/** Joins the first `limit` parts of a message, and states how many more there are. */
export function someOf(parts: readonly string[], limit = 8): string {
  const rest = parts.length - limit;
  return (rest > 0 ? [...parts.slice(0, limit), `and ${rest} more`] : parts).join("; ");
}

function shortened(text: string, maxLength: number): string {
  return text.length > maxLength ? `${text.slice(0, maxLength - 3)}...` : text;
}

const names: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Returns the JSON escape of a character, so that JSON text keeps its meaning. */
function escaped(character: string): string {
  // Code units are escaped one by one, because JSON has no escape for a character above U+FFFF.
  const units = Array.from({ length: character.length }, (_, i) => character.charCodeAt(i));
  return names[character] ?? units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
}
