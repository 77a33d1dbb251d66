// Room in a vector before something begins that cannot be undone, so that noting it cannot fail.
#pragma once

#include <algorithm>
#include <vector>

namespace stepsize::cuda {

// Twice the room where there is none, as push_back makes it. Throws std::bad_alloc.
template <class T>
void reserveMore(std::vector<T>& vector, size_t more) {
  if (vector.capacity() - vector.size() < more) vector.reserve(std::max(2 * vector.size(), vector.size() + more));
}

template <class T>
void reserveOneMore(std::vector<T>& vector) {
  reserveMore(vector, 1);
}

}  // namespace stepsize::cuda
