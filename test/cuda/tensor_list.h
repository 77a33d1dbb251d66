// Lists of tensors for the optimizer's kernels: one address per tensor, of float32 or bfloat16, aligned or not.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../../native/bfloat16.h"
#include "../emulator/kernel_test.h"

namespace stepsize::test {

using emulator::Buffer;

// Expects a condition and names the case in the report.
inline void expectIn(const std::string& where, bool holds, const char* what,
                     emulator::Place place = emulator::Place::current()) {
  emulator::expect(holds, where + ": " + what, place.file, place.line);
}

template <class T>
bool sameBits(const T& a, const T& b) {
  return memcmp(&a, &b, sizeof a) == 0;
}

// A number in (−1, 1), the same for the same position.
inline float numberAt(uint64_t position, uint64_t salt) {
  uint64_t x = position * 0x9E3779B97F4A7C15u + salt * 0xBF58476D1CE4E5B9u;
  x ^= x >> 31;
  x *= 0x94D049BB133111EBu;
  x ^= x >> 29;
  return static_cast<float>(static_cast<int64_t>(x >> 11) - (int64_t{1} << 52)) * 0x1p-52f;
}

inline std::vector<float> numbers(size_t count, uint64_t salt) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; i++) values[i] = numberAt(i, salt);
  return values;
}

class TensorList {
 public:
  explicit TensorList(bool low) : low_(low) {}

  // The tensor begins after `offset` elements of memory that no kernel may change.
  void add(const std::vector<float>& values, size_t offset) {
    offsets_.push_back(offset * size());
    memory_.push_back(std::make_unique<Buffer<unsigned char>>(values.size() * size(), offset * size()));
    addresses_.push_back(memory_.back()->data());
    for (size_t i = 0; i < values.size(); i++)
      setBits(addresses_.size() - 1, i, low_ ? toBFloat16(values[i]).bits : bitsOfFloat(values[i]));
  }

  bool low() const { return low_; }
  size_t tensors() const { return addresses_.size(); }
  size_t elements(size_t tensor) const { return memory_[tensor]->size() / size(); }
  void* const* addresses() const { return addresses_.data(); }

  // The stored bits: 32 of a float32, 16 of a bfloat16.
  uint32_t bits(size_t tensor, size_t i) const {
    uint32_t bits = 0;
    memcpy(&bits, memory_[tensor]->data() + i * size(), size());
    return bits;
  }
  void setBits(size_t tensor, size_t i, uint32_t bits) { memcpy(memory_[tensor]->data() + i * size(), &bits, size()); }
  std::vector<uint32_t> bits(size_t tensor) const {
    std::vector<uint32_t> all(elements(tensor));
    for (size_t i = 0; i < all.size(); i++) all[i] = bits(tensor, i);
    return all;
  }
  // bfloat16 is the upper half of a float32.
  float value(size_t tensor, size_t i) const { return floatOfBits(bits(tensor, i) << (low_ ? 16 : 0)); }

  // Whether the bytes before each tensor have the values that Buffer gave them. AddressSanitizer checks the bytes after
  // it.
  bool isMemoryBeforeUnchanged() const {
    for (size_t tensor = 0; tensor < tensors(); tensor++)
      for (size_t back = 1; back <= offsets_[tensor]; back++)
        if (*(memory_[tensor]->data() - back) != 0xff) return false;
    return true;
  }

 private:
  size_t size() const { return low_ ? sizeof(BFloat16) : sizeof(float); }

  bool low_;
  std::vector<std::unique_ptr<Buffer<unsigned char>>> memory_;
  std::vector<size_t> offsets_;
  std::vector<void*> addresses_;
};

}  // namespace stepsize::test
