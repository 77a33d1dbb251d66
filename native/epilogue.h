// The epilogue of a matrix product, applied to each element before it is stored: act(sum + bias) + residual.
#pragma once

#include "bfloat16.h"
#include "pointwise.h"

namespace stepsize {

// The activation functions that a product can apply.
enum class Activation : int { none, relu, gelu, silu };
constexpr int kActivations = 4;

// An activation that is known at compile time.
template <Activation Kind>
STEPSIZE_HOST_DEVICE float activated(float x) {
  if constexpr (Kind == Activation::relu) return pointwise::Relu{}(x);
  if constexpr (Kind == Activation::gelu) return pointwise::Gelu{}(x);
  if constexpr (Kind == Activation::silu) return pointwise::Silu{}(x);
  return x;
}

// Applies an activation that is known only at run time.
struct Activate {
  Activation kind;
  STEPSIZE_HOST_DEVICE float operator()(float x) const {
    switch (kind) {
      case Activation::none: return x;
      case Activation::relu: return activated<Activation::relu>(x);
      case Activation::gelu: return activated<Activation::gelu>(x);
      case Activation::silu: return activated<Activation::silu>(x);
    }
    return x;
  }
};

// The epilogue of one product; T is the storage type of its tensors.
template <class T>
struct Epilogue {
  const T* bias;      // one per column, or null
  const T* residual;  // in the shape of the result, or null
  Activate activate;

  // `at` is the index of the element in the row-major result.
  STEPSIZE_HOST_DEVICE float operator()(float sum, int64_t at, int column) const {
    if (bias) sum += toFloat(bias[column]);
    sum = activate(sum);
    if (residual) sum += toFloat(residual[at]);
    return sum;
  }
};

// The positions of bias and residual among the tensors of a product, "a, b[, bias][, residual]"; −1 if one is absent.
struct EpilogueTensors {
  int bias, residual;
  EpilogueTensors(int tensors, bool biased) : bias(biased ? 2 : -1), residual(-1) {
    const int before = biased ? 3 : 2;
    if (tensors > before) residual = before;
  }
};

}  // namespace stepsize
