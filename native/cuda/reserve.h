// Reserves room in a vector before an operation that cannot be undone, so that noting the operation cannot fail.
#pragma once

#include <algorithm>
#include <vector>

namespace stepsize::cuda {

// Makes room for `more` elements. If there is none, the capacity is doubled, as push_back does. Throws std::bad_alloc.
template <class T>
void reserveMore(std::vector<T>& vector, size_t more) {
  if (vector.capacity() - vector.size() < more) vector.reserve(std::max(2 * vector.size(), vector.size() + more));
}

// Makes room for one element.
template <class T>
void reserveOneMore(std::vector<T>& vector) {
  reserveMore(vector, 1);
}

}  // namespace stepsize::cuda
