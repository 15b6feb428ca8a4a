// Jobs from several threads, cancelled and closed at any moment.
#include <condition_variable>
#include <random>
#include <thread>

#include "../core/bitmap.h"
#include "../core/cpu.h"
#include "../core/scan.h"
#include "check.h"

namespace {

using namespace nearkeep;

// Counts without atomics on purpose: the pool promises that phases see one another's writes.
class CountingJob : public Job {
 public:
  CountingJob(size_t blocks, size_t phases) : done_(blocks), phases_(phases) {}
  void Run(size_t block, size_t) override { ++done_[block]; }
  size_t Advance() override {
    for (const size_t count : done_) right_ = right_ && (count == phase_ + 1 || Stopped());
    return ++phase_ < phases_ && !Stopped() ? done_.size() : 0;
  }
  bool right() const { return right_; }
  size_t phase() const { return phase_; }

 private:
  std::vector<size_t> done_;
  const size_t phases_;
  size_t phase_ = 0;
  bool right_ = true;
};

TEST(every_block_of_every_phase_runs_once) {
  Pool pool(4);
  std::mutex mutex;
  std::condition_variable changed;
  size_t ended = 0;
  std::vector<std::shared_ptr<CountingJob>> jobs;
  for (size_t i = 0; i < 200; ++i) jobs.push_back(std::make_shared<CountingJob>(i % 7 == 0 ? 0 : i % 40, 1 + i % 3));
  std::vector<std::thread> submitters;
  for (size_t part = 0; part < 4; ++part) {
    submitters.emplace_back([&, part] {
      for (size_t i = part; i < jobs.size(); i += 4) {
        const size_t blocks = i % 7 == 0 ? 0 : i % 40;
        pool.Submit(jobs[i], blocks, [&] {
          std::lock_guard<std::mutex> lock(mutex);
          ++ended;
          changed.notify_all();
        });
      }
    });
  }
  for (std::thread& thread : submitters) thread.join();
  std::unique_lock<std::mutex> lock(mutex);
  changed.wait(lock, [&] { return ended == jobs.size(); });
  for (size_t i = 0; i < jobs.size(); ++i) CHECK(jobs[i]->right() && jobs[i]->phase() == (i % 7 == 0 || i % 40 == 0 ? 1 : 1 + i % 3));
}

TEST(a_job_that_runs_out_of_memory_fails_alone) {
  struct Hungry : Job {
    void Run(size_t, size_t) override { throw std::bad_alloc(); }
    size_t Advance() override { return 0; }
  };
  Pool pool(2);
  std::atomic<int> ended{0};
  auto hungry = std::make_shared<Hungry>();
  auto other = std::make_shared<CountingJob>(10, 2);
  pool.Submit(hungry, 3, [&] { ++ended; });
  pool.Submit(other, 10, [&] { ++ended; });
  while (ended != 2) std::this_thread::yield();
  CHECK(hungry->failure() == Failure::kNoMemory);
  CHECK(other->right() && other->failure() == Failure::kNone);
}

// Searches while rows are appended, some cancelled, the rows and at last the pool going away underneath.
TEST(searches_appends_cancels_and_closes_at_once) {
  std::mt19937 random(5);
  for (int round = 0; round < 6; ++round) {
    auto pool = std::make_unique<Pool>(3);
    std::atomic<size_t> ended{0};
    size_t submitted = 0;
    for (int index = 0; index < 4; ++index) {
      auto rows = std::make_unique<GrowingRows>(RowSpec{Metric::kDot, Datatype::kFloat32, 32, false}, OfferedKernels().front());
      std::vector<float> values(32 * 100, 0.25f);
      for (int append = 0; append < 60; ++append) {
        rows->Append(reinterpret_cast<const uint8_t*>(values.data()), 100);
        const uint32_t count = rows->view().row_count;
        auto all = std::make_shared<std::vector<uint32_t>>(WordsFor(count), 0xffffffff);
        std::vector<ScanQuery> queries(3, ScanQuery{PadQuery(values.data(), 32), 7, all});
        auto job = std::make_shared<ScanJob>(rows->view(), queries, pool->threads());
        pool->Submit(job, job->blocks(), [&ended, job, count] {
          // equal scores: the first rows, and never one that came later
          const bool right = job->failure() == Failure::kCancelled || (job->hits()[2].rows.size() == 7 && job->hits()[2].rows[6] == 6 && count >= 7);
          if (right) ++ended;
        });
        ++submitted;
        if (random() % 4 == 0) job->Cancel();
      }
      if (index % 2 == 0) rows.reset();  // jobs keep what they read
    }
    if (round % 2 == 0) {
      while (ended != submitted) std::this_thread::yield();
    }
    pool.reset();  // odd rounds: in the middle of it
    CHECK(ended <= submitted);
  }
}

}  // namespace
