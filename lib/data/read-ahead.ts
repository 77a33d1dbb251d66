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
  const pending: Promise<T>[] = [];
  for (let drawn = first, requested = first; ; drawn++) {
    for (; requested < end && requested <= drawn + ahead; requested++) {
      const promise = make(requested);
      // An error is thrown when its result is due. Until then it must not count as an unhandled rejection.
      promise.catch(() => {});
      pending.push(promise);
    }
    const due = pending.shift();
    if (due === undefined) return;
    yield await due;
  }
}
