// Binary codes: of a component its sign, and for more than one bit whether it lies far from the middle.
//
// Image (header: code-image.h):
//    64  offsets: dims x f32, zero-padded to a multiple of 64 bytes: the means of a sample
//        weights: likewise: its standard deviations
//        rows x stride:  bits, see BitLayout in compact-kernels.h | zeros | f32 scale | f32 base | f32 total
// detail 0: one bit, the sign of x - offset. 2: a second one for components farther than one deviation from the offset. 1: two
// components share that one; it tells whether they lie that far on average. stride: rounded up to 16.
//
// A component reads as offset + scale * weight * level, level = -1, 1 (one bit) or -3, -1, 1, 3. The scale is such that the product
// of a row with itself is right: |x'|^2 / sum of weight * level * x', x' = x - offset.
// A query is scaled by the weights and cut into planes of bits, u = 0 … 2^planes - 1, so that products with levels are counts of bits.
//
//   distance(query, row) = |q'|^2 + base - 2 q'.x', base = |x'|^2. L1 uses it too: over many components it ranks much the same.
//   flag product: distance(query, row) = -t base - (q - t offset).x', base = offset.x'; t leaves the least of the query.
// total = scale * sum of levels.
#pragma once
#include "compact-kernels.h"
#include "walk-codes.h"

namespace nearkeep {

class BinaryCodes : public WalkCodes {
 public:
  BinaryCodes(const RowSpec& spec, const CompactKernels& kernels, CodeBytes bytes) : WalkCodes(spec, std::move(bytes)), kernels_(&kernels) {}
  std::unique_ptr<CodeQuery> Query(const float* query, QueryBits bits) const override;

 private:
  const CompactKernels* kernels_;
};

std::unique_ptr<CodesMaker> NewBinaryMaker(const RowsView& view, uint32_t detail, bool product);

}  // namespace nearkeep
