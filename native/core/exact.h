// The scores that are returned: summed in f64 in the order of the components and rounded to f32 once, so that they are the same
// bits on every CPU, in WASM and in plain JavaScript. Compiled with -ffp-contract=off: a fused multiply-add would change bits.
#pragma once
#include "kernels.h"

namespace nearkeep {

struct RowSpec {
  Metric metric;
  Datatype datatype;
  uint32_t dims;
  // Cosine over uint8, whose rows are not stored at unit length: the dot product is divided by the row's length, a zero row scores 0.
  bool divides_by_length = false;

  size_t StrideBytes() const {
    return size_t{dims} * (datatype == Datatype::kFloat32 ? 4 : datatype == Datatype::kFloat16 ? 2 : 1);
  }
  bool LargerIsBetter() const { return metric == Metric::kDot; }
};

// A component of a stored row.
float ComponentOf(Datatype datatype, const uint8_t* row, size_t at);

// Dot product (divided by the row's length where the spec says so), Euclidean distance (kSquaredL2 takes the root) or L1 distance. NaN has one bit pattern. Frees and allocates
// nothing, so a fault while reading a row may be left by a jump.
void ExactScores(const RowSpec& spec, const float* query, const uint8_t* const* rows, size_t count, float* scores);

}  // namespace nearkeep
