#include "decimal.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace nearkeep {
namespace {

constexpr int kMantissaDigits = 19;  // 10^19 < 2^64
constexpr int32_t kExponentMax = 1000000;
constexpr double kPowersOfTen[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};  // all exact in f64
constexpr int kExactPowerMax = 22;

// The midpoint between two neighbouring f32 values, in the 29 bits that an f64 has more.
constexpr uint64_t kSpareMask = (uint64_t{1} << 29) - 1;
constexpr uint64_t kMidpoint = uint64_t{1} << 28;

bool IsDigit(uint8_t byte) { return static_cast<uint8_t>(byte - '0') < 10; }

uint64_t BitsOf(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

double FromBits(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// mantissa · 10^exponent; each step adds at most half a unit in the last place to the half that the mantissa may bring.
double Scaled(uint64_t mantissa, int exponent) {
  double value = static_cast<double>(mantissa);
  for (; exponent < -kExactPowerMax; exponent += kExactPowerMax) value /= kPowersOfTen[kExactPowerMax];
  for (; exponent > kExactPowerMax; exponent -= kExactPowerMax) value *= kPowersOfTen[kExactPowerMax];
  return exponent < 0 ? value / kPowersOfTen[-exponent] : value * kPowersOfTen[exponent];
}

// A non-negative integer of at most 4096 bits, least significant limb first.
class Natural {
 public:
  explicit Natural(uint32_t value) { MultiplyAdd(0, value); }

  void MultiplyAdd(uint32_t factor, uint32_t addend) {
    uint64_t carry = addend;
    for (size_t at = 0; at < count_; at++) {
      carry += static_cast<uint64_t>(limbs_[at]) * factor;
      limbs_[at] = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) limbs_[count_++] = static_cast<uint32_t>(carry);
  }

  void MultiplyByPowerOfTen(int exponent) {
    for (; exponent >= 9; exponent -= 9) MultiplyAdd(1000000000, 0);
    for (; exponent > 0; exponent--) MultiplyAdd(10, 0);
  }

  // this · factor · 2^shift
  Natural Times(uint64_t factor, unsigned shift) const {
    Natural product(0);
    memset(product.limbs_, 0, sizeof product.limbs_);
    const size_t skip = shift / 32;
    const uint32_t low = static_cast<uint32_t>(factor), high = static_cast<uint32_t>(factor >> 32);
    uint64_t carry = 0;
    for (size_t at = 0; at < count_; at++) {  // with the low half, then with the high half one limb up
      carry += static_cast<uint64_t>(limbs_[at]) * low;
      product.limbs_[skip + at] = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    product.limbs_[skip + count_] = static_cast<uint32_t>(carry);
    carry = 0;
    for (size_t at = 0; at < count_; at++) {
      carry += static_cast<uint64_t>(limbs_[at]) * high + product.limbs_[skip + at + 1];
      product.limbs_[skip + at + 1] = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    product.limbs_[skip + count_ + 1] = static_cast<uint32_t>(carry);
    product.Trim(skip + count_ + 2);
    product.MultiplyAdd(uint32_t{1} << (shift % 32), 0);
    return product;
  }

  // < 0, 0, > 0
  int Compare(const Natural& other) const {
    if (count_ != other.count_) return count_ < other.count_ ? -1 : 1;
    for (size_t at = count_; at-- > 0;) {
      if (limbs_[at] != other.limbs_[at]) return limbs_[at] < other.limbs_[at] ? -1 : 1;
    }
    return 0;
  }

 private:
  void Trim(size_t count) {
    count_ = count;
    while (count_ > 0 && limbs_[count_ - 1] == 0) count_--;
  }

  size_t count_ = 0;
  uint32_t limbs_[128];
};

// The digits of a number without leading zeros and without what cannot matter: value = digits · 10^exponent, and a bit more if
// `more`. 768 digits tell every f64 midpoint from its neighbours.
struct Digits {
  static constexpr size_t kMax = 800;
  uint8_t digits[kMax];
  size_t count = 0;
  int64_t exponent = 0;
  bool more = false;
};

Digits DigitsOf(const uint8_t* text, size_t length) {
  Digits result;
  bool fraction = false;
  size_t at = 0;
  for (; at < length && (text[at] | 0x20) != 'e'; at++) {
    if (text[at] == '.') fraction = true;
    if (!IsDigit(text[at])) continue;
    const bool leading_zero = result.count == 0 && text[at] == '0';
    if (!leading_zero && result.count < Digits::kMax) result.digits[result.count++] = static_cast<uint8_t>(text[at] - '0');
    else if (!leading_zero) result.more = result.more || text[at] != '0', result.exponent++;
    if (fraction) result.exponent--;
  }
  if (at < length) {
    const bool negative = text[++at] == '-';
    int64_t exponent = 0;
    for (; at < length; at++) {
      if (IsDigit(text[at]) && exponent < kExponentMax) exponent = exponent * 10 + (text[at] - '0');
    }
    result.exponent += negative ? -exponent : exponent;
  }
  return result;
}

// Compares an exact decimal with midpoints of neighbouring f64 values.
class Midpoints {
 public:
  explicit Midpoints(const Digits& digits) : more_(digits.more) {
    for (size_t at = 0; at < digits.count; at++) numerator_.MultiplyAdd(10, digits.digits[at]);
    const int exponent = static_cast<int>(digits.exponent);
    numerator_.MultiplyByPowerOfTen(exponent);
    denominator_.MultiplyByPowerOfTen(-exponent);
  }

  // The decimal against the middle between the f64 of these bits and the next larger one. Normal values only.
  int CompareAbove(uint64_t bits) const {
    const uint64_t middle = (((bits & ((uint64_t{1} << 52) - 1)) | (uint64_t{1} << 52)) << 1) + 1;
    const int exponent = static_cast<int>(bits >> 52) - 1023 - 52 - 1;
    const Natural left = numerator_.Times(1, exponent < 0 ? static_cast<unsigned>(-exponent) : 0);
    const Natural right = denominator_.Times(middle, exponent > 0 ? static_cast<unsigned>(exponent) : 0);
    const int order = left.Compare(right);
    return order == 0 && more_ ? 1 : order;
  }

 private:
  Natural numerator_{0};
  Natural denominator_{1};
  const bool more_;
};

}  // namespace

const uint8_t* ReadDecimal(const uint8_t* at, const uint8_t* end, Decimal* decimal) {
  *decimal = {0, 0, false, true, true};
  if (at != end && *at == '-') decimal->negative = true, at++;
  if (at == end || !IsDigit(*at)) return nullptr;
  int kept = 0;  // digits in the mantissa, leading zeros aside
  const auto take = [&](uint8_t byte) {
    if (kept < kMantissaDigits) {
      decimal->mantissa = decimal->mantissa * 10 + (byte - '0');
      if (decimal->mantissa != 0) kept++;
      return true;
    }
    if (byte != '0') decimal->exact = false;
    return false;
  };
  int64_t exponent = 0;
  if (*at == '0') at++;
  else {
    for (; at != end && IsDigit(*at); at++) {
      if (!take(*at)) exponent++;
    }
  }
  if (at != end && IsDigit(*at)) return nullptr;  // a leading zero
  if (at != end && *at == '.') {
    decimal->is_integer = false;
    const uint8_t* const fraction = ++at;
    for (; at != end && IsDigit(*at); at++) {
      if (take(*at)) exponent--;
    }
    if (at == fraction) return nullptr;
  }
  if (at != end && (*at | 0x20) == 'e') {
    decimal->is_integer = false;
    at++;
    const bool negative = at != end && *at == '-';
    if (at != end && (*at == '-' || *at == '+')) at++;
    const uint8_t* const digits = at;
    int64_t value = 0;
    for (; at != end && IsDigit(*at); at++) {
      if (value < kExponentMax) value = value * 10 + (*at - '0');
    }
    if (at == digits) return nullptr;
    exponent += negative ? -value : value;
  }
  decimal->exponent = static_cast<int32_t>(exponent > kExponentMax ? kExponentMax : exponent < -kExponentMax ? -kExponentMax : exponent);
  return at;
}

// f64 arithmetic gives the value to within 3 units in its last place (mantissa, and at most two steps of scaling). Where no f32
// midpoint lies within 8, rounding it to f32 gives what rounding the exact f64 gives. Near the ends of f32's normal range the
// spacing of midpoints differs: left to the exact way.
bool NearestFloat(const Decimal& decimal, float* value) {
  if (!decimal.exact || decimal.exponent < -2 * kExactPowerMax || decimal.exponent > 2 * kExactPowerMax) return false;
  double magnitude = 0;
  if (decimal.mantissa != 0) {
    magnitude = Scaled(decimal.mantissa, decimal.exponent);
    if (!(magnitude > 1e-37) || !(magnitude < 3e38)) return false;
    const uint64_t spare = BitsOf(magnitude) & kSpareMask;
    if (spare - (kMidpoint - 8) <= 16) return false;
  }
  *value = static_cast<float>(decimal.negative ? -magnitude : magnitude);
  return true;
}

float ExactFloat(const uint8_t* text, size_t length) {
  const float sign = text[0] == '-' ? -1.0f : 1.0f;
  const Digits digits = DigitsOf(text, length);
  const int64_t magnitude = digits.exponent + static_cast<int64_t>(digits.count);  // the value is below 10^magnitude
  // f32 ends at 3.4e38, and below 7e-46 everything rounds to 0: no f64 outside its normal range matters.
  if (digits.count == 0 || magnitude < -47) return std::copysign(0.0f, sign);
  if (magnitude > 41) return std::copysign(std::numeric_limits<float>::infinity(), sign);

  uint64_t mantissa = 0;
  const size_t used = digits.count < kMantissaDigits ? digits.count : kMantissaDigits;
  for (size_t at = 0; at < used; at++) mantissa = mantissa * 10 + digits.digits[at];
  // Within a few units in the last place; then step by step to the f64 whose two midpoints enclose the decimal.
  uint64_t bits = BitsOf(Scaled(mantissa, static_cast<int>(magnitude) - static_cast<int>(used)));
  const Midpoints midpoints(digits);
  for (;;) {
    const int above = midpoints.CompareAbove(bits);
    if (above > 0 || (above == 0 && (bits & 1) == 1)) {
      bits++;
      continue;
    }
    const int below = midpoints.CompareAbove(bits - 1);
    if (below > 0 || (below == 0 && (bits & 1) == 0)) break;
    bits--;
  }
  return std::copysign(static_cast<float>(FromBits(bits)), sign);
}

}  // namespace nearkeep
