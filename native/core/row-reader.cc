#include "row-reader.h"

#include <math.h>
#include <string.h>

namespace nearkeep {
namespace {

constexpr float kValueMax = 1e15f;

}  // namespace

bool RowReader::Read(uint32_t row) {
  const RowSpec& spec = view_.spec;
  const uint8_t* from = view_.Row(row);
  uint8_t* to = bytes_.data();
  const size_t stride = bytes_.size();
  if (view_.file == nullptr) memcpy(to, from, stride);
  else if (!ReadGuarded([&] { memcpy(to, from, stride); })) return false;
  fits_ = true;
  float length_squared = 0;
  for (size_t i = 0; i < spec.dims; ++i) {
    const float value = ComponentOf(spec.datatype, to, i);
    length_squared += value * value;
    values_[i] = value;
    fits_ &= fabsf(value) <= kValueMax;  // false for NaN
  }
  if (spec.divides_by_length && length_squared > 0) {
    const float length = sqrtf(length_squared);
    for (float& value : values_) value /= length;
  }
  return true;
}

}  // namespace nearkeep
