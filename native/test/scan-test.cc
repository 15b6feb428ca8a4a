// The scan on every kernel of this CPU against a scan that only knows ExactScores, whose own twin is written out here.
#include <math.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <random>

#include "../core/bitmap.h"
#include "../core/cpu.h"
#include "../core/half.h"
#include "../core/scan.h"
#include "check.h"

namespace {

using namespace nearkeep;

constexpr Metric kAllMetrics[] = {Metric::kDot, Metric::kSquaredL2, Metric::kL1};
constexpr Datatype kAllDatatypes[] = {Datatype::kFloat32, Datatype::kFloat16, Datatype::kUint8};

double ValueAt(const RowSpec& spec, const uint8_t* row, size_t at) {
  if (spec.datatype == Datatype::kUint8) return row[at];
  if (spec.datatype == Datatype::kFloat16) {
    uint16_t half;
    std::memcpy(&half, row + at * 2, 2);
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    const double magnitude = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
  }
  float value;
  std::memcpy(&value, row + at * 4, 4);
  return value;
}

float NaiveScore(const RowSpec& spec, const float* query, const uint8_t* row) {
  double sum = 0, squares = 0;
  for (size_t i = 0; i < spec.dims; ++i) {
    const double a = query[i], b = ValueAt(spec, row, i);
    const double term = spec.metric == Metric::kDot ? a * b : spec.metric == Metric::kSquaredL2 ? (a - b) * (a - b) : fabs(a - b);
    sum += term;
    squares += b * b;
  }
  if (spec.divides_by_length) return static_cast<float>(squares == 0 ? 0 : sum / sqrt(squares));
  return static_cast<float>(spec.metric == Metric::kSquaredL2 ? sqrt(sum) : sum);
}

Hits NaiveScan(const RowsView& view, const ScanQuery& query) {
  std::vector<std::pair<float, uint32_t>> all;
  for (uint32_t row = 0; row < view.row_count; ++row) {
    if (((*query.allowed)[row / 32] >> (row & 31) & 1) != 0) all.push_back({NaiveScore(view.spec, query.vector.data(), view.Row(row)), row});
  }
  const bool larger = view.spec.LargerIsBetter();
  std::sort(all.begin(), all.end(), [larger](const auto& a, const auto& b) {
    if (a.first != b.first) return larger ? a.first > b.first : a.first < b.first;
    return a.second < b.second;
  });
  Hits hits;
  for (size_t i = 0; i < all.size() && i < query.k; ++i) {
    hits.scores.push_back(all[i].first);
    hits.rows.push_back(all[i].second);
  }
  return hits;
}

std::vector<uint8_t> RandomRows(std::mt19937& random, const RowSpec& spec, size_t count, bool close) {
  std::vector<uint8_t> bytes(count * spec.StrideBytes());
  for (size_t i = 0; i < count * spec.dims; ++i) {
    if (spec.datatype == Datatype::kUint8) {
      bytes[i] = static_cast<uint8_t>(close ? 7 + (random() % spec.dims == 0) : random());
    } else if (spec.datatype == Datatype::kFloat16) {
      const auto half = static_cast<uint16_t>(close ? 0x3400 + random() % 2 : (random() & 0x83ff) + random() % 0x7800);
      std::memcpy(&bytes[i * 2], &half, 2);
    } else {
      const float spread = std::ldexp(1.0f + static_cast<float>(random() % 1000) / 1000, static_cast<int>(random() % 12) - 6);
      const float value = close ? 0.7f + static_cast<float>(random() % 3) * 0x1p-24f : (random() % 2 ? spread : -spread);
      std::memcpy(&bytes[i * 4], &value, 4);
    }
  }
  return bytes;
}

std::vector<float> RandomQuery(std::mt19937& random, size_t dims) {
  std::vector<float> query(dims);
  for (float& value : query) value = static_cast<float>(random()) / 4e9f - 0.5f;
  return PadQuery(query.data(), dims);
}

std::shared_ptr<const std::vector<uint32_t>> RandomBitmap(std::mt19937& random, size_t rows, unsigned one_in) {
  auto words = std::make_shared<std::vector<uint32_t>>(WordsFor(rows));
  for (size_t row = 0; row < rows; ++row) (*words)[row / 32] |= static_cast<uint32_t>(random() % one_in == 0) << (row & 31);
  return words;
}

// Runs a job to its end.
class Waiter {
 public:
  std::function<void()> Done() {
    return [this] {
      std::lock_guard<std::mutex> lock(mutex_);
      done_ = true;
      changed_.notify_all();
    };
  }
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
};

void CheckScan(Pool& pool, const RowsView& view, const std::vector<ScanQuery>& queries) {
  auto job = std::make_shared<ScanJob>(view, queries, pool.threads());
  Waiter waiter;
  pool.Submit(job, job->blocks(), waiter.Done());
  waiter.Wait();
  CHECK(job->failure() == Failure::kNone);
  for (size_t at = 0; at < queries.size(); ++at) {
    const Hits want = NaiveScan(view, queries[at]);
    CHECK(job->hits()[at].rows == want.rows);
    CHECK(job->hits()[at].scores.size() == want.scores.size());
    CHECK(want.scores.empty() || std::memcmp(job->hits()[at].scores.data(), want.scores.data(), want.scores.size() * 4) == 0);
  }
}

TEST(scan_finds_what_a_naive_scan_finds_on_every_kernel) {
  std::mt19937 random(1);
  Pool pool(3);
  for (const Kernels* kernels : OfferedKernels()) {
    for (const Metric metric : kAllMetrics) {
      for (const Datatype datatype : kAllDatatypes) {
        for (const uint32_t dims : {1u, 3u, 16u, 17u, 63u, 768u}) {
          for (const bool close : {false, true}) {
            GrowingRows rows({metric, datatype, dims, false}, kernels);
            const size_t count = dims == 768 ? 150 : 700;
            const std::vector<uint8_t> bytes = RandomRows(random, rows.view().spec, count, close);
            rows.Append(bytes.data(), static_cast<uint32_t>(count));
            std::vector<ScanQuery> queries;
            for (const uint32_t k : {1u, 10u, 100u, 4000u}) {
              for (const unsigned one_in : {1u, 3u, 50u}) queries.push_back({RandomQuery(random, dims), k, RandomBitmap(random, count, one_in)});
            }
            CheckScan(pool, rows.view(), queries);
          }
        }
      }
    }
  }
}

TEST(cosine_of_bytes_is_divided_by_the_length_of_the_row) {
  std::mt19937 random(6);
  Pool pool(2);
  for (const Kernels* kernels : OfferedKernels()) {
    for (const uint32_t dims : {1u, 17u, 300u}) {
      GrowingRows rows({Metric::kDot, Datatype::kUint8, dims, true}, kernels);
      for (const bool close : {false, true}) {
        const std::vector<uint8_t> bytes = RandomRows(random, rows.view().spec, 500, close);
        rows.Append(bytes.data(), 500);
      }
      const std::vector<uint8_t> zeros(dims * 3);
      rows.Append(zeros.data(), 3);
      std::vector<ScanQuery> queries;
      for (const uint32_t k : {1u, 20u, 2000u}) queries.push_back({RandomQuery(random, dims), k, RandomBitmap(random, 1003, 1)});
      CheckScan(pool, rows.view(), queries);
    }
  }
}

TEST(scan_of_many_blocks) {
  std::mt19937 random(2);
  Pool pool(4);
  GrowingRows rows({Metric::kSquaredL2, Datatype::kFloat32, 24, false}, OfferedKernels().front());
  const uint32_t count = 60000;
  const std::vector<uint8_t> bytes = RandomRows(random, rows.view().spec, count, false);
  for (uint32_t at = 0; at < count; at += 100) rows.Append(bytes.data() + size_t{at} * 96, 100);
  CHECK(rows.view().row_count == count);
  CHECK(rows.MemoryBytes() >= bytes.size() && rows.MemoryBytes() < bytes.size() * 2);
  CheckScan(pool, rows.view(), {{RandomQuery(random, 24), 50, RandomBitmap(random, count, 1)}});
}

TEST(halves_are_read_exactly) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = HalfToFloat(half);
    if ((bits & 0x7c00) == 0x7c00) {
      CHECK((bits & 0x3ff) != 0 ? isnan(value) : isinf(value) && (value < 0) == (bits >> 15));
    } else {
      const RowSpec spec = {Metric::kDot, Datatype::kFloat16, 1, false};
      CHECK(value == ValueAt(spec, reinterpret_cast<const uint8_t*>(&half), 0));
    }
  }
}

