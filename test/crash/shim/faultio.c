// Loaded into a server with LD_PRELOAD: counts the calls that change files below one path, and makes chosen ones fail, come up
// short, or be the last thing the process does. What to do stands in a file that the test and this process both map, so a
// running server can be armed and disarmed. Without FAULTIO_CONTROL every call passes through.
//
// control (u32 each): mode | kinds | first | count | errno | seen | faults | fdatasync calls | fsync calls; at 64: path substring
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { WATCH = 0, KILL = 1, FAIL = 2, SHORT = 3, TORN = 4 };
enum kind { WRITE = 1, SYNC = 2, RENAME = 4, NAME = 8, TRUNCATE = 16, COPY = 32 };
enum verdict { PASS, REFUSE, HALF, HALF_AND_DIE };

struct control {
  uint32_t mode, kinds, first, count, error, seen, faults, fdatasyncs, fsyncs, unused[7];
  char path[448];
};

static struct control *control;

__attribute__((constructor)) static void start(void) {
  const char *file = getenv("FAULTIO_CONTROL");
  int fd = file == NULL ? -1 : open(file, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped != MAP_FAILED) control = mapped;
}

static int is_watched(const char *path) {
  return control != NULL && path != NULL && control->path[0] != 0 && strstr(path, control->path) != NULL;
}

static const char *path_of(int fd, char *buffer, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = control == NULL ? -1 : readlink(link, buffer, size - 1);
  if (length < 0) return NULL;
  buffer[length] = 0;
  return buffer;
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static enum verdict judge(enum kind kind, const char *path) {
  if (!is_watched(path) || (control->kinds & kind) == 0) return PASS;
  uint32_t seen = __atomic_add_fetch(&control->seen, 1, __ATOMIC_SEQ_CST);
  uint32_t mode = __atomic_load_n(&control->mode, __ATOMIC_SEQ_CST);
  if (mode == WATCH || seen < control->first || seen - control->first >= control->count) return PASS;
  __atomic_add_fetch(&control->faults, 1, __ATOMIC_SEQ_CST);
  if (mode == KILL) die();
  if (kind == WRITE && mode == TORN) return HALF_AND_DIE;
  if (kind == WRITE && mode == SHORT && seen == control->first) return HALF;
  errno = (int)control->error;
  return REFUSE;
}

static enum verdict judge_fd(enum kind kind, int fd) {
  char buffer[4096];
  return judge(kind, path_of(fd, buffer, sizeof buffer));
}

#define REAL(name) \
  static __typeof__(&name) real; \
  if (real == NULL) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define WRITER(name, arguments, values, halved) \
  ssize_t name arguments { \
    REAL(name); \
    enum verdict verdict = judge_fd(WRITE, fd); \
    if (verdict == REFUSE) return -1; \
    if (verdict == PASS) return real values; \
    ssize_t written = real halved; \
    if (verdict == HALF_AND_DIE) die(); \
    return written; \
  }

WRITER(write, (int fd, const void *bytes, size_t size), (fd, bytes, size), (fd, bytes, size / 2))
WRITER(pwrite, (int fd, const void *bytes, size_t size, off_t at), (fd, bytes, size, at), (fd, bytes, size / 2, at))
WRITER(pwrite64, (int fd, const void *bytes, size_t size, off64_t at), (fd, bytes, size, at), (fd, bytes, size / 2, at))

/* Half of the first part: a vector comes up short inside a part, which no caller may take for a whole one. */
static struct iovec half_of(const struct iovec *parts) {
  struct iovec half = {parts[0].iov_base, parts[0].iov_len / 2};
  return half;
}

#define VECTOR_WRITER(name, arguments, values, halved) \
  ssize_t name arguments { \
    REAL(name); \
    enum verdict verdict = judge_fd(WRITE, fd); \
    if (verdict == REFUSE) return -1; \
    if (verdict == PASS || count == 0) return real values; \
    struct iovec half = half_of(parts); \
    ssize_t written = real halved; \
    if (verdict == HALF_AND_DIE) die(); \
    return written; \
  }

VECTOR_WRITER(writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), (fd, &half, 1))
VECTOR_WRITER(pwritev, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at), (fd, &half, 1, at))
VECTOR_WRITER(pwritev64, (int fd, const struct iovec *parts, int count, off64_t at), (fd, parts, count, at), (fd, &half, 1, at))

