// Graphs over blocks of rows: against an exact scan, at every size, with filters on top; their images against damage.
#include <math.h>

#include <algorithm>
#include <random>
#include <set>

#include "../core/bitmap.h"
#include "../core/cpu.h"
#include "../core/hnsw-blocks.h"
#include "../core/hnsw-search.h"
#include "check.h"
#include "run-job.h"

namespace {

using namespace nearkeep;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint32_t kRows = 1500;
#else
constexpr uint32_t kRows = 6000;
#endif
constexpr uint32_t kDims = 24;

using Rows = std::vector<uint32_t>;
using Bits = std::shared_ptr<std::vector<uint32_t>>;

// Points around 40 centres; for products of length 1, then each row stretched by up to `lengths`.
struct Data {
  Data(Metric metric, float lengths, uint32_t seed) : spec{metric, Datatype::kFloat32, kDims, false}, rows(spec, OfferedKernels().front()), random(seed) {
    for (uint32_t i = 0; i < 40 * kDims; ++i) centres.push_back(normal(random));
    std::vector<float> values;
    for (uint32_t row = 0; row < kRows; ++row) {
      const float stretch = 1 + static_cast<float>(row % 97) / 97 * (lengths - 1);
      for (const float value : Point(row % 40)) values.push_back(value * stretch);
    }
    rows.Append(reinterpret_cast<const uint8_t*>(values.data()), kRows);
  }
  std::vector<float> Point(uint32_t centre) {
    std::vector<float> point(kDims);
    float squares = 0;
    for (uint32_t i = 0; i < kDims; ++i) {
      point[i] = centres[centre * kDims + i] + 0.5f * normal(random);
      squares += point[i] * point[i];
    }
    if (spec.metric == Metric::kDot) for (float& value : point) value /= sqrtf(squares);
    return point;
  }

