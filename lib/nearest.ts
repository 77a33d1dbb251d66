/**
 * Returns the word with the smallest edit distance from `typed`, ignoring case and dashes, for "did you mean" messages.
 */
export function nearest(typed: string, words: readonly string[]): string {
  const plain = (word: string) => word.toLowerCase().replace(/[-_ ]/g, "");
  // The limit bounds the time for long inputs. All names are much shorter.
  const target = plain(typed.slice(0, 64));
  let best = words[0] ?? "";
  let leastEdits = Infinity;
  for (const word of words) {
    const edits = editDistance(target, plain(word));
    if (edits < leastEdits) {
      best = word;
      leastEdits = edits;
    }
  }
  return best;
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
