/** Returns the value of a key that a map has. A missing key is an error of the program itself. */
export function valueAt<K, V>(map: ReadonlyMap<K, V>, key: K): V {
  const value = map.get(key);
  if (value === undefined) throw new Error(`there is no ${String(key)} in the map`);
  return value;
}