TEST(bitmap_edges) {
  std::vector<uint32_t> words(5, 0xffffffff);
  for (const auto& [from, to] : std::vector<std::pair<uint32_t, uint32_t>>{{0, 0}, {0, 1}, {31, 32}, {31, 33}, {32, 32}, {5, 160}, {64, 96}, {159, 160}}) {
    std::vector<uint32_t> seen;
    ForEachSet(words.data(), from, to, [&](uint32_t row) { seen.push_back(row); });
    CHECK(seen.size() == to - from);
    for (size_t i = 0; i < seen.size(); ++i) CHECK(seen[i] == from + i);
  }
  words.assign(5, 0);
  words[2] = 0x80000001;
  std::vector<uint32_t> seen;
  ForEachSet(words.data(), 0, 160, [&](uint32_t row) { seen.push_back(row); });
  CHECK((seen == std::vector<uint32_t>{64, 95}));
}

TEST(candidates_keep_every_row_within_the_bounds) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    const uint32_t k = 1 + random() % 20;
    const double width = static_cast<double>(random() % 100);
    std::vector<double> truth;
    Candidates candidates;
    for (uint32_t row = 0; row < 3000; ++row) {
      truth.push_back(static_cast<double>(random() % 1000));
      const double approximate = truth[row] + width * (static_cast<double>(random() % 200) / 100 - 1);
      candidates.Add(row, approximate - width, approximate + width, k);
    }
    candidates.Compact(k);
    std::vector<double> sorted = truth;
    std::sort(sorted.rbegin(), sorted.rend());
    std::vector<bool> kept(3000);
    for (const Candidate& candidate : candidates.list()) kept[candidate.row] = true;
    for (uint32_t row = 0; row < 3000; ++row) CHECK(truth[row] < sorted[k - 1] || kept[row]);
    if (width == 0) CHECK(candidates.list().size() < 3000);
  }
}

TEST(listed_rows_are_scored_in_their_order) {
  std::mt19937 random(4);
  Pool pool(2);
  GrowingRows rows({Metric::kL1, Datatype::kFloat32, 5, false}, OfferedKernels().front());
  const std::vector<uint8_t> bytes = RandomRows(random, rows.view().spec, 900, false);
  rows.Append(bytes.data(), 900);
  std::vector<uint32_t> list;
  for (int i = 0; i < 1000; ++i) list.push_back(random() % 900);
  const std::vector<float> query = RandomQuery(random, 5);
  auto job = std::make_shared<ScoreJob>(rows.view(), query, list);
  Waiter waiter;
  pool.Submit(job, job->blocks(), waiter.Done());
  waiter.Wait();
  for (size_t i = 0; i < list.size(); ++i) CHECK(job->scores()[i] == NaiveScore(rows.view().spec, query.data(), rows.view().Row(list[i])));
}

}  // namespace
