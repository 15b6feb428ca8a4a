// A run of memory with the bytes of a file's data, aligned to cache lines.
#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <memory>
#include <new>

namespace nearkeep {

class Image {
 public:
  // All bytes zero. Throws std::bad_alloc.
  explicit Image(size_t size_bytes) : size_bytes_(size_bytes) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, size_bytes == 0 ? 64 : size_bytes) != 0) throw std::bad_alloc();
    data_.reset(static_cast<uint8_t*>(memory));
    memset(memory, 0, size_bytes);
  }

  uint8_t* data() const { return data_.get(); }
  size_t size_bytes() const { return size_bytes_; }

 private:
  struct Free {
    void operator()(uint8_t* memory) const { free(memory); }
  };
  std::unique_ptr<uint8_t, Free> data_;
  size_t size_bytes_;
};

}  // namespace nearkeep
