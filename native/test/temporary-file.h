// A file of a test, for maps of it. In TMPDIR, else in /tmp; gone with the object.
#pragma once
#include <fcntl.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/magic.h>
#include <sys/vfs.h>
#endif

#include <cstdlib>
#include <string>
#include <vector>

#include "../core/files.h"
#include "check.h"

class TemporaryFile {
 public:
  TemporaryFile() {
    const char* folder = std::getenv("TMPDIR");
    path_ = std::string(folder == nullptr ? "/tmp" : folder) + "/nearkeep-native-XXXXXX";
    descriptor_ = mkstemp(&path_[0]);
    CHECK(descriptor_ >= 0);
  }
  ~TemporaryFile() {
    close(descriptor_);
    unlink(path_.c_str());
  }
  void Write(const void* bytes, size_t count, size_t offset) {
    CHECK(pwrite(descriptor_, bytes, count, static_cast<off_t>(offset)) == static_cast<ssize_t>(count));
  }
  void Fill(size_t bytes) {
    const std::vector<char> some(bytes, 3);
    Write(some.data(), bytes, 0);
  }
  void Cut(size_t bytes) { CHECK(ftruncate(descriptor_, static_cast<off_t>(bytes)) == 0); }
  // Out of memory, before it is mapped. False, and a line that says so, where the file system lies in memory or the system has no such call.
  bool Evict() {
#if defined(__linux__)
    struct statfs facts;
    CHECK(fsync(descriptor_) == 0 && fstatfs(descriptor_, &facts) == 0);
    CHECK(posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED) == 0);
    if (facts.f_type != TMPFS_MAGIC) return true;
#endif
    printf("skipped: %s cannot be taken out of memory\n", path_.c_str());
    return false;
  }
  std::shared_ptr<nearkeep::MappedFile> Map(uint64_t size_bytes) const {
    int error_number = 0;
    uint64_t found = 0;
    return nearkeep::MappedFile::Open(path_, size_bytes, &error_number, &found);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int descriptor_;
};
