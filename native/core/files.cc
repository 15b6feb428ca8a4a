#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>

namespace nearkeep {
namespace {

// Where the running guarded body of this thread is left to; null outside. The signal handler reads it, so its storage must exist
// before: the initial-exec model never allocates.
#if defined(__linux__)
__attribute__((tls_model("initial-exec")))
#endif
thread_local sigjmp_buf* jump_target = nullptr;

struct sigaction previous_action;

void OnSigbus(int number, siginfo_t* info, void* context) {
  if (jump_target != nullptr) siglongjmp(*jump_target, 1);
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(number, info, context);
  } else if (previous_action.sa_handler == SIG_DFL || previous_action.sa_handler == SIG_IGN) {
    signal(number, SIG_DFL);  // the faulting instruction runs again and ends the process as if this handler did not exist
  } else {
    previous_action.sa_handler(number);
  }
}

void InstallHandler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = OnSigbus;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &previous_action);
  });
}

int OpenRetrying(const char* path, int flags) {
  int descriptor;
  do descriptor = open(path, flags | O_CLOEXEC, 0644);
  while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

}  // namespace

bool RunGuarded(void (*body)(const void*), const void* context) {
  sigjmp_buf here;
  if (sigsetjmp(here, 0) != 0) {  // 0: saving the signal mask would be a system call for every read
    jump_target = nullptr;
    sigset_t left_blocked;  // by the handler that was not returned from
    sigemptyset(&left_blocked);
    sigaddset(&left_blocked, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &left_blocked, nullptr);
    return false;
  }
  jump_target = &here;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  body(context);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  jump_target = nullptr;
  return true;
}

std::shared_ptr<MappedFile> MappedFile::Open(const std::string& path, uint64_t size_bytes, int* error_number,
                                             uint64_t* found_bytes) {
  InstallHandler();
  const int descriptor = OpenRetrying(path.c_str(), O_RDONLY);
  struct stat facts = {};
  if (descriptor < 0 || fstat(descriptor, &facts) != 0) {
    *error_number = errno;
    if (descriptor >= 0) close(descriptor);
    return nullptr;
  }
  *found_bytes = static_cast<uint64_t>(facts.st_size);
  void* data = nullptr;
  *error_number = 0;
  if (*found_bytes == size_bytes && size_bytes > 0) {
    data = mmap(nullptr, size_bytes, PROT_READ, MAP_SHARED, descriptor, 0);
    if (data == MAP_FAILED) *error_number = errno;
  }
  if (*found_bytes != size_bytes || *error_number != 0) {
    close(descriptor);
    return nullptr;
  }
  return std::shared_ptr<MappedFile>(new MappedFile(descriptor, static_cast<const uint8_t*>(data), size_bytes));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<uint8_t*>(data_), size_bytes_);
  close(descriptor_);
}

bool MappedFile::Intact() const {
  struct stat facts = {};
  return fstat(descriptor_, &facts) == 0 && static_cast<uint64_t>(facts.st_size) == size_bytes_;
}

bool MappedFile::Resident(const uint8_t* from, size_t bytes) const {
  static const size_t page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  constexpr size_t kPagesAtOnce = 64;
#if defined(__APPLE__)
  char pages[kPagesAtOnce];
#else
  unsigned char pages[kPagesAtOnce];
#endif
  const size_t end = static_cast<size_t>(from - data_) + bytes;
  size_t at = static_cast<size_t>(from - data_) / page_bytes * page_bytes;
  while (at < end) {
    const size_t length = std::min(end - at, kPagesAtOnce * page_bytes);
    if (mincore(const_cast<uint8_t*>(data_) + at, length, pages) != 0) return false;
    for (size_t page = 0; page * page_bytes < length; ++page) {
      if ((pages[page] & 1) == 0) return false;
    }
    at += length;
  }
  return true;
}

std::unique_ptr<FileLock> FileLock::Take(const std::string& path, int* error_number) {
  for (;;) {
    const int descriptor = OpenRetrying(path.c_str(), O_RDWR | O_CREAT);
    *error_number = errno;
    if (descriptor < 0) return nullptr;
    int taken;
    do taken = flock(descriptor, LOCK_EX | LOCK_NB);
    while (taken != 0 && errno == EINTR);
    if (taken != 0) {
      *error_number = errno == EWOULDBLOCK ? 0 : errno;
      close(descriptor);
      return nullptr;
    }
    // Between open and flock the name may have been given to another file; a lock on the old one would exclude nobody.
    struct stat locked = {}, named = {};
    if (fstat(descriptor, &locked) == 0 && stat(path.c_str(), &named) == 0 && locked.st_ino == named.st_ino &&
        locked.st_dev == named.st_dev) {
      *error_number = 0;
      return std::unique_ptr<FileLock>(new FileLock(descriptor));
    }
    close(descriptor);
  }
}

FileLock::~FileLock() { close(descriptor_); }

}  // namespace nearkeep
