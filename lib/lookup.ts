/**
 * Returns an item of a list by its index. A negative index counts from the end. An index outside the list is an error
 * of the program itself.
 */
export function itemAt<T>(list: readonly T[], index: number): T {
  const item = list.at(index);
  if (item === undefined) throw new Error(`there is no item ${index} in a list of ${list.length}`);
  return item;
}

/**
 * Yields the items of two sequences in pairs. A second sequence that ends before the first is an error of the program
 * itself.
 */
export function* zip<A, B>(first: Iterable<A>, second: Iterable<B>): Generator<[A, B], void, undefined> {
  const partners = second[Symbol.iterator]();
  for (const item of first) {
    const partner = partners.next();
    if (partner.done) throw new Error("the second of two sequences is shorter than the first");
    yield [item, partner.value];
  }
}

/** Returns the value of a key that a map has. A missing key is an error of the program itself. */
export function valueAt<K, V>(map: ReadonlyMap<K, V>, key: K): V {
  const value = map.get(key);
  if (value === undefined) throw new Error(`there is no ${String(key)} in the map`);
  return value;
}
