// AVX2. Compiled with -mavx2.
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "code-kernels.h"

namespace {

inline int32_t Sum(__m256i eight) {
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

inline __m256i Wide(const void* from) { return _mm256_cvtepi8_epi16(_mm_loadu_si128(static_cast<const __m128i*>(from))); }

void Dot(const int8_t* query, const uint8_t* const* rows, size_t count, size_t dims, int32_t* sums) {
  for (size_t at = 0; at < count; ++at) {
    const uint8_t* row = rows[at];
    __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0;
    size_t i = 0;
    for (; i + 32 <= dims; i += 32) {
      sum0 = _mm256_add_epi32(sum0, _mm256_madd_epi16(Wide(query + i), Wide(row + i)));
      sum1 = _mm256_add_epi32(sum1, _mm256_madd_epi16(Wide(query + i + 16), Wide(row + i + 16)));
    }
    int32_t sum = Sum(_mm256_add_epi32(sum0, sum1));
    for (; i < dims; ++i) sum += int32_t{query[i]} * static_cast<int8_t>(row[i]);
    sums[at] = sum;
  }
}

void L1(const int8_t* query, const uint8_t* const* rows, size_t count, size_t dims, int32_t* sums) {
  const __m256i flip = _mm256_set1_epi8(static_cast<char>(0x80));
  for (size_t at = 0; at < count; ++at) {
    const uint8_t* row = rows[at];
    __m256i wide = _mm256_setzero_si256();  // 64-bit lanes whose sums stay below 2^31
    size_t i = 0;
    for (; i + 32 <= dims; i += 32) {
      const __m256i q = _mm256_xor_si256(flip, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(query + i)));
      const __m256i x = _mm256_xor_si256(flip, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + i)));
      wide = _mm256_add_epi64(wide, _mm256_sad_epu8(q, x));
    }
    int32_t sum = Sum(wide);
    for (; i < dims; ++i) {
      const int32_t difference = int32_t{query[i]} - static_cast<int8_t>(row[i]);
      sum += difference < 0 ? -difference : difference;
    }
    sums[at] = sum;
  }
}

}  // namespace

const nearkeep::CodeKernels nearkeep::kAvx2Codes = {"avx2", Dot, L1};
#endif
