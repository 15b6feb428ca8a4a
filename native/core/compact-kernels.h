// The table of kernels over product and binary codes: one per instruction set. All tables answer the same bits: sums of integers are
// exact, and floats are added in an order that is part of each kernel's definition.
// Included by files compiled for other CPUs than the running one: nothing here may emit code.
#pragma once
#include "kernels.h"

namespace nearkeep {

// Centroids of a part of product codes. Those of one part lie by component: 256 first components, 256 second ones, and so on.
constexpr size_t kCentroids = 256;

// distances[c] = sum of (query[j] - centroid_c[j])^2, of |query[j] - centroid_c[j]|, or of -query[j] * centroid_c[j], in order of j.
using TableFn = void (*)(const float* query, const float* centroids, size_t dims, float* distances);

// The centroid nearest to `point` by squared L2, the first of equal ones; *distance is to it.
using NearestFn = uint8_t (*)(const float* point, const float* centroids, size_t dims, float* distance);

// sums[i] = sum of table[part * 256 + rows[i][part]]. Part p is added to lane p % 16 in order; then lanes i and i + 8 are added, i and
// i + 4, i and i + 2, and the last two.
using LookupFn = void (*)(const float* table, const uint8_t* const* rows, size_t count, size_t parts, float* sums);

// Layouts of bit codes. A component's number is k = 2 high + low (0 … 3), or k = high (0, 1) for one bit. `words`: of 64 bits, of one
// query plane.
//   kOneBit: high bits
//   kTwoBits: high bits | low bits
//   kSharedBit: high bits | shared bits of half as many words; component i and the one half the words later share a bit, and
//     low = not (shared xor high): a set bit is one far from the middle
enum class BitLayout : uint8_t { kOneBit, kSharedBit, kTwoBits };
constexpr size_t kBitLayouts = 3;

// sums[i] = sum of 2^p * k over the components whose bit is set in plane p of the query. Bits behind the last component are zero in
// all planes. No alignment of rows. Sums stay below 2^32: 255 * 3 * 65,536 components.
using BitsFn = void (*)(const uint64_t* planes, size_t plane_count, size_t words, const uint8_t* const* rows, size_t count, uint32_t* sums);

struct CompactKernels {
  const char* name;
  TableFn table[kMetrics];
  NearestFn nearest;
  LookupFn lookup;
  BitsFn bits[kBitLayouts];
};

#if defined(__x86_64__)
extern const CompactKernels kAvx512Compact;
extern const CompactKernels kAvx2Compact;
#elif defined(__aarch64__)
extern const CompactKernels kNeonCompact;
#endif
extern const CompactKernels kScalarCompact;

}  // namespace nearkeep
