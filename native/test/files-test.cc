// Maps whose file is cut underneath, and the lock.
#include <condition_variable>
#include <cstring>

#include "../core/bitmap.h"
#include "../core/cpu.h"
#include "../core/scan.h"
#include "check.h"
#include "temporary-file.h"

namespace {

using namespace nearkeep;

TEST(a_map_of_the_wrong_size_is_refused) {
  TemporaryFile file;
  file.Fill(10000);
  int error_number = 0;
  uint64_t found = 0;
  CHECK(MappedFile::Open(file.path(), 9999, &error_number, &found) == nullptr && error_number == 0 && found == 10000);
  CHECK(MappedFile::Open(file.path() + "-absent", 1, &error_number, &found) == nullptr && error_number == ENOENT);
  CHECK(file.Map(10000) != nullptr);
}

TEST(an_empty_file_maps_to_nothing) {
  TemporaryFile file;
  const auto map = file.Map(0);
  CHECK(map != nullptr && map->data() == nullptr && map->Intact());
}

TEST(a_guarded_read_survives_a_cut) {
  TemporaryFile file;
  file.Fill(1 << 20);
  const auto map = file.Map(1 << 20);
  unsigned sum = 0;
  const auto read = [&] { sum += map->data()[(1 << 20) - 1]; };
  for (int round = 0; round < 100; ++round) CHECK(ReadGuarded(read));
  CHECK(sum == 300 && map->Intact());
  file.Cut(5000);
  for (int round = 0; round < 100; ++round) CHECK(!ReadGuarded(read));
  CHECK(!map->Intact());
  CHECK(ReadGuarded([] {}));
}

TEST(a_scan_of_a_cut_file_fails_on_every_thread) {
  constexpr uint32_t kRows = 40000;
  Pool pool(4);
  for (const size_t kept : {size_t{0}, size_t{1} << 20, size_t{4096} + kRows * 64 - 1}) {
    TemporaryFile file;
    file.Fill(4096 + kRows * 64);
    const RowsView view = ViewOfFile({Metric::kDot, Datatype::kUint8, 64, false}, OfferedKernels().front(), file.Map(4096 + kRows * 64), 4096, kRows);
    file.Cut(kept);
    std::atomic<size_t> ended{0};
    std::vector<std::shared_ptr<ScanJob>> jobs;
    const std::vector<float> query(64, 1.0f);
    for (int i = 0; i < 8; ++i) {
      auto all = std::make_shared<std::vector<uint32_t>>(WordsFor(kRows), 0xffffffff);
      jobs.push_back(std::make_shared<ScanJob>(view, std::vector<ScanQuery>{{query, 3, all}}, pool.threads()));
      pool.Submit(jobs.back(), jobs.back()->blocks(), [&] { ++ended; });
    }
    while (ended != jobs.size()) std::this_thread::yield();
    for (const auto& job : jobs) CHECK(job->failure() == Failure::kUnreadable);
  }
}

TEST(a_lock_excludes_this_process_and_others) {
  TemporaryFile file;
  int error_number = -1;
  auto lock = FileLock::Take(file.path(), &error_number);
  CHECK(lock != nullptr && error_number == 0);
  CHECK(FileLock::Take(file.path(), &error_number) == nullptr && error_number == 0);
  lock.reset();
  lock = FileLock::Take(file.path(), &error_number);
  CHECK(lock != nullptr);
  CHECK(FileLock::Take(file.path() + "-no/such/folder", &error_number) == nullptr && error_number == ENOENT);
}

TEST(a_lock_is_taken_on_the_file_that_has_the_name) {
  TemporaryFile file;
  int error_number = 0;
  const auto old = FileLock::Take(file.path(), &error_number);
  unlink(file.path().c_str());
  const auto renewed = FileLock::Take(file.path(), &error_number);
  CHECK(old != nullptr && renewed != nullptr);
  CHECK(FileLock::Take(file.path(), &error_number) == nullptr);
}

}  // namespace
