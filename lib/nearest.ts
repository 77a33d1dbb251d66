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
  const word = typeof typed === "string" ? nearest(typed, words) : undefined;
  return word === undefined ? "" : `; did you mean ${word}?`;
}

/** Returns " (did you mean …?)" for the middle of an error message, or nothing if no word is near. */
export function suggestionInside(typed: unknown, words: readonly string[]): string {
  const word = typeof typed === "string" ? nearest(typed, words) : undefined;
  return word === undefined ? "" : ` (did you mean ${word}?)`;
}

/** Returns the Levenshtein distance: the number of insertions, deletions and substitutions from `from` to `to`. */
function editDistance(from: string, to: string): number {
  // The distances from the beginning of `from` to each longer beginning of `to`, without the empty one.
  let distances = Array.from({ length: to.length }, (_, column) => column + 1);
  let distance = to.length;
  for (let row = 0; row < from.length; row++) {
    let diagonal = row;
    distance = row + 1;
    distances = distances.map((above, column) => {
      const substituted = diagonal + (from[row] === to[column] ? 0 : 1);
      diagonal = above;
      distance = Math.min(substituted, above + 1, distance + 1);
      return distance;
    });
  }
  return distance;
}
