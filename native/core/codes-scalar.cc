// Plain C++ for any CPU, and the twin that the others are tested against.
#include "code-kernels.h"

namespace {

void Dot(const int8_t* query, const uint8_t* const* rows, size_t count, size_t dims, int32_t* sums) {
  for (size_t at = 0; at < count; ++at) {
    int32_t sum = 0;
    for (size_t i = 0; i < dims; ++i) sum += int32_t{query[i]} * static_cast<int8_t>(rows[at][i]);
    sums[at] = sum;
  }
}

void L1(const int8_t* query, const uint8_t* const* rows, size_t count, size_t dims, int32_t* sums) {
  for (size_t at = 0; at < count; ++at) {
    int32_t sum = 0;
    for (size_t i = 0; i < dims; ++i) {
      const int32_t difference = int32_t{query[i]} - static_cast<int8_t>(rows[at][i]);
      sum += difference < 0 ? -difference : difference;
    }
    sums[at] = sum;
  }
}

}  // namespace

const nearkeep::CodeKernels nearkeep::kScalarCodes = {"scalar", Dot, L1};
