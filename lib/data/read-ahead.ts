/**
 * What `make` promises for `first`, `first + 1`, … below `end`, in that order, with up to `ahead` more under way while
 * one is in use. Nothing is begun before the first is drawn.
 */
export async function* readAhead<T>(
  first: number,
  end: number,
  ahead: number,
  make: (position: number) => Promise<T>,
): AsyncGenerator<T, undefined> {
  const underWay: Promise<T>[] = [];
  for (let drawn = first, asked = first; drawn < end; drawn++) {
    for (; asked < end && asked <= drawn + ahead; asked++) {
      const promise = make(asked);
      // An error shows when its turn comes; until then it must not count as unhandled.
      promise.catch(() => {});
      underWay.push(promise);
    }
    yield await underWay.shift()!;
  }
}
