// NEON of 64-bit ARM, part of its base instruction set.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "code-kernels.h"

namespace {

void Dot(const int8_t* query, const uint8_t* const* rows, size_t count, size_t dims, int32_t* sums) {
  for (size_t at = 0; at < count; ++at) {
    const int8_t* row = reinterpret_cast<const int8_t*>(rows[at]);
    int32x4_t sum0 = vdupq_n_s32(0), sum1 = sum0;
    size_t i = 0;
    for (; i + 16 <= dims; i += 16) {
      const int8x16_t q = vld1q_s8(query + i), x = vld1q_s8(row + i);
      sum0 = vpadalq_s16(sum0, vmull_s8(vget_low_s8(q), vget_low_s8(x)));
      sum1 = vpadalq_s16(sum1, vmull_s8(vget_high_s8(q), vget_high_s8(x)));
    }
    int32_t sum = vaddvq_s32(vaddq_s32(sum0, sum1));
    for (; i < dims; ++i) sum += int32_t{query[i]} * row[i];
    sums[at] = sum;
  }
}

void L1(const int8_t* query, const uint8_t* const* rows, size_t count, size_t dims, int32_t* sums) {
  for (size_t at = 0; at < count; ++at) {
    const int8_t* row = reinterpret_cast<const int8_t*>(rows[at]);
    uint32x4_t wide = vdupq_n_u32(0);
    size_t i = 0;
    for (; i + 16 <= dims; i += 16) {
      const uint8x16_t difference = vreinterpretq_u8_s8(vabdq_s8(vld1q_s8(query + i), vld1q_s8(row + i)));  // up to 255: unsigned
      wide = vpadalq_u16(wide, vpaddlq_u8(difference));
    }
    int32_t sum = static_cast<int32_t>(vaddvq_u32(wide));
    for (; i < dims; ++i) {
      const int32_t difference = int32_t{query[i]} - row[i];
      sum += difference < 0 ? -difference : difference;
    }
    sums[at] = sum;
  }
}

}  // namespace

const nearkeep::CodeKernels nearkeep::kNeonCodes = {"neon", Dot, L1};
#endif
