/**
 * Yields the results of `make` for `first`, `first + 1`, … below `end`, in this order. While one result is in use, up to
 * `ahead` more are pending. No call is made before the first result is requested.
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
      // An error is thrown when its result is due. Until then it must not count as an unhandled rejection.
      promise.catch(() => {});
      underWay.push(promise);
    }
    yield await underWay.shift()!;
  }
}
