// Decimal text to f32 by way of f64: what Math.fround(Number(text)) is, bit for bit. Two roundings, both to nearest, ties to even.
#pragma once
#include <cstddef>
#include <cstdint>

namespace nearkeep {

// A JSON number as read: ± mantissa · 10^exponent.
struct Decimal {
  uint64_t mantissa;  // the first 19 significant digits
  int32_t exponent;   // clamped to ±1000000
  bool negative;
  bool exact;  // no significant digit beyond the mantissa
  bool is_integer;  // no fraction, no exponent
};

// Reads the number at `at` by JSON's grammar; the position behind it, nullptr where there is none.
const uint8_t* ReadDecimal(const uint8_t* at, const uint8_t* end, Decimal* decimal);

// The fast way; false where it cannot tell: for few of 10 million ordinary numbers, and for unusual ones.
bool NearestFloat(const Decimal& decimal, float* value);

// The exact way, for any text that ReadDecimal reads. Infinite where the f32 overflows.
float ExactFloat(const uint8_t* text, size_t length);

}  // namespace nearkeep
