// AVX2 with FMA and F16C. Compiled with -mavx2 -mfma -mf16c.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernel-loop.h"

namespace {

struct Avx2 {
  using Register = __m256;
  static constexpr size_t kWidth = 8;
  static inline Register Zero() { return _mm256_setzero_ps(); }
  static inline Register LoadQuery(const float* from) { return _mm256_loadu_ps(from); }
  template <Datatype type>
  static inline Register Load(const uint8_t* from) {
    if constexpr (type == Datatype::kFloat32) return _mm256_loadu_ps(reinterpret_cast<const float*>(from));
    else if constexpr (type == Datatype::kFloat16) return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    else return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
  }
  static inline Register Add(Register a, Register b) { return _mm256_add_ps(a, b); }
  static inline Register Sub(Register a, Register b) { return _mm256_sub_ps(a, b); }
  static inline Register Abs(Register a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
  static inline Register MulAdd(Register a, Register b, Register sum) { return _mm256_fmadd_ps(a, b, sum); }
  static inline float Sum(Register a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
  }
};

}  // namespace

const nearkeep::Kernels nearkeep::kAvx2Kernels = MakeKernels<Avx2>("avx2");
#endif