#define SYNCER(name, counter) \
  int name(int fd) { \
    REAL(name); \
    char buffer[4096]; \
    const char *path = path_of(fd, buffer, sizeof buffer); \
    if (judge(SYNC, path) != PASS) return -1; \
    int result = real(fd); \
    if (result == 0 && is_watched(path)) __atomic_add_fetch(&control->counter, 1, __ATOMIC_SEQ_CST); \
    return result; \
  }

SYNCER(fsync, fsyncs)
SYNCER(fdatasync, fdatasyncs)

#define BY_PATH(name, kind, arguments, path, values) \
  int name arguments { \
    REAL(name); \
    return judge(kind, path) == PASS ? real values : -1; \
  }

BY_PATH(rename, RENAME, (const char *from, const char *to), to, (from, to))
BY_PATH(renameat, RENAME, (int a, const char *from, int b, const char *to), to, (a, from, b, to))
BY_PATH(renameat2, RENAME, (int a, const char *from, int b, const char *to, unsigned flags), to, (a, from, b, to, flags))
BY_PATH(link, NAME, (const char *from, const char *to), to, (from, to))
BY_PATH(linkat, NAME, (int a, const char *from, int b, const char *to, int flags), to, (a, from, b, to, flags))
BY_PATH(unlink, NAME, (const char *path), path, (path))
BY_PATH(rmdir, NAME, (const char *path), path, (path))
BY_PATH(mkdir, NAME, (const char *path, mode_t mode), path, (path, mode))
BY_PATH(mkdirat, NAME, (int a, const char *path, mode_t mode), path, (a, path, mode))

/* Names relative to an open folder are looked up below that folder. */
int unlinkat(int folder, const char *path, int flags) {
  REAL(unlinkat);
  enum verdict verdict = path[0] == '/' ? judge(NAME, path) : judge_fd(NAME, folder);
  return verdict == PASS ? real(folder, path, flags) : -1;
}

#define OPENER(name) \
  int name(const char *path, int flags, ...) { \
    REAL(name); \
    va_list rest; \
    va_start(rest, flags); \
    mode_t mode = va_arg(rest, mode_t); \
    va_end(rest); \
    if ((flags & (O_CREAT | O_TRUNC)) != 0 && judge(NAME, path) != PASS) return -1; \
    return real(path, flags, mode); \
  }

OPENER(open)
OPENER(open64)

BY_PATH(ftruncate, TRUNCATE, (int fd, off_t size), path_of(fd, (char[4096]){0}, 4096), (fd, size))
BY_PATH(ftruncate64, TRUNCATE, (int fd, off64_t size), path_of(fd, (char[4096]){0}, 4096), (fd, size))

ssize_t copy_file_range(int from, off64_t *from_at, int fd, off64_t *at, size_t size, unsigned flags) {
  REAL(copy_file_range);
  return judge_fd(COPY, fd) == PASS ? real(from, from_at, fd, at, size, flags) : -1;
}

ssize_t sendfile64(int fd, int from, off64_t *at, size_t size) {
  REAL(sendfile64);
  return judge_fd(COPY, fd) == PASS ? real(fd, from, at, size) : -1;
}

int ioctl(int fd, unsigned long request, ...) {
  REAL(ioctl);
  va_list rest;
  va_start(rest, request);
  void *value = va_arg(rest, void *);
  va_end(rest);
  if (request == FICLONE && judge_fd(COPY, fd) != PASS) return -1;
  return real(fd, request, value);
}
