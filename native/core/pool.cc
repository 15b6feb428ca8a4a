#include "pool.h"

#if defined(__linux__)
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <new>
#include <system_error>

namespace nearkeep {
namespace {

// Of the calling thread alone; a system that refuses it runs the thread like any other.
void StandBack(int niceness) {
#if defined(__linux__)
  if (niceness > 0) setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), getpriority(PRIO_PROCESS, 0) + niceness);
#else
  (void)niceness;
#endif
}

}  // namespace

bool Job::RunHere(size_t blocks) {
  may_wait_ = false;
  try {
    do {
      for (size_t block = 0; block < blocks && !Stopped(); ++block) Run(block, 0);
      blocks = Advance();
    } while (blocks > 0);
  } catch (const std::bad_alloc&) {
    Fail(Failure::kNoMemory);
  }
  return !Stopped();
}

Pool::Pool(size_t threads, int niceness) : busy_(threads) {
  threads_.reserve(threads);
  try {
    for (size_t worker = 0; worker < threads; ++worker) {
      threads_.emplace_back([this, worker, niceness] {
        StandBack(niceness);
        Work(worker);
      });
    }
  } catch (const std::system_error&) {
    if (threads_.empty()) throw;  // fewer threads than wanted still do the work
  }
}

Pool::~Pool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    for (const auto& entry : queue_) entry->job->Cancel();
    for (const auto& entry : background_) entry->job->Cancel();
    for (const auto& entry : busy_) {
      if (entry != nullptr) entry->job->Cancel();
    }
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Pool::Submit(std::shared_ptr<Job> job, size_t blocks, std::function<void()> ended) {
  auto entry = std::make_shared<Entry>();
  entry->job = std::move(job);
  entry->ended = std::move(ended);
  entry->blocks = blocks;
  Add(std::move(entry));
}

void Pool::SubmitBackground(std::shared_ptr<Job> job, size_t blocks, size_t threads_max, std::function<void()> ended) {
  auto entry = std::make_shared<Entry>();
  entry->job = std::move(job);
  entry->ended = std::move(ended);
  entry->blocks = blocks;
  entry->background = true;
  entry->threads_max = threads_max;
  Add(std::move(entry));
}

void Pool::Add(std::shared_ptr<Entry> entry) {
  const size_t blocks = entry->blocks;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    Queue(entry);
  }
  if (blocks <= 1) wake_.notify_one();
  else wake_.notify_all();
}

// Under the lock.
void Pool::Queue(const std::shared_ptr<Entry>& entry) {
  if (entry->queued || (entry->threads_max != 0 && entry->running >= entry->threads_max)) return;
  entry->queued = true;
  (entry->background ? background_ : queue_).push_back(entry);
}

// Under the lock, with an entry queued.
std::shared_ptr<Pool::Entry> Pool::Take() {
  auto& from = queue_.empty() ? background_ : queue_;
  std::shared_ptr<Entry> entry = std::move(from.front());
  from.pop_front();
  entry->queued = false;
  return entry;
}

void Pool::Work(size_t worker) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty() || !background_.empty(); });
    if (stopping_) return;
    RunPhases(lock, Take(), worker);
  }
}

// Takes one block of the entry, gives the entry back to the end of its queue where more are left, and runs the block. Whoever
// ends the last block of a phase starts the next. Holds the lock at entry and exit.
void Pool::RunPhases(std::unique_lock<std::mutex>& lock, const std::shared_ptr<Entry>& entry, size_t worker) {
  const size_t block = entry->next;
  if (block < entry->blocks) {
    ++entry->next;
    ++entry->running;
    if (entry->next < entry->blocks) Queue(entry);
    busy_[worker] = entry;
    lock.unlock();
    try {
      if (!entry->job->Stopped()) entry->job->Run(block, worker);
    } catch (const std::bad_alloc&) {
      entry->job->Fail(Failure::kNoMemory);
    }
    lock.lock();
    busy_[worker] = nullptr;
    --entry->running;
    if (entry->next < entry->blocks) Queue(entry);  // where the limit kept it out
  }
  if (entry->next < entry->blocks || entry->running > 0 || stopping_) return;
  busy_[worker] = entry;
  lock.unlock();
  size_t blocks = 0;
  try {
    blocks = entry->job->Advance();
  } catch (const std::bad_alloc&) {
    entry->job->Fail(Failure::kNoMemory);
  }
  if (blocks == 0) entry->ended();
  lock.lock();
  busy_[worker] = nullptr;
  if (blocks == 0) return;
  entry->blocks = blocks;
  entry->next = 0;
  Queue(entry);
  if (blocks > 1) wake_.notify_all();
}

}  // namespace nearkeep
