// A run of memory with the bytes of a file's data, aligned to cache lines; or a part of one.
#pragma once
#include <stdint.h>
#include <string.h>

#include <memory>
#include <new>
#include <utility>

namespace nearkeep {

class Image {
 public:
  // All bytes zero. Throws std::bad_alloc.
  explicit Image(size_t size_bytes);

  // Of the same memory, which stays as long as either. The part lies inside.
  static std::shared_ptr<Image> Part(const Image& whole, size_t offset, size_t size_bytes) {
    return std::shared_ptr<Image>(new Image(std::shared_ptr<uint8_t>(whole.data_, whole.data() + offset), size_bytes));
  }

  uint8_t* data() const { return data_.get(); }
  size_t size_bytes() const { return size_bytes_; }

 private:
  Image(std::shared_ptr<uint8_t> data, size_t size_bytes) : data_(std::move(data)), size_bytes_(size_bytes) {}

  std::shared_ptr<uint8_t> data_;
  size_t size_bytes_;
};

}  // namespace nearkeep
