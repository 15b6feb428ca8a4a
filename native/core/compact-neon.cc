// NEON of 64-bit ARM, part of its base instruction set, whose population count the compiler uses for single words.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "compact-loop.h"

namespace {

struct Neon {
  using Register = float32x4_t;
  static constexpr size_t kWidth = 4;
  static inline Register Zero() { return vdupq_n_f32(0); }
  static inline Register Set(float value) { return vdupq_n_f32(value); }
  static inline Register Load(const float* from) { return vld1q_f32(from); }
  static inline void Store(float* to, Register a) { vst1q_f32(to, a); }
  static inline Register Add(Register a, Register b) { return vaddq_f32(a, b); }
  static inline Register Sub(Register a, Register b) { return vsubq_f32(a, b); }
  static inline Register Mul(Register a, Register b) { return vmulq_f32(a, b); }
  static inline Register Abs(Register a) { return vabsq_f32(a); }
  static inline Register Min(Register a, Register b) { return vminq_f32(a, b); }
  static inline float Smallest(Register a) { return vminvq_f32(a); }
  static inline unsigned EqualMask(Register a, float value) {
    const uint32x4_t places = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vceqq_f32(a, vdupq_n_f32(value)), places));
  }
};

}  // namespace

const nearkeep::CompactKernels nearkeep::kNeonCompact = MakeCompactKernels<Neon, WordSums>("neon", Lookup);
#endif
