// AVX-512 (F only). Compiled with -mavx512f.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernel-loop.h"

namespace {

struct Avx512 {
  using Register = __m512;
  static constexpr size_t kWidth = 16;
  static inline Register Zero() { return _mm512_setzero_ps(); }
  static inline Register LoadQuery(const float* from) { return _mm512_loadu_ps(from); }
  template <Datatype type>
  static inline Register Load(const uint8_t* from) {
    if constexpr (type == Datatype::kFloat32) return _mm512_loadu_ps(from);
    else if constexpr (type == Datatype::kFloat16) return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    else return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
  }
  static inline Register Add(Register a, Register b) { return _mm512_add_ps(a, b); }
  static inline Register Sub(Register a, Register b) { return _mm512_sub_ps(a, b); }
  static inline Register Abs(Register a) { return _mm512_abs_ps(a); }
  static inline Register MulAdd(Register a, Register b, Register sum) { return _mm512_fmadd_ps(a, b, sum); }
  static inline float Sum(Register a) { return _mm512_reduce_add_ps(a); }
};

}  // namespace

const nearkeep::Kernels nearkeep::kAvx512Kernels = MakeKernels<Avx512>("avx512");
#endif
