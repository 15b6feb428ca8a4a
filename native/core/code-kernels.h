// The table of integer kernels over int8 codes: one per instruction set. Their sums are exact, so every table answers the same.
// Included by files compiled for other CPUs than the running one: nothing here may emit code.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace nearkeep {

// Sums stay below 2^31: 128 * 128 * 65,536 components for products, 255 * 65,536 for differences.
constexpr size_t kCodeDimsMax = 65536;

// sums[i] = sum of query[j] * rows[i][j], or of |query[j] - rows[i][j]|. No alignment, no padding.
using CodeFn = void (*)(const int8_t* query, const uint8_t* const* rows, size_t count, size_t dims, int32_t* sums);

struct CodeKernels {
  const char* name;
  CodeFn dot;
  CodeFn l1;
};

#if defined(__x86_64__)
extern const CodeKernels kVnniCodes;
extern const CodeKernels kAvx2Codes;
#elif defined(__aarch64__)
extern const CodeKernels kNeonCodes;
#endif
extern const CodeKernels kScalarCodes;

}  // namespace nearkeep
