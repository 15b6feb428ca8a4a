// Threads that work off jobs. A job is a run of equal phases: the blocks of one phase run on any thread in any order, then one thread
// calls Advance, which says how many blocks the next phase has. Jobs take turns block by block, so a long scan does not hold up a
// short one, and a single job uses every thread. Background jobs get a thread only when no other job has a block to run; a block of
// theirs under way is finished, so it must be short.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace nearkeep {

enum class Failure : uint8_t { kNone, kCancelled, kUnreadable, kCodesUnreadable, kNoMemory, kWouldWait };

// Everything that the blocks of a phase wrote is visible to Advance and to the next phase.
class Job {
 public:
  virtual ~Job() = default;
  // `worker` < Pool::threads(): no two calls run at the same time with the same worker.
  virtual void Run(size_t block, size_t worker) = 0;
  // All blocks have ended. Blocks of the next phase; 0 = the job has ended.
  virtual size_t Advance() = 0;

  // From any thread. The job still ends through its `ended` call, soon.
  void Cancel() { Fail(Failure::kCancelled); }
  // The first failure stays. Blocks that start afterwards are skipped.
  void Fail(Failure failure) {
    Failure none = Failure::kNone;
    failure_.compare_exchange_strong(none, failure);
  }
  Failure failure() const { return failure_.load(); }
  bool Stopped() const { return failure_.load(std::memory_order_relaxed) != Failure::kNone; }

  // The whole job on the calling thread, without a pool. Where it would wait for the disk it fails, with kWouldWait. False where it failed;
  // one like it on a pool need not.
  bool RunHere(size_t blocks);

 protected:
  // Whether it may wait for the disk.
  bool may_wait() const { return may_wait_; }

 private:
  std::atomic<Failure> failure_{Failure::kNone};
  bool may_wait_ = true;
};

class Pool {
 public:
  // `niceness` 0 to 19 on Linux: how far the threads stand back behind those of other pools and of the process where there are not
  // enough cores for all.
  explicit Pool(size_t threads, int niceness = 0);
  // Cancels what is queued or running and joins. Jobs that had not ended are dropped without their `ended` call.
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  size_t threads() const { return threads_.size(); }
  // `ended` is called once, on a thread of the pool.
  void Submit(std::shared_ptr<Job> job, size_t blocks, std::function<void()> ended);
  // The same in the background, on at most `threads_max` threads at a time; 0: on all.
  void SubmitBackground(std::shared_ptr<Job> job, size_t blocks, size_t threads_max, std::function<void()> ended);

 private:
  struct Entry {
    std::shared_ptr<Job> job;
    std::function<void()> ended;
    size_t blocks;
    bool background = false;
    size_t threads_max = 0;  // 0: no limit
    size_t next = 0;
    size_t running = 0;
    bool queued = false;
  };

  void Add(std::shared_ptr<Entry> entry);
  void Queue(const std::shared_ptr<Entry>& entry);
  std::shared_ptr<Entry> Take();
  void Work(size_t worker);
  void RunPhases(std::unique_lock<std::mutex>& lock, const std::shared_ptr<Entry>& entry, size_t worker);

  std::mutex mutex_;  // guards all below but threads_, which is written only by constructor and destructor
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Entry>> queue_, background_;  // entries with blocks that nobody has taken and that a thread may take
  std::vector<std::shared_ptr<Entry>> busy_;  // by worker: the entry whose block runs, for the destructor
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace nearkeep
