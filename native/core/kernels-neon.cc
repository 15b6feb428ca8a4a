// NEON of 64-bit ARM, part of its base instruction set.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernel-loop.h"

namespace {

struct Neon {
  using Register = float32x4_t;
  static constexpr size_t kWidth = 4;
  static inline Register Zero() { return vdupq_n_f32(0); }
  static inline Register LoadQuery(const float* from) { return vld1q_f32(from); }
  template <Datatype type>
  static inline Register Load(const uint8_t* from) {
    if constexpr (type == Datatype::kFloat32) {
      return vreinterpretq_f32_u8(vld1q_u8(from));
    } else if constexpr (type == Datatype::kFloat16) {
      return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(from)));
    } else {
      uint32_t four;
      memcpy(&four, from, sizeof four);
      const uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(four));
      return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))));
    }
  }
  static inline Register Add(Register a, Register b) { return vaddq_f32(a, b); }
  static inline Register Sub(Register a, Register b) { return vsubq_f32(a, b); }
  static inline Register Abs(Register a) { return vabsq_f32(a); }
  static inline Register MulAdd(Register a, Register b, Register sum) { return vfmaq_f32(sum, a, b); }
  static inline float Sum(Register a) { return vaddvq_f32(a); }
};

}  // namespace

const nearkeep::Kernels nearkeep::kNeonKernels = MakeKernels<Neon>("neon");
#endif
