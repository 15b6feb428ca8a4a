// The compression function of SHA-256 over whole blocks, for one state or for two that take the same bytes: the message schedule is then
// made once, and the rounds of the two run beside each other, where those of one alone would wait for their own results.
// Included by a file compiled for other CPUs than the running one: nothing here may emit code.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace nearkeep {

constexpr size_t kShaBlockBytes = 64;

#if defined(__x86_64__)
// States of eight words each; `second` may be null. Needs a CPU with the SHA extensions.
void CompressSha(uint32_t* first, uint32_t* second, const uint8_t* bytes, size_t blocks);
#endif

}  // namespace nearkeep
