#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace nearkeep {
namespace {

#if defined(__x86_64__)
// Register sets that the operating system saves on a task switch (XCR0). A CPU may have AVX-512 where the system does not.
uint64_t SavedRegisterSets() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}
#endif

struct Offered {
  std::vector<const Kernels*> kernels;
  std::vector<const CodeKernels*> codes;
  std::vector<const CompactKernels*> compact;
};

#if defined(__x86_64__)
void OfferX86(Offered* offered) {
  uint32_t eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return;
  const bool fma = ecx >> 12 & 1, popcnt = ecx >> 23 & 1, saves_registers = ecx >> 27 & 1, avx = ecx >> 28 & 1, f16c = ecx >> 29 & 1;
  if (!saves_registers || !avx || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return;
  const bool avx2 = ebx >> 5 & 1, avx512f = ebx >> 16 & 1, avx512bw = ebx >> 30 & 1, vnni = ecx >> 11 & 1, vpopcnt = ecx >> 14 & 1;
  const uint64_t saved = SavedRegisterSets();
  const bool saves_ymm = (saved & 0x06) == 0x06, saves_zmm = (saved & 0xe6) == 0xe6;
  if (avx512f && saves_zmm) offered->kernels.push_back(&kAvx512Kernels);
  if (avx2 && fma && f16c && saves_ymm) offered->kernels.push_back(&kAvx2Kernels);
  if (avx512f && avx512bw && vnni && saves_zmm) offered->codes.push_back(&kVnniCodes);
  if (avx2 && saves_ymm) offered->codes.push_back(&kAvx2Codes);
  if (avx512f && vpopcnt && saves_zmm) offered->compact.push_back(&kAvx512Compact);
  if (avx2 && popcnt && saves_ymm) offered->compact.push_back(&kAvx2Compact);
}
#endif

Offered Detect() {
  Offered offered;
#if defined(__x86_64__)
  OfferX86(&offered);
#elif defined(__aarch64__)
  offered.kernels.push_back(&kNeonKernels);
  offered.codes.push_back(&kNeonCodes);
  offered.compact.push_back(&kNeonCompact);
#endif
  offered.kernels.push_back(&kScalarKernels);
  offered.codes.push_back(&kScalarCodes);
  offered.compact.push_back(&kScalarCompact);
  return offered;
}

const Offered& AllOffered() {
  static const Offered offered = Detect();
  return offered;
}

}  // namespace

const std::vector<const Kernels*>& OfferedKernels() { return AllOffered().kernels; }

const std::vector<const CodeKernels*>& OfferedCodeKernels() { return AllOffered().codes; }

const std::vector<const CompactKernels*>& OfferedCompactKernels() { return AllOffered().compact; }

namespace {

// Tables for AVX-512 ask for more of the CPU than the float kernels: the best there is goes with those.
template <class Table>
const Table& TableFor(const Kernels& kernels, const std::vector<const Table*>& offered) {
  const std::string name = kernels.name;
  if (name == "avx512") return *offered.front();
  for (const Table* table : offered) {
    if (name == table->name) return *table;
  }
  return *offered.back();
}

}  // namespace

const CodeKernels& CodeKernelsFor(const Kernels& kernels) { return TableFor(kernels, OfferedCodeKernels()); }

const CompactKernels& CompactKernelsFor(const Kernels& kernels) { return TableFor(kernels, OfferedCompactKernels()); }

bool OffersSha() {
#if defined(__x86_64__)
  uint32_t eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return false;
  const bool ssse3 = ecx >> 9 & 1, sse41 = ecx >> 19 & 1;
  return ssse3 && sse41 && __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx >> 29 & 1);
#else
  return false;
#endif
}

const Kernels* FindKernels(const std::string& name) {
  for (const Kernels* kernels : OfferedKernels()) {
    if (name == kernels->name) return kernels;
  }
  return nullptr;
}

}  // namespace nearkeep
