import { itemAt } from "./lookup.js";

/**
 * Returns the word that was probably meant: the one with the smallest edit distance from `typed`, ignoring case and
 * dashes.
 *
 * @returns `undefined` if no word is near: if more than 2 of 5 letters would have to change, or more than three
 */
export function nearest(typed: string, words: readonly string[]): string | undefined {
  const plain = (word: string) => word.toLowerCase().replace(/[-_ ]/g, "");
  // The limit bounds the time for long inputs. All names are much shorter.
  const target = plain(typed.slice(0, 64));
  let best: string | undefined;
  let leastEdits = Infinity;
  for (const word of words) {
    const candidate = plain(word);
    const edits = editDistance(target, candidate);
    const allowed = Math.max(1, Math.min(3, Math.floor(0.4 * Math.max(target.length, candidate.length))));
    if (edits < leastEdits && edits <= allowed) {
      best = word;
      leastEdits = edits;
    }
  }
  return best;
}

/** Returns "; did you mean …?" for the end of an error message, or nothing if no word is near. */
export function suggestion(typed: unknown, words: readonly string[]): string {
  const question = questionAbout(typed, words);
  return question === undefined ? "" : `; ${question}`;
}

/** Returns " (did you mean …?)" for the middle of an error message, or nothing if no word is near. */
export function suggestionInside(typed: unknown, words: readonly string[]): string {
  const question = questionAbout(typed, words);
  return question === undefined ? "" : ` (${question})`;
}

function questionAbout(typed: unknown, words: readonly string[]): string | undefined {
  const word = typeof typed === "string" ? nearest(typed, words) : undefined;
  return word === undefined ? undefined : `did you mean ${word}?`;
}

/**
 * Returns the number of insertions, deletions, substitutions and swaps of neighbors from `from` to `to` (the optimal
 * string alignment distance).
 */
function editDistance(from: string, to: string): number {
  // The distances from the beginnings of `from` of one and two letters less, and from this one, to all beginnings of `to`.
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const isSame = from[row - 1] === to[column - 1];
      const edits = [
        itemAt(last, column) + 1,
        itemAt(current, column - 1) + 1,
        itemAt(last, column - 1) + (isSame ? 0 : 1),
      ];
      if (row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1])
        edits.push(itemAt(beforeLast, column - 2) + 1);
      current.push(Math.min(...edits));
    }
    [beforeLast, last] = [last, current];
  }
  return itemAt(last, to.length);
}
