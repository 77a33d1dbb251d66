// A ring of rows that the device writes and the host reads now and then.
#pragma once

#include "../../element_types.h"
#include "../../operations_attributes.h"
#include "../invocation.h"

namespace stepsize::STEPSIZE_ISA {

// ring[count mod rows][column + i] = values[i]; after the last values of a row, count grows by one.
inline void writeRow(const Invocation& call) {
  const TensorView &ring = call.input(0), &values = call.input(2);
  auto* count = call.input(1).as<uint32_t>();
  double* row = ring.as<double>() + *count % ring.shape[0] * ring.shape[1] + call.integer(attribute::writeRow::column);
  visitType(values.type, [&](auto zero) {
    const auto* from = values.as<const decltype(zero)>();
    for (int64_t i = 0; i < values.elements(); i++) row[i] = castElement<double>(from[i]);
  });
  if (call.integer(attribute::writeRow::last) != 0) ++*count;
}

}  // namespace stepsize::STEPSIZE_ISA
