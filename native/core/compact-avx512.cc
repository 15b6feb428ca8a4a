// AVX-512 with its population count. Compiled with -mavx512f -mavx512vpopcntdq.
#if defined(__x86_64__)
#include <immintrin.h>

#include "compact-loop.h"

namespace {

struct Avx512 {
  using Register = __m512;
  static constexpr size_t kWidth = 16;
  static inline Register Zero() { return _mm512_setzero_ps(); }
  static inline Register Set(float value) { return _mm512_set1_ps(value); }
  static inline Register Load(const float* from) { return _mm512_loadu_ps(from); }
  static inline void Store(float* to, Register a) { _mm512_storeu_ps(to, a); }
  static inline Register Add(Register a, Register b) { return _mm512_add_ps(a, b); }
  static inline Register Sub(Register a, Register b) { return _mm512_sub_ps(a, b); }
  static inline Register Mul(Register a, Register b) { return _mm512_mul_ps(a, b); }
  static inline Register Abs(Register a) { return _mm512_abs_ps(a); }
  static inline Register Min(Register a, Register b) { return _mm512_min_ps(a, b); }
  static inline float Smallest(Register a) { return _mm512_reduce_min_ps(a); }
  static inline unsigned EqualMask(Register a, float value) { return _mm512_cmp_ps_mask(a, _mm512_set1_ps(value), _CMP_EQ_OQ); }
};

void GatherLookup(const float* table, const uint8_t* const* rows, size_t count, size_t parts, float* sums) {
  const __m512i lanes = _mm512_slli_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 8);
  const size_t left = parts % 16;
  const __mmask16 tail = static_cast<__mmask16>((1u << left) - 1);
  for (size_t at = 0; at < count; ++at) {
    const uint8_t* row = rows[at];
    __m512 sum = _mm512_setzero_ps();
    size_t part = 0;
    for (; part + 16 <= parts; part += 16) {
      const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + part)));
      sum = _mm512_add_ps(sum, _mm512_i32gather_ps(_mm512_add_epi32(bytes, lanes), table + part * kCentroids, 4));
    }
    if (left != 0) {
      uint8_t last[16] = {};
      memcpy(last, row + part, left);
      const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(last)));
      sum = _mm512_add_ps(sum, _mm512_mask_i32gather_ps(_mm512_setzero_ps(), tail, _mm512_add_epi32(bytes, lanes), table + part * kCentroids, 4));
    }
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sum), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(sum), 1)));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    sums[at] = _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
  }
}

struct RegisterSums {
  template <BitLayout layout>
  static inline uint32_t Sum(const uint64_t* planes, size_t plane_count, size_t plane_words, const uint8_t* high, const uint8_t* low, size_t words) {
    __m512i sum = _mm512_setzero_si512();
    for (size_t w = 0; w < words; w += 8) {
      const __mmask8 mask = words - w >= 8 ? 0xff : static_cast<__mmask8>((1u << (words - w)) - 1);
      const __m512i high_words = _mm512_maskz_loadu_epi64(mask, high + 8 * w);
      __m512i low_words = _mm512_setzero_si512();
      if constexpr (layout != BitLayout::kOneBit) low_words = _mm512_maskz_loadu_epi64(mask, low + 8 * w);
      if constexpr (layout == BitLayout::kSharedBit) low_words = _mm512_xor_si512(_mm512_xor_si512(low_words, high_words), _mm512_set1_epi64(-1));
      __m512i word_sums = _mm512_setzero_si512();
      for (size_t plane = plane_count; plane-- > 0;) {
        const __m512i q = _mm512_maskz_loadu_epi64(mask, planes + plane * plane_words + w);
        __m512i bits = _mm512_popcnt_epi64(_mm512_and_si512(q, high_words));
        if constexpr (layout != BitLayout::kOneBit) bits = _mm512_add_epi64(_mm512_add_epi64(bits, bits), _mm512_popcnt_epi64(_mm512_and_si512(q, low_words)));
        word_sums = _mm512_add_epi64(_mm512_add_epi64(word_sums, word_sums), bits);
      }
      sum = _mm512_add_epi64(sum, word_sums);
    }
    return static_cast<uint32_t>(_mm512_reduce_add_epi64(sum));
  }
};

}  // namespace

const nearkeep::CompactKernels nearkeep::kAvx512Compact = MakeCompactKernels<Avx512, RegisterSums>("avx512-popcnt", GatherLookup);
#endif
