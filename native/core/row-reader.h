// Stored rows as floats, for everything that makes codes of them.
#pragma once
#include <vector>

#include "rows.h"

namespace nearkeep {

// One row at a time. The view outlives the reader.
class RowReader {
 public:
  explicit RowReader(const RowsView& view) : view_(view), bytes_(view.spec.StrideBytes()), values_(view.spec.dims) {}
  // False where a page of a mapped file cannot be read.
  bool Read(uint32_t row);
  // Of unit length where the spec divides by the length.
  const std::vector<float>& values() const { return values_; }
  // False where a value is no number, or too large for sums of squares.
  bool fits() const { return fits_; }

 private:
  const RowsView& view_;
  std::vector<uint8_t> bytes_;
  std::vector<float> values_;
  bool fits_ = true;
};

// The row at place `at` of `samples` that lie evenly among `rows`.
inline uint32_t SampleRow(uint32_t at, uint32_t samples, uint32_t rows) { return static_cast<uint32_t>(uint64_t{at} * rows / samples); }

}  // namespace nearkeep
