// Known answers of FIPS 180-4, and one state against two.
#include "../core/cpu.h"
#include "../core/sha256.h"

#include <cstring>

#include "check.h"

#if defined(__x86_64__)
namespace {

constexpr uint32_t kInitial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
constexpr uint32_t kAbc[8] = {0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223, 0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad};

struct State {
  uint32_t words[8];
  State() { std::memcpy(words, kInitial, sizeof words); }
  bool operator==(const State& other) const { return std::memcmp(words, other.words, sizeof words) == 0; }
};

}  // namespace

TEST(sha256_known_answer) {
  if (!nearkeep::OffersSha()) return;
  uint8_t block[nearkeep::kShaBlockBytes] = {'a', 'b', 'c', 0x80};
  block[63] = 24;
  State one, first, second;
  nearkeep::CompressSha(one.words, nullptr, block, 1);
  CHECK(std::memcmp(one.words, kAbc, sizeof kAbc) == 0);
  nearkeep::CompressSha(first.words, second.words, block, 1);
  CHECK(first == one);
  CHECK(second == one);
}

TEST(sha256_two_states_are_two_hashes) {
  if (!nearkeep::OffersSha()) return;
  std::vector<uint8_t> bytes(64 * 7 + 1);
  for (size_t at = 0; at < bytes.size(); ++at) bytes[at] = static_cast<uint8_t>(at * 131 + at / 7);
  State apart[2], together[2];
  for (State* states : {apart, together}) nearkeep::CompressSha(states[1].words, nullptr, bytes.data(), 3);  // different beginnings
  for (State& state : apart) nearkeep::CompressSha(state.words, nullptr, bytes.data() + 1, 7);  // no alignment is needed
  nearkeep::CompressSha(together[0].words, together[1].words, bytes.data() + 1, 7);
  CHECK(together[0] == apart[0]);
  CHECK(together[1] == apart[1]);
  CHECK(!(apart[0] == apart[1]));
}
#endif
