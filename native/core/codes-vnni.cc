// AVX-512 with VNNI. Compiled with -mavx512f -mavx512bw -mavx512vnni.
#if defined(__x86_64__)
#include <immintrin.h>

#include "code-kernels.h"

namespace {

inline __mmask64 TailMask(size_t left) { return left >= 64 ? ~__mmask64{0} : (__mmask64{1} << left) - 1; }

// The instruction multiplies unsigned by signed bytes: rows are read as code + 128, and 128 * sum(query) is taken off at the end.
void Dot(const int8_t* query, const uint8_t* const* rows, size_t count, size_t dims, int32_t* sums) {
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
  __m512i query_sum = _mm512_setzero_si512();
  for (size_t i = 0; i < dims; i += 64) {
    const __m512i q = _mm512_maskz_loadu_epi8(TailMask(dims - i), query + i);
    query_sum = _mm512_dpbusd_epi32(query_sum, flip, q);
  }
  const int32_t excess = _mm512_reduce_add_epi32(query_sum);
  for (size_t at = 0; at < count; ++at) {
    const uint8_t* row = rows[at];
    __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    size_t i = 0;
    for (; i + 256 <= dims; i += 256) {
      sum0 = _mm512_dpbusd_epi32(sum0, _mm512_xor_si512(flip, _mm512_loadu_si512(row + i)), _mm512_loadu_si512(query + i));
      sum1 = _mm512_dpbusd_epi32(sum1, _mm512_xor_si512(flip, _mm512_loadu_si512(row + i + 64)), _mm512_loadu_si512(query + i + 64));
      sum2 = _mm512_dpbusd_epi32(sum2, _mm512_xor_si512(flip, _mm512_loadu_si512(row + i + 128)), _mm512_loadu_si512(query + i + 128));
      sum3 = _mm512_dpbusd_epi32(sum3, _mm512_xor_si512(flip, _mm512_loadu_si512(row + i + 192)), _mm512_loadu_si512(query + i + 192));
    }
    for (; i < dims; i += 64) {  // masked-out query bytes are zero, so what stands beside them does not count
      const __mmask64 mask = TailMask(dims - i);
      sum0 = _mm512_dpbusd_epi32(sum0, _mm512_xor_si512(flip, _mm512_maskz_loadu_epi8(mask, row + i)), _mm512_maskz_loadu_epi8(mask, query + i));
    }
    sums[at] = _mm512_reduce_add_epi32(_mm512_add_epi32(_mm512_add_epi32(sum0, sum1), _mm512_add_epi32(sum2, sum3))) - excess;
  }
}

void L1(const int8_t* query, const uint8_t* const* rows, size_t count, size_t dims, int32_t* sums) {
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
  for (size_t at = 0; at < count; ++at) {
    const uint8_t* row = rows[at];
    __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0;
    size_t i = 0;
    for (; i + 128 <= dims; i += 128) {
      sum0 = _mm512_add_epi64(sum0, _mm512_sad_epu8(_mm512_xor_si512(flip, _mm512_loadu_si512(row + i)), _mm512_xor_si512(flip, _mm512_loadu_si512(query + i))));
      sum1 = _mm512_add_epi64(sum1, _mm512_sad_epu8(_mm512_xor_si512(flip, _mm512_loadu_si512(row + i + 64)), _mm512_xor_si512(flip, _mm512_loadu_si512(query + i + 64))));
    }
    for (; i < dims; i += 64) {
      const __mmask64 mask = TailMask(dims - i);
      sum0 = _mm512_add_epi64(sum0, _mm512_sad_epu8(_mm512_xor_si512(flip, _mm512_maskz_loadu_epi8(mask, row + i)), _mm512_xor_si512(flip, _mm512_maskz_loadu_epi8(mask, query + i))));
    }
    sums[at] = static_cast<int32_t>(_mm512_reduce_add_epi64(_mm512_add_epi64(sum0, sum1)));
  }
}

}  // namespace

const nearkeep::CodeKernels nearkeep::kVnniCodes = {"avx512-vnni", Dot, L1};
#endif
