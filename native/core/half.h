// IEEE 754 binary16 to float, exactly, without special instructions.
#pragma once
#include <stdint.h>
#include <string.h>

namespace nearkeep {

static inline float HalfToFloat(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffu;
  uint32_t bits = magnitude << 13;
  float value;
  if (magnitude >= 0x7c00u) {  // infinity and NaN keep their fraction
    bits |= 0x7f800000u;
    memcpy(&value, &bits, sizeof value);
  } else {  // the exponent is too small by 112; scaling by a power of two is exact and also normalises subnormals
    memcpy(&value, &bits, sizeof value);
    value *= 0x1p112f;
  }
  return (half & 0x8000u) != 0 ? -value : value;
}

}  // namespace nearkeep
