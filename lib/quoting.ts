/**
 * Text of other people's in messages and on a terminal: a file's names and values, an argument's. It is cut to a stated
 * length, and characters that a terminal would obey are shown as what they are. Needs nothing but the language.
 *
 * @module
 */

/** The most characters of foreign text that a message quotes. */
export const mostQuoted = 80;

// Control characters (C0 and C1, so escape sequences too), line and paragraph separators, marks that change the direction
// of text, invisible characters, halves of surrogate pairs. Joiners stay: scripts and emoji need them.
const obeyed = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]|(?![\u200c\u200d])\p{Cf}/gu;

/** The text with every character that a terminal would obey, a line feed too, written as an escape such as `\u001b`. */
export function printable(text: string): string {
  return text.replace(obeyed, escaped);
}

/** The same for text of several lines: its line feeds stay. */
export function printableLines(text: string): string {
  return text.replace(obeyed, (character) => (character === "\n" ? character : escaped(character)));
}

/** Text in a message, such as the name of a tensor: printable, and cut where it is too long. */
export function shown(text: string, most = mostQuoted): string {
  return printable(shortened(text, most));
}

/** Text in a message between quotation marks: printable, and cut where it is too long. */
export function quoted(text: string): string {
  return printable(JSON.stringify(shortened(text, mostQuoted)));
}

/**
 * JSON on one line whose text a terminal can show: the same value, with escapes for what {@link printable} escapes.
 */
export function printableJson(value: unknown): string {
  return printable(JSON.stringify(value));
}

/** The first few of what there is to say. */
export function someOf(parts: readonly string[], most = 8): string {
  const rest = parts.length - most;
  return (rest > 0 ? [...parts.slice(0, most), `and ${rest} more`] : parts).join("; ");
}

function shortened(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 3)}...` : text;
}

const names: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** As JSON writes it, so that inside JSON it stands for the same text. */
function escaped(character: string): string {
  // By code units: JSON has no escape for a whole character above U+FFFF.
  const units = Array.from({ length: character.length }, (_, i) => character.charCodeAt(i));
  return names[character] ?? units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
}
