// The table of fast, approximate kernels: one per instruction set, one entry per distance and stored type. Their sums are f32 and
// differ between instruction sets; they only choose candidates. What is returned is computed in exact.cc.
// Included by files compiled for other CPUs than the running one: nothing here may emit code.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace nearkeep {

enum class Metric : uint8_t { kDot, kSquaredL2, kL1 };
enum class Datatype : uint8_t { kFloat32, kFloat16, kUint8 };

constexpr size_t kMetrics = 3;
constexpr size_t kDatatypes = 3;

// Queries are padded with zeros to a multiple of this many floats, so that a kernel may read whole registers.
constexpr size_t kQueryPadding = 64;

// sums[i] = metric(query, *rows[i]); norms[i] = squared length of the row (written for kDot only; it bounds the error of the sum).
using ApproximateFn = void (*)(const float* query, const uint8_t* const* rows, size_t count, size_t dims, float* sums,
                               float* norms);

struct Kernels {
  const char* name;
  // Partial sums kept side by side. A component takes part in at most dims / lanes + 16 additions: the error bound needs it.
  size_t lanes;
  ApproximateFn approximate[kMetrics][kDatatypes];
};

#if defined(__x86_64__)
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx2Kernels;
#elif defined(__aarch64__)
extern const Kernels kNeonKernels;
#endif
extern const Kernels kScalarKernels;

}  // namespace nearkeep
