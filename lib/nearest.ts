/** The word with the fewest single-letter edits from `typed`, letter case and dashes ignored: for "did you mean". */
export function nearest(typed: string, words: readonly string[]): string {
  const plain = (word: string) => word.toLowerCase().replace(/[-_ ]/g, "");
  // The cut bounds the cost of a hostile input; no name is anywhere near as long.
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

/** Levenshtein's distance: insertions, deletions and substitutions that turn `from` into `to`. */
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
