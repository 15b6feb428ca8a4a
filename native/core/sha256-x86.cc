#include "sha256.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace {

alignas(16) constexpr uint32_t kRounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// The order in which the instructions want the eight words.
struct State {
  __m128i abef, cdgh;

  State() = default;
  explicit State(const uint32_t* words) {
    const __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)), 0xb1);
    const __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words + 4)), 0x1b);
    abef = _mm_alignr_epi8(cdab, efgh, 8);
    cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
  }

  void Store(uint32_t* words) const {
    const __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(words), _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(words + 4), _mm_alignr_epi8(dchg, feba, 8));
  }

  void Add(const State& other) {
    abef = _mm_add_epi32(abef, other.abef);
    cdgh = _mm_add_epi32(cdgh, other.cdgh);
  }
};

// Four rounds for each state, from group `group` of 16 on. `words`: the last sixteen of the schedule, as a ring.
template <int group, int count>
inline void Groups(State (&states)[count], __m128i (&words)[4]) {
  if constexpr (group < 16) {
    __m128i& now = words[group & 3];
    if constexpr (group >= 4) {
      const __m128i before = words[(group + 3) & 3];
      const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(now, words[(group + 1) & 3]), _mm_alignr_epi8(before, words[(group + 2) & 3], 4));
      now = _mm_sha256msg2_epu32(sum, before);
    }
    const __m128i low = _mm_add_epi32(now, _mm_load_si128(reinterpret_cast<const __m128i*>(kRounds + 4 * group)));
    const __m128i high = _mm_shuffle_epi32(low, 0x0e);
    for (State& state : states) state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, low);
    for (State& state : states) state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, high);
    Groups<group + 1>(states, words);
  }
}

template <int count>
inline void Compress(State (&states)[count], const uint8_t* bytes, size_t blocks) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  for (size_t block = 0; block < blocks; ++block, bytes += nearkeep::kShaBlockBytes) {
    __m128i words[4];
    for (int at = 0; at < 4; ++at) words[at] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes) + at), big_endian);
    State next[count];
    for (int at = 0; at < count; ++at) next[at] = states[at];
    Groups<0>(next, words);
    for (int at = 0; at < count; ++at) states[at].Add(next[at]);
  }
}

}  // namespace

void nearkeep::CompressSha(uint32_t* first, uint32_t* second, const uint8_t* bytes, size_t blocks) {
  if (second == nullptr) {
    State states[1] = {State(first)};
    Compress(states, bytes, blocks);
    states[0].Store(first);
  } else {
    State states[2] = {State(first), State(second)};
    Compress(states, bytes, blocks);
    states[0].Store(first);
    states[1].Store(second);
  }
}
#endif
