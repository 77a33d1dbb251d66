// How faults in the data are told, the same on every backend: one %lld per number. Free of the STL, as kernel files
// are.
#pragma once

namespace stepsize::fault {

constexpr const char* kLabel = "label %lld in row %lld is outside 0 to %lld";
constexpr const char* kId = "id %lld at position %lld is outside 0 to %lld";
constexpr const char* kIndex = "index %lld of image %lld lies outside the image's %lld positions";

}  // namespace stepsize::fault
