// AVX2 and the population count of 64-bit words. Compiled with -mavx2 -mpopcnt.
#if defined(__x86_64__)
#include <immintrin.h>

#include "compact-loop.h"

namespace {

struct Avx2 {
  using Register = __m256;
  static constexpr size_t kWidth = 8;
  static inline Register Zero() { return _mm256_setzero_ps(); }
  static inline Register Set(float value) { return _mm256_set1_ps(value); }
  static inline Register Load(const float* from) { return _mm256_loadu_ps(from); }
  static inline void Store(float* to, Register a) { _mm256_storeu_ps(to, a); }
  static inline Register Add(Register a, Register b) { return _mm256_add_ps(a, b); }
  static inline Register Sub(Register a, Register b) { return _mm256_sub_ps(a, b); }
  static inline Register Mul(Register a, Register b) { return _mm256_mul_ps(a, b); }
  static inline Register Abs(Register a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
  static inline Register Min(Register a, Register b) { return _mm256_min_ps(a, b); }
  static inline float Smallest(Register a) {
    const __m128 four = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_min_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_min_ss(two, _mm_shuffle_ps(two, two, 1)));
  }
  static inline unsigned EqualMask(Register a, float value) {
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_set1_ps(value), _CMP_EQ_OQ)));
  }
};

inline __m256 Gather(const float* table, const uint8_t* codes) {
  const __m256i lanes = _mm256_setr_epi32(0, 256, 512, 768, 1024, 1280, 1536, 1792);
  const __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes)));
  return _mm256_i32gather_ps(table, _mm256_add_epi32(bytes, lanes), 4);
}

void GatherLookup(const float* table, const uint8_t* const* rows, size_t count, size_t parts, float* sums) {
  for (size_t at = 0; at < count; ++at) {
    const uint8_t* row = rows[at];
    __m256 low = _mm256_setzero_ps(), high = low;
    size_t part = 0;
    for (; part + 16 <= parts; part += 16) {
      low = _mm256_add_ps(low, Gather(table + part * kCentroids, row + part));
      high = _mm256_add_ps(high, Gather(table + (part + 8) * kCentroids, row + part + 8));
    }
    float lanes[16];
    _mm256_storeu_ps(lanes, low);
    _mm256_storeu_ps(lanes + 8, high);
    for (size_t lane = 0; part + lane < parts; ++lane) lanes[lane] += table[(part + lane) * kCentroids + row[part + lane]];
    sums[at] = FoldLanes(lanes);
  }
}

}  // namespace

const nearkeep::CompactKernels nearkeep::kAvx2Compact = MakeCompactKernels<Avx2, WordSums>("avx2", GatherLookup);
#endif
