#include "pool.h"

#include <new>
#include <system_error>

namespace nearkeep {

Pool::Pool(size_t threads) : busy_(threads) {
  threads_.reserve(threads);
  try {
    for (size_t worker = 0; worker < threads; ++worker) threads_.emplace_back([this, worker] { Work(worker); });
  } catch (const std::system_error&) {
    if (threads_.empty()) throw;  // fewer threads than wanted still do the work
  }
}

Pool::~Pool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    for (const auto& entry : queue_) entry->job->Cancel();
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
  {
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(std::move(entry));
  }
  if (blocks <= 1) wake_.notify_one();
  else wake_.notify_all();
}

void Pool::Work(size_t worker) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    const std::shared_ptr<Entry> entry = std::move(queue_.front());
    queue_.pop_front();
    RunPhases(lock, entry, worker);
  }
}

// Takes one block of the entry, gives the entry back to the end of the queue where more are left, and runs the block. Whoever
// ends the last block of a phase starts the next. Holds the lock at entry and exit.
void Pool::RunPhases(std::unique_lock<std::mutex>& lock, const std::shared_ptr<Entry>& entry, size_t worker) {
  const size_t block = entry->next;
  if (block < entry->blocks) {
    ++entry->next;
    ++entry->running;
    if (entry->next < entry->blocks) queue_.push_back(entry);
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
  queue_.push_back(entry);
  if (blocks > 1) wake_.notify_all();
}

}  // namespace nearkeep
