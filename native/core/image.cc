#include "image.h"

#include <stdlib.h>
#include <sys/mman.h>

namespace nearkeep {
namespace {

constexpr size_t kAlignmentBytes = 64;
constexpr size_t kHugePageBytes = size_t{2} << 20;

std::shared_ptr<uint8_t> Small(size_t size_bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, kAlignmentBytes, size_bytes == 0 ? kAlignmentBytes : size_bytes) != 0) throw std::bad_alloc();
  memset(memory, 0, size_bytes);
  return std::shared_ptr<uint8_t>(static_cast<uint8_t*>(memory), free);
}

// Walks read records at places all over a large image: with pages of 4 KiB nearly each of them would wait for the page tables first. And
// pages that come as zeros from the system, one by one as they are written, hold up no thread for all of them at once.
std::shared_ptr<uint8_t> Large(size_t size_bytes) {
  const size_t whole = (size_bytes + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
  void* memory = mmap(nullptr, whole + kHugePageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  uint8_t* const from = static_cast<uint8_t*>(memory);
  const size_t before = (kHugePageBytes - reinterpret_cast<uintptr_t>(from) % kHugePageBytes) % kHugePageBytes;
  if (before > 0) munmap(from, before);
  munmap(from + before + whole, kHugePageBytes - before);
#if defined(MADV_HUGEPAGE)
  madvise(from + before, whole, MADV_HUGEPAGE);  // a wish: where it is refused the pages are small
#endif
  return std::shared_ptr<uint8_t>(from + before, [whole](uint8_t* data) { munmap(data, whole); });
}

}  // namespace

Image::Image(size_t size_bytes) : data_(size_bytes < kHugePageBytes ? Small(size_bytes) : Large(size_bytes)), size_bytes_(size_bytes) {}

}  // namespace nearkeep
