/**
 * Returns the word with the smallest edit distance from `typed`, ignoring case and dashes, for "did you mean" messages.
 */
export function nearest(typed: string, words: readonly string[]): string {
  const plain = (word: string) => word.toLowerCase().replace(/[-_ ]/g, "");
  // The limit bounds the time for long inputs. All names are much shorter.
  const target = plain(typed.slice(0, 64));
  let best = words[0] ?? "";
  let fewest = Infinity;
  for (const word of words) {
    const edits = editDistance(target, plain(word));
    if (edits < fewest) {
      best = word;
      fewest = edits;
    }
  }
  return best;
}

/** Returns the Levenshtein distance: the number of insertions, deletions and substitutions from `from` to `to`. */
function editDistance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const substituted = previous[column - 1]! + (from[row - 1] === to[column - 1] ? 0 : 1);
      current.push(Math.min(substituted, previous[column]! + 1, current[column - 1]! + 1));
    }
    previous = current;
  }
  return previous[to.length]!;
}