  RowSpec spec;
  GrowingRows rows;
  std::mt19937 random;
  std::normal_distribution<float> normal{0, 1};
  std::vector<float> centres;
};

std::shared_ptr<HnswBuildJob> BuildWhole(Pool& pool, const RowsView& view, uint32_t m) {
  auto job = std::make_shared<HnswBuildJob>(view, HnswConfig{m, 100}, pool.threads());
  RunToEnd([&](auto done) { pool.SubmitBackground(job, job->blocks(), 0, done); });
  CHECK(job->failure() == Failure::kNone && job->outcome() == BuildOutcome::kBuilt);
  return job;
}

std::shared_ptr<BlockGraphs> BuildBlocks(Pool& pool, const RowsView& view, const HnswBuildJob& whole, std::vector<Rows> blocks) {
  auto job = std::make_shared<BlockBuildJob>(view, HnswConfig{12, 100}, pool.threads(), whole.codes(), std::move(blocks));
  RunToEnd([&](auto done) { pool.SubmitBackground(job, job->blocks(), 0, done); });
  CHECK(job->failure() == Failure::kNone);
  return job->graphs();
}

Bits BitsOf(const Rows& rows) {
  auto bits = std::make_shared<std::vector<uint32_t>>(WordsFor(kRows));
  for (const uint32_t row : rows) (*bits)[row / 32] |= uint32_t{1} << (row & 31);
  return bits;
}

// Rows of one residue, and rows of some clusters alone.
std::vector<Rows> Residues(uint32_t divisor) {
  std::vector<Rows> blocks(divisor);
  for (uint32_t row = 0; row < kRows; ++row) blocks[row % divisor].push_back(row);
  return blocks;
}

// Recall of walks in the block against the scan of `allowed`, which lie in it. Every hit is allowed and has the scan's score.
double RecallIn(Pool& pool, Data& data, const std::shared_ptr<HnswBuildJob>& whole, const std::shared_ptr<BlockGraphs>& blocks, uint32_t block, const Rows& allowed, bool by_rows) {
  const Bits bits = BitsOf(allowed);
  const bool all = allowed.size() == blocks->block(block).graph->rows();
  std::vector<GraphQuery> walks;
  std::vector<ScanQuery> scans;
  for (uint32_t at = 0; at < 20; ++at) {
    const ScanQuery query = {PadQuery(data.Point(at * 7 % 40).data(), kDims), 10, bits};
    scans.push_back(query);
    GraphQuery walk = {query, 64, 64, all ? Filtering::kPlain : Filtering::kPredicate, by_rows};
    walk.block = block;
    walks.push_back(walk);
  }
  auto walking = std::make_shared<GraphSearchJob>(data.rows.view(), whole->codes(), whole->graph(), walks, blocks);
  RunToEnd([&](auto done) { pool.Submit(walking, walking->blocks(), done); });
  auto scanning = std::make_shared<ScanJob>(data.rows.view(), scans, pool.threads());
  RunToEnd([&](auto done) { pool.Submit(scanning, scanning->blocks(), done); });
  CHECK(walking->failure() == Failure::kNone);
  size_t hits = 0, wanted = 0;
  for (size_t at = 0; at < scans.size(); ++at) {
    const Hits& found = walking->hits()[at];
    const Hits& truth = scanning->hits()[at];
    wanted += truth.rows.size();
    for (size_t i = 0; i < found.rows.size(); ++i) {
      CHECK(std::binary_search(allowed.begin(), allowed.end(), found.rows[i]));
      const auto same = std::find(truth.rows.begin(), truth.rows.end(), found.rows[i]);
      if (same == truth.rows.end()) continue;
      CHECK(truth.scores[static_cast<size_t>(same - truth.rows.begin())] == found.scores[i]);
      ++hits;
    }
  }
  return static_cast<double>(hits) / static_cast<double>(wanted);
}

TEST(blocks_are_searched_as_their_scan_at_every_size_and_with_filters_on_top) {
  Pool pool(2);
  for (const auto& [metric, lengths] : {std::pair(Metric::kSquaredL2, 1.0f), std::pair(Metric::kL1, 1.0f), std::pair(Metric::kDot, 1.0f)}) {
    Data data(metric, lengths, 5);
    const RowsView view = data.rows.view();
    const auto whole = BuildWhole(pool, view, 16);
    std::vector<Rows> lists = {Residues(2)[1], Residues(10)[3], Residues(100)[7], {kRows - 1}, {0, 1}};
    Rows clusters;  // goes with the vectors
    for (uint32_t row = 0; row < kRows; ++row) if (row % 40 < 4) clusters.push_back(row);
    lists.push_back(clusters);
    const auto blocks = BuildBlocks(pool, view, *whole, lists);
    CHECK(blocks->size() == lists.size());
    for (uint32_t at = 0; at < lists.size(); ++at) {
      CHECK(RecallIn(pool, data, whole, blocks, at, lists[at], false) >= 0.95);
      CHECK(RecallIn(pool, data, whole, blocks, at, lists[at], true) >= 0.95);
      Rows part;
      for (size_t i = 0; i < lists[at].size(); i += 3) part.push_back(lists[at][i]);
      if (part.size() < lists[at].size()) CHECK(RecallIn(pool, data, whole, blocks, at, part, false) >= 0.95);
    }
  }
}

TEST(codes_of_all_allowed_rows_find_nearly_what_the_scan_finds_without_a_graph) {
  Pool pool(2);
  Data data(Metric::kSquaredL2, 1, 12);
  const auto codes_alone = BuildWhole(pool, data.rows.view(), 0);
  for (const uint32_t divisor : {1u, 3u, 50u, kRows}) {
    const Bits bits = BitsOf(Residues(divisor)[0]);
    for (const bool by_rows : {false, true}) {
      std::vector<GraphQuery> queries;
      std::vector<ScanQuery> scans;
      for (uint32_t at = 0; at < 20; ++at) {
        scans.push_back({PadQuery(data.Point(at).data(), kDims), 10, bits});
        queries.push_back({scans.back(), 40, 40, Filtering::kNoWalk, by_rows});
      }
      auto searching = std::make_shared<GraphSearchJob>(data.rows.view(), codes_alone->codes(), nullptr, queries);
      RunToEnd([&](auto done) { pool.Submit(searching, searching->blocks(), done); });
      auto scanning = std::make_shared<ScanJob>(data.rows.view(), scans, pool.threads());
      RunToEnd([&](auto done) { pool.Submit(scanning, scanning->blocks(), done); });
      size_t hits = 0, wanted = 0;
      for (size_t at = 0; at < scans.size(); ++at) {
        const Hits& truth = scanning->hits()[at];
        const Hits& found = searching->hits()[at];
        CHECK(found.rows.size() == truth.rows.size());
        for (const uint32_t row : found.rows) {
          CHECK(IsSet(bits->data(), row));
          hits += std::find(truth.rows.begin(), truth.rows.end(), row) != truth.rows.end();
        }
        wanted += truth.rows.size();
      }
      CHECK(static_cast<double>(hits) >= 0.99 * static_cast<double>(wanted));
    }
  }
}

TEST(blocks_need_no_links_over_all_rows) {
  Pool pool(2);
  Data data(Metric::kSquaredL2, 1, 6);
  const auto codes_alone = BuildWhole(pool, data.rows.view(), 0);
  CHECK(codes_alone->graph() == nullptr);
  const auto lists = Residues(5);
  const auto blocks = BuildBlocks(pool, data.rows.view(), *codes_alone, lists);
  for (uint32_t at = 0; at < lists.size(); ++at) CHECK(RecallIn(pool, data, codes_alone, blocks, at, lists[at], false) >= 0.95);
}

TEST(blocks_are_built_the_same_and_walked_by_whatever_codes_there_are) {
  Pool pool(2);
  for (const auto& [metric, lengths] : {std::pair(Metric::kSquaredL2, 1.0f), std::pair(Metric::kDot, 1.0f), std::pair(Metric::kL1, 1.0f)}) {
    Data data(metric, lengths, 13);
    const RowsView view = data.rows.view();
    const auto lists = Residues(4);
    // On one thread, so that the same links come out.
    const auto build = [&](const HnswBuildJob& whole) {
      auto job = std::make_shared<BlockBuildJob>(view, HnswConfig{12, 100}, pool.threads(), whole.codes(), lists);
      RunToEnd([&](auto done) { pool.SubmitBackground(job, job->blocks(), 1, done); });
      CHECK(job->failure() == Failure::kNone && job->graphs()->size() == lists.size());
      return job->graphs();
    };
    const auto by_internal = build(*BuildWhole(pool, view, 0));
    const Image& internal = *by_internal->image();
    struct Case { CodesConfig codes; double recall_min; };
    for (const auto& [codes, recall_min] : {Case{{CodesKind::kScalar, 0.99f, 0}, 0.95}, Case{{CodesKind::kProduct, 1, 1}, 0.95}, Case{{CodesKind::kBinary, 1, 2}, 0.7}}) {
      auto whole = std::make_shared<HnswBuildJob>(view, HnswConfig{0, 100, codes}, pool.threads());
      RunToEnd([&](auto done) { pool.SubmitBackground(whole, whole->blocks(), 0, done); });
      CHECK(whole->codes()->kind() == codes.kind);
      const auto blocks = build(*whole);
      CHECK(blocks->image()->size_bytes() == internal.size_bytes() && memcmp(blocks->image()->data(), internal.data(), internal.size_bytes()) == 0);
      for (uint32_t at = 0; at < lists.size(); ++at) {
        CHECK(RecallIn(pool, data, whole, blocks, at, lists[at], false) >= recall_min);
        CHECK(RecallIn(pool, data, whole, blocks, at, lists[at], true) >= 0.95);
      }
    }
  }
}

TEST(blocks_of_products_whose_walks_miss_too_much_are_left_out_or_found) {
  Pool pool(2);
  Data data(Metric::kDot, 30, 7);
  const auto whole = std::make_shared<HnswBuildJob>(data.rows.view(), HnswConfig{0, 100}, pool.threads());
  RunToEnd([&](auto done) { pool.SubmitBackground(whole, whole->blocks(), 0, done); });
  const auto lists = Residues(6);
  const auto blocks = BuildBlocks(pool, data.rows.view(), *whole, lists);
  for (uint32_t at = 0; at < blocks->size(); ++at) {
    const BlockGraph& block = blocks->block(at);
    const Rows rows(block.rows, block.rows + block.graph->rows());
    CHECK(std::find(lists.begin(), lists.end(), rows) != lists.end());
    CHECK(RecallIn(pool, data, whole, blocks, at, rows, false) >= 0.9);
  }
}

TEST(the_smallest_block_that_covers_all_allowed_rows_is_found) {
  Pool pool(2);
  Data data(Metric::kSquaredL2, 1, 8);
  const auto whole = BuildWhole(pool, data.rows.view(), 0);
  std::vector<Rows> lists = Residues(3);  // 0, 1, 2
  Rows first;
  constexpr uint32_t kPart = kRows / 10;
  for (uint32_t row = 0; row < kPart; ++row) first.push_back(row);
  lists.push_back(first);  // 3, across the others
  lists.push_back({1, 4, 7, 10, kRows - 2});  // 4, inside 1
  const auto blocks = BuildBlocks(pool, data.rows.view(), *whole, lists);
  const auto cover = [&](const Rows& rows) { return blocks->FindCover(BitsOf(rows)->data(), static_cast<uint32_t>(std::set<uint32_t>(rows.begin(), rows.end()).size())); };
  CHECK(kRows % 3 == 0);
  CHECK(cover(lists[0]) == 0 && cover(lists[1]) == 1 && cover(lists[2]) == 2 && cover(lists[3]) == 3 && cover(lists[4]) == 4);
  CHECK(cover({5}) == 3);
  CHECK(kPart % 3 == 0 && cover({kPart - 1, kPart - 4}) == 3);
  CHECK(cover({kPart + 2, kPart - 1}) == 2);
  CHECK(cover({4, 10}) == 4);
  CHECK(cover({4, 13}) == 3);
  CHECK(cover({4, 5, kPart + 1}) == blocks->size());
  CHECK(cover({}) == blocks->size());
  std::mt19937 random(9);
  for (int round = 0; round < 2000; ++round) {  // against the definition
    const Rows& from = lists[random() % lists.size()];
    Rows some;
    for (uint32_t i = 0; i < 1 + random() % 4; ++i) some.push_back(random() % 8 == 0 ? random() % kRows : from[random() % from.size()]);
    size_t wanted = lists.size();
    for (size_t at = 0; at < lists.size(); ++at) {
      const bool holds = std::all_of(some.begin(), some.end(), [&](uint32_t row) { return std::binary_search(lists[at].begin(), lists[at].end(), row); });
      if (holds && (wanted == lists.size() || lists[at].size() < lists[wanted].size())) wanted = at;
    }
    const size_t found = cover(some);
    CHECK(found == wanted || (wanted < lists.size() && lists[found].size() == lists[wanted].size()));
  }
}

TEST(a_block_image_opens_as_it_was_packed_and_damage_never_leads_outside) {
  Pool pool(2);
  Data data(Metric::kSquaredL2, 1, 10);
  const auto whole = BuildWhole(pool, data.rows.view(), 0);
  std::vector<Rows> lists = Residues(30);
  lists.resize(7);
  const auto built = BuildBlocks(pool, data.rows.view(), *whole, lists);
  const Image& image = *built->image();
  const auto copy = [&](size_t bytes) {
    auto other = std::make_shared<Image>(bytes);
    memcpy(other->data(), image.data(), std::min(bytes, image.size_bytes()));
    return other;
  };
  const char* problem = nullptr;
  const auto opened = BlockGraphs::Open(kRows, copy(image.size_bytes()), &problem);
  CHECK(opened != nullptr && opened->size() == 7);
  for (size_t at = 0; at < 7; ++at) {
    CHECK(opened->CheckLinks(at));
    CHECK(std::equal(lists[at].begin(), lists[at].end(), opened->block(at).rows));
  }
  CHECK(BlockGraphs::Open(kRows + 1, copy(image.size_bytes()), &problem) == nullptr);
  for (size_t bytes = 0; bytes < image.size_bytes(); bytes += bytes < 300 ? 1 : 997) CHECK(BlockGraphs::Open(kRows, copy(bytes), &problem) == nullptr && problem != nullptr);
  CHECK(BlockGraphs::Open(kRows, copy(image.size_bytes() + 64), &problem) == nullptr);
  const auto empty = BlockGraphs::Pack(kRows, {});
  CHECK(empty->size() == 0 && empty->FindCover(BitsOf({1})->data(), 1) == 0);

  std::mt19937 random(11);
  size_t refused = 0;
  for (int round = 0; round < 4000; ++round) {
    auto damaged = copy(image.size_bytes());
    const size_t place = round < 1500 ? static_cast<size_t>(round) % 1500 : random() % image.size_bytes();
    damaged->data()[place] ^= static_cast<uint8_t>(1u << random() % 8);
    const auto graphs = BlockGraphs::Open(kRows, damaged, &problem);
    bool whole_links = graphs != nullptr;
    for (size_t at = 0; whole_links && at < graphs->size(); ++at) whole_links = graphs->CheckLinks(at);
    if (!whole_links) {
      ++refused;
      continue;
    }
    for (uint32_t at = 0; at < graphs->size(); ++at) {  // what is let in can be walked
      GraphQuery walk = {{PadQuery(data.Point(at).data(), kDims), 10, nullptr}, 20, 20, Filtering::kPlain, false};
      walk.block = at;
      GraphSearchJob job(data.rows.view(), whole->codes(), nullptr, {walk}, graphs);
      job.Run(0, 0);
      for (const uint32_t row : job.hits()[0].rows) CHECK(row < kRows);
    }
  }
  CHECK(refused > 500);
}

}  // namespace
