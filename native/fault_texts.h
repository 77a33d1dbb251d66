// The messages for faults in the data, the same on every backend, with one %lld per number. Kernel files include this
// header, so it uses no STL.
#pragma once

namespace stepsize::fault {

constexpr const char* kLabel = "label %lld in row %lld is outside 0 to %lld";
constexpr const char* kId = "id %lld at position %lld is outside 0 to %lld";
constexpr const char* kIndex = "index %lld of image %lld lies outside the image's %lld positions";

}  // namespace stepsize::fault
