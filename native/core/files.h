// Read-only maps of files that never change, and the lock on the data directory.
//
// A page of a map that cannot be read (an I/O error, or a file that somebody cut) raises SIGBUS. Every read of a map therefore
// happens inside ReadGuarded, which turns the signal into `false`. A cut inside the last page raises nothing and reads as zeros:
// Intact() finds it afterwards.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <string>

namespace nearkeep {

class MappedFile {
 public:
  // Null with `error_number` (errno), or with error_number 0 where the file has `found_bytes` instead of `size_bytes`.
  static std::shared_ptr<MappedFile> Open(const std::string& path, uint64_t size_bytes, int* error_number, uint64_t* found_bytes);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  uint64_t size_bytes() const { return size_bytes_; }
  bool Intact() const;
  // Whether all of these bytes, which lie in the map, are in memory: reading them now does not wait for the disk.
  bool Resident(const uint8_t* from, size_t bytes) const;

 private:
  MappedFile(int descriptor, const uint8_t* data, uint64_t size_bytes)
      : descriptor_(descriptor), data_(data), size_bytes_(size_bytes) {}

  const int descriptor_;
  const uint8_t* const data_;
  const uint64_t size_bytes_;
};

bool RunGuarded(void (*body)(const void*), const void* context);

// Runs `body`; false where it touched a page that could not be read. The body is left by a jump then: it must own nothing (no
// allocation, no lock, no destructor), and what it wrote is undefined.
template <class Body>
bool ReadGuarded(const Body& body) {
  return RunGuarded([](const void* context) { (*static_cast<const Body*>(context))(); }, &body);
}

// An exclusive lock on a file, held by an open file description: a second Take fails in this process like in any other, and the
// system releases it when the process ends, however it ends.
class FileLock {
 public:
  // Creates the file where it is absent. Null with error_number 0 where the lock is held, else errno.
  static std::unique_ptr<FileLock> Take(const std::string& path, int* error_number);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}

  const int descriptor_;
};

}  // namespace nearkeep
