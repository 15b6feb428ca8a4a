// Internal codes against their definition, graphs against an exact scan, images against damage.
#include "graph-cases.h"

namespace {

using namespace graph_cases;

TEST(code_kernels_agree_with_their_scalar_twin) {
  std::mt19937 random(61);
  for (const CodeKernels* kernels : OfferedCodeKernels()) {
    for (size_t dims : {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 768, 1001, 65536}) {
      for (int round = 0; round < 4; ++round) {
        std::vector<int8_t> query(dims + 3);
        std::vector<uint8_t> bytes(3 * dims + 7);
        for (auto& code : query) code = static_cast<int8_t>(round == 0 ? -128 : round == 1 ? 0 : random());
        for (auto& code : bytes) code = static_cast<uint8_t>(round == 0 ? 0x80 : random());
        const size_t shift = round;  // unaligned starts
        const uint8_t* rows[] = {bytes.data() + shift, bytes.data() + shift + dims, bytes.data() + shift + 2 * dims};
        int32_t sums[3], wanted[3];
        kernels->dot(query.data() + shift, rows, 3, dims, sums);
        kScalarCodes.dot(query.data() + shift, rows, 3, dims, wanted);
        CHECK(memcmp(sums, wanted, sizeof sums) == 0);
        kernels->l1(query.data() + shift, rows, 3, dims, sums);
        kScalarCodes.l1(query.data() + shift, rows, 3, dims, wanted);
        CHECK(memcmp(sums, wanted, sizeof sums) == 0);
      }
    }
  }
}

TEST(code_distances_are_near_the_true_ones) {
  Pool pool(2);
  for (const SpecCase& one : AllSpecs(96)) {
    Clusters clusters(62, 96, 5);
    const GrowingRows rows = DrawRows(one, clusters, 400);
    const auto built = Build(pool, rows.view());
    const std::vector<float> query = DrawQuery(one, clusters);
    const auto coded = built->codes()->Query(query.data(), QueryBits::kAsStored);
    std::vector<std::pair<double, double>> pairs;
    for (uint32_t row = 0; row < 400; ++row) {
      float distance, score;
      coded->Distances(&row, 1, &distance);
      const uint8_t* bytes = rows.view().Row(row);
      ExactScores(one.spec, query.data(), &bytes, 1, &score);
      pairs.push_back({one.spec.metric == Metric::kDot ? 2 - 2 * score : one.spec.metric == Metric::kSquaredL2 ? score * score : score, distance});
    }
    // L1 distances are in steps: compared after scaling to the mean.
    double truth = 0, coded_sum = 0;
    for (const auto& [a, b] : pairs) truth += a, coded_sum += b;
    const double scale = one.spec.metric == Metric::kL1 ? truth / coded_sum : 1;
    for (const auto& [a, b] : pairs) CHECK(fabs(a - b * scale) < 0.03 * truth / 400);
  }
}

TEST(recall_of_every_distance_and_type) {
  Pool pool(2);
  for (const uint32_t heaps : {0u, 40u}) {
    for (const SpecCase& one : AllSpecs(24)) {
      Clusters clusters(63, 24, heaps);
      const GrowingRows rows = DrawRows(one, clusters, kSlow ? 600 : 4000);
      const auto built = Build(pool, rows.view());
      CHECK(built->failure() == Failure::kNone && built->outcome() == BuildOutcome::kBuilt);
      CHECK(FindStranded(*built->graph()).empty());
      for (const size_t ef : {64, 200}) {
        for (const bool by_rows : {false, true}) {
          std::vector<GraphQuery> queries;
          std::vector<ScanQuery> exact;
          for (int i = 0; i < 60; ++i) {
            exact.push_back({DrawQuery(one, clusters), 10, nullptr});
            queries.push_back({exact.back(), ef, ef, Filtering::kPlain, by_rows});
          }
          const double recall = Recall(one.spec, Search(pool, rows.view(), *built, queries), Scan(pool, rows.view(), exact));
          if (recall < (ef == 64 ? 0.95 : 0.985)) throw std::runtime_error(std::string(one.name) + " type " + std::to_string(static_cast<int>(one.spec.datatype)) + " heaps " + std::to_string(heaps) + " ef " + std::to_string(ef) + " recall " + std::to_string(recall));
        }
      }
    }
  }
}

// Rows in groups that differ by less than codes can tell.
GrowingRows DrawTwins(const SpecCase& one, Clusters& clusters, uint32_t groups, uint32_t in_group) {
  GrowingRows rows(one.spec, OfferedKernels().front());
  std::vector<uint8_t> bytes;
  std::normal_distribution<float> little(0, 0.0002f);
  for (uint32_t group = 0; group < groups; ++group) {
    const std::vector<float> centre = clusters.Draw();
    for (uint32_t i = 0; i < in_group; ++i) {
      std::vector<float> point = centre;
      for (float& value : point) value += little(clusters.random());
      AppendRow(one, point, &bytes);
    }
  }
  rows.Append(bytes.data(), groups * in_group);
  return rows;
}

TEST(true_scores_end_early_and_leave_out_next_to_nothing) {
  Pool pool(2);
  for (const bool twins : {false, true}) {
    for (const SpecCase& one : AllSpecs(96)) {
      if (twins && one.spec.datatype == Datatype::kUint8) continue;  // its codes are the rows
      Clusters clusters(68, 96, 20);
      const GrowingRows rows = twins ? DrawTwins(one, clusters, kSlow ? 4 : 20, 200) : DrawRows(one, clusters, kSlow ? 800 : 4000);
      const auto built = Build(pool, rows.view());
      for (const uint32_t k : {1u, 10u, 50u}) {
        std::vector<GraphQuery> all, early;
        std::vector<ScanQuery> exact;
        for (int i = 0; i < 60; ++i) {
          std::vector<float> query = DrawQuery(one, clusters);
          if (twins) {
            const uint8_t* bytes = rows.view().Row(clusters.random()() % rows.view().row_count);
            for (size_t at = 0; at < one.spec.dims; ++at) query[at] = ComponentOf(one.spec.datatype, bytes, at);
          }
          exact.push_back({std::move(query), k, nullptr});
          all.push_back({exact.back(), 200, 200, Filtering::kPlain, false});
          early.push_back(all.back());
          early.back().early = true;
        }
        auto job = std::make_shared<GraphSearchJob>(rows.view(), built->codes(), built->graph(), early);
        RunToEnd([&](auto done) { pool.Submit(job, job->blocks(), done); });
        const std::vector<Hits> truth = Scan(pool, rows.view(), exact);
        const double of_all = Recall(one.spec, Search(pool, rows.view(), *built, all), truth), of_early = Recall(one.spec, job->hits(), truth);
        double scored = 0;
        for (const uint32_t count : job->rescored()) scored += count / 60.0;
        const bool whole = of_early >= of_all - (twins ? 0.06 : 0.002), few = twins || scored <= (k == 50 ? 130 : 50);
        if (!whole || !few) throw std::runtime_error(std::string(one.name) + " type " + std::to_string(static_cast<int>(one.spec.datatype)) + " twins " + std::to_string(twins) + " k " + std::to_string(k) + ": recall " + std::to_string(of_all) + ", early " + std::to_string(of_early) + ", scored " + std::to_string(scored));
      }
    }
  }
}

TEST(every_point_is_reached_whatever_the_threads) {
  for (const size_t threads : {1, 2, 8}) {
    Pool pool(8);
    for (const uint32_t count : {0u, 1u, 2u, 17u, 256u, 257u, 500u, kSlow ? 600u : 5000u}) {
      for (uint32_t seed = 0; seed < (kSlow || count == 5000 ? 1u : 4u); ++seed) {
        for (const SpecCase& one : AllSpecs(8)) {
          if (one.spec.datatype == Datatype::kFloat16) continue;
          Clusters clusters(64 + seed, 8, 10);
          const GrowingRows rows = DrawRows(one, clusters, count);
          const auto built = Build(pool, rows.view(), threads, {8, 40});
          CHECK(FindStranded(*built->graph()).empty());
          CHECK(built->graph()->Check(0, count));
        }
      }
    }
  }
}

TEST(equal_points_are_all_reached) {
  Pool pool(4);
  const RowSpec spec = {Metric::kSquaredL2, Datatype::kFloat32, 4, false};
  GrowingRows rows(spec, OfferedKernels().front());
  const std::vector<float> values(4 * 3000, 0.5f);
  rows.Append(reinterpret_cast<const uint8_t*>(values.data()), 3000);
  const auto built = Build(pool, rows.view());
  CHECK(FindStranded(*built->graph()).empty());
}

// Rows of which some are kept and others are added, before or behind them.
struct Grown {
  GrowingRows rows;
  GraphSeed seed;
};

Grown Grow(const SpecCase& one, Clusters& clusters, const GrowingRows& old, const std::shared_ptr<const HnswGraph>& graph, unsigned gone_in_100, uint32_t before, uint32_t behind) {
  Grown grown = {GrowingRows(one.spec, OfferedKernels().front()), {graph, std::vector<uint32_t>(WordsFor(graph->rows())), before}};
  std::vector<uint8_t> bytes;
  for (uint32_t row = 0; row < before; ++row) AppendRow(one, clusters.Draw(), &bytes);
  uint32_t count = before;
  for (uint32_t row = 0; row < graph->rows(); ++row) {
    if (clusters.random()() % 100 < gone_in_100) continue;
    const uint8_t* from = old.view().Row(row);
    bytes.insert(bytes.end(), from, from + one.spec.StrideBytes());
    grown.seed.live[row / 32] |= uint32_t{1} << (row & 31);
    ++count;
  }
  for (uint32_t row = 0; row < behind; ++row) AppendRow(one, clusters.Draw(), &bytes);
  grown.rows.Append(bytes.data(), count + behind);
  return grown;
}

TEST(a_graph_that_takes_links_over_is_as_good_as_a_new_one) {
  Pool pool(2);
  const uint32_t count = kSlow ? 1500 : 4000;
  for (const SpecCase& one : AllSpecs(24)) {
    Clusters clusters(69, 24, 40);
    GrowingRows rows = DrawRows(one, clusters, count);
    auto built = Build(pool, rows.view());
    struct { unsigned gone_in_100; uint32_t before, behind; } const steps[] = {{0, 0, count / 20}, {5, 0, count / 10}, {20, count / 4, 0}, {50, 0, 0}, {50, 0, 0}};
    for (const auto& [gone_in_100, before, behind] : steps) {  // each graph is the seed of the next
      Grown grown = Grow(one, clusters, rows, built->graph(), gone_in_100, before, behind);
      const RowsView view = grown.rows.view();
      auto seeded = std::make_shared<HnswBuildJob>(view, HnswConfig{16, 100}, pool.threads(), grown.seed);
      RunToEnd([&](auto done) { pool.SubmitBackground(seeded, seeded->blocks(), 0, done); });
      CHECK(seeded->failure() == Failure::kNone && seeded->outcome() == BuildOutcome::kBuilt);
      CHECK(seeded->taken() == view.row_count - before - behind);
      CHECK(FindStranded(*seeded->graph()).empty() && seeded->graph()->Check(0, view.row_count));
      const auto anew = Build(pool, view);
      std::vector<GraphQuery> queries;
      std::vector<ScanQuery> exact;
      for (int i = 0; i < 100; ++i) {
        exact.push_back({DrawQuery(one, clusters), 10, nullptr});
        queries.push_back({exact.back(), 64, 64, Filtering::kPlain, false});
      }
      const std::vector<Hits> truth = Scan(pool, view, exact);
      const double recall = Recall(one.spec, Search(pool, view, *seeded, queries), truth), recall_anew = Recall(one.spec, Search(pool, view, *anew, queries), truth);
      if (recall < recall_anew - 0.015) throw std::runtime_error(std::string(one.name) + " type " + std::to_string(static_cast<int>(one.spec.datatype)) + ", " + std::to_string(gone_in_100) + " % gone: recall " + std::to_string(recall) + ", anew " + std::to_string(recall_anew));
      rows = std::move(grown.rows);
      built = seeded;
    }
  }
}

TEST(a_seed_with_few_nodes_left_is_let_be) {
  Pool pool(2);
  const SpecCase one = AllSpecs(8)[1];
  Clusters clusters(70, 8, 5);
  const GrowingRows rows = DrawRows(one, clusters, 1000);
  const auto built = Build(pool, rows.view(), 1);
  for (const unsigned gone_in_100 : {90u, 100u}) {
    Grown grown = Grow(one, clusters, rows, built->graph(), gone_in_100, 0, 600);
    const RowsView view = grown.rows.view();
    auto seeded = std::make_shared<HnswBuildJob>(view, HnswConfig{16, 100}, pool.threads(), grown.seed);
    RunToEnd([&](auto done) { pool.SubmitBackground(seeded, seeded->blocks(), 1, done); });
    CHECK(seeded->failure() == Failure::kNone && seeded->taken() == 0);
    const auto anew = Build(pool, view, 1);
    const Image &a = *seeded->graph()->image(), &b = *anew->graph()->image();
    CHECK(a.size_bytes() == b.size_bytes() && memcmp(a.data(), b.data(), a.size_bytes()) == 0);
  }
}

TEST(one_thread_builds_the_same_graph_again) {
  Pool pool(3);
  const SpecCase one = AllSpecs(16)[0];
  Clusters clusters(65, 16, 20);
  const GrowingRows rows = DrawRows(one, clusters, 3000);
  const auto first = Build(pool, rows.view(), 1), second = Build(pool, rows.view(), 1);
  const Image &a = *first->graph()->image(), &b = *second->graph()->image();
  CHECK(a.size_bytes() == b.size_bytes() && memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

std::shared_ptr<std::vector<uint32_t>> DrawBits(std::mt19937& random, uint32_t count, unsigned one_in) {
  auto bits = std::make_shared<std::vector<uint32_t>>(WordsFor(count));
  for (uint32_t row = 0; row < count; ++row) (*bits)[row / 32] |= static_cast<uint32_t>(random() % one_in == 0) << (row & 31);
  return bits;
}

TEST(filtered_walks_return_allowed_rows_only) {
  Pool pool(2);
  const SpecCase one = AllSpecs(24)[0];
  Clusters clusters(66, 24, 40);
  const GrowingRows rows = DrawRows(one, clusters, 6000);
  const auto built = Build(pool, rows.view());
  for (const unsigned one_in : {2u, 8u}) {
    const auto bits = DrawBits(clusters.random(), 6000, one_in);
    for (const Filtering filtering : {Filtering::kPredicate, Filtering::kTwoHop}) {
      std::vector<GraphQuery> queries;
      std::vector<ScanQuery> exact;
      for (int i = 0; i < 60; ++i) {
        exact.push_back({DrawQuery(one, clusters), 10, bits});
        queries.push_back({exact.back(), 128, 128, filtering, false});
      }
      const std::vector<Hits> found = Search(pool, rows.view(), *built, queries);
      for (const Hits& hits : found) {
        for (const uint32_t row : hits.rows) CHECK(IsSet(bits->data(), row));
      }
      CHECK(Recall(one.spec, found, Scan(pool, rows.view(), exact)) > 0.93);
    }
  }
}

// Lengths as in the design: what is found must be near the truth, or the graph must be given up.
TEST(products_of_unequal_lengths_are_searched_well_or_given_up) {
  Pool pool(2);
  const SpecCase one = {"dot", {Metric::kDot, Datatype::kFloat32, 24, false}, false};
  for (const int kind : {0, 1, 2, 3}) {
    Clusters clusters(67, 24, 40);
    std::lognormal_distribution<float> lognormal(0, 1);
    std::uniform_real_distribution<float> uniform(0.5f, 2);
    GrowingRows rows(one.spec, OfferedKernels().front());
    std::vector<uint8_t> bytes;
    const int count = kSlow ? 500 : 4000;
    for (int row = 0; row < count; ++row) {
      std::vector<float> point = clusters.Draw();
      MakeUnit(&point);
      const float length = kind == 0 ? 3 : kind == 1 ? uniform(clusters.random()) : kind == 2 ? lognormal(clusters.random()) : row % 100 == 0 ? 100.0f : 1.0f;
      for (float& value : point) value *= length;
      AppendRow(one, point, &bytes);
    }
    rows.Append(bytes.data(), static_cast<uint32_t>(count));
    const auto built = Build(pool, rows.view());
    CHECK(FindStranded(*built->graph()).empty());
    std::vector<GraphQuery> queries;
    std::vector<ScanQuery> exact;
    for (int i = 0; i < 100; ++i) {
      exact.push_back({DrawQuery(one, clusters), 10, nullptr});
      queries.push_back({exact.back(), 64, 64, Filtering::kPlain, false});
    }
    const double recall = Recall(one.spec, Search(pool, rows.view(), *built, queries), Scan(pool, rows.view(), exact));
    std::printf("     lengths %d: stranded %u, sample %.3f, recall %.3f%s\n", kind, built->stranded(), static_cast<double>(built->sample_recall()), recall, built->outcome() == BuildOutcome::kMissed ? ", given up" : "");
    CHECK(kind != 0 || built->outcome() == BuildOutcome::kBuilt);
    CHECK(built->outcome() == BuildOutcome::kMissed || recall >= 0.9);
  }
}

TEST(rows_without_codes_are_refused) {
  Pool pool(2);
  for (const float bad : {INFINITY, -INFINITY, NAN, 1e30f}) {
    for (const size_t place : {0, 999}) {
      GrowingRows rows({Metric::kSquaredL2, Datatype::kFloat32, 1, false}, OfferedKernels().front());
      std::vector<float> values(1000, 1.0f);
      values[place] = bad;
      rows.Append(reinterpret_cast<const uint8_t*>(values.data()), 1000);
      CHECK(Build(pool, rows.view())->outcome() == BuildOutcome::kUnfit);
    }
  }
}

TEST(a_build_is_cancelled_and_searches_go_first) {
  Pool pool(1);
  const SpecCase one = AllSpecs(64)[0];
  Clusters clusters(68, 64, 40);
  const GrowingRows rows = DrawRows(one, clusters, 20000);
  auto job = std::make_shared<HnswBuildJob>(rows.view(), HnswConfig{16, 100}, pool.threads());
  std::atomic<bool> build_ended{false};
  pool.SubmitBackground(job, job->blocks(), 0, [&] { build_ended = true; });
  for (int i = 0; i < 5; ++i) Scan(pool, rows.view(), {{DrawQuery(one, clusters), 10, nullptr}});
  CHECK(!build_ended);
  job->Cancel();
  while (!build_ended) std::this_thread::yield();
  CHECK(job->failure() == Failure::kCancelled);
}

TEST(a_sample_of_a_stopped_job_counts_nothing) {
  Pool pool(2);
  const SpecCase one = AllSpecs(24)[0];
  Clusters clusters(71, 24, 5);
  const GrowingRows rows = DrawRows(one, clusters, 200);  // so few that a walk ends before it asks whether to stop
  const auto built = Build(pool, rows.view());
  const SearchedGraph searched = {built->graph().get(), nullptr, rows.view().row_count};
  GraphSearchJob job(rows.view(), built->codes(), built->graph(), {});
  WalkScratch scratch;
  CHECK(CountSampleHits(rows.view(), *built->codes(), searched, 0, 10, 64, job, &scratch) == 10);
  job.Cancel();
  CHECK(CountSampleHits(rows.view(), *built->codes(), searched, 0, 10, 64, job, &scratch) == 0);
}

TEST(builds_and_searches_at_once) {
  Pool pool(4);
  const SpecCase one = AllSpecs(12)[1];
  Clusters clusters(69, 12, 10);
  const GrowingRows rows = DrawRows(one, clusters, 1500);
  const auto built = Build(pool, rows.view(), 0, {8, 40});
  std::atomic<size_t> ended{0};
  std::vector<std::shared_ptr<HnswBuildJob>> builds;
  for (int i = 0; i < 3; ++i) {
    builds.push_back(std::make_shared<HnswBuildJob>(rows.view(), HnswConfig{8, 40}, pool.threads()));
    pool.SubmitBackground(builds.back(), 1, i == 0 ? 0 : 2, [&] { ++ended; });
    for (int j = 0; j < 20; ++j) {
      std::vector<GraphQuery> queries;
      for (int k = 0; k < 3; ++k) queries.push_back({{DrawQuery(one, clusters), 5, nullptr}, 40, 40, Filtering::kPlain, k == 2});
      for (const Hits& hits : Search(pool, rows.view(), *built, queries)) CHECK(hits.rows.size() == 5);
    }
  }
  while (ended != builds.size()) std::this_thread::yield();
  for (const auto& job : builds) CHECK(FindStranded(*job->graph()).empty());
}

// Damage that a checksum missed: an image is refused, or searched without leaving it.
void CheckDamaged(Pool& pool, const RowsView& view, const std::shared_ptr<Image>& codes_image, const std::shared_ptr<Image>& graph_image, const std::vector<float>& query) {
  const char* problem = nullptr;
  const auto codes = OpenCodes(view, codes_image, &problem);
  if (codes == nullptr) {
    CHECK(problem != nullptr);
    return;
  }
  const auto graph = HnswGraph::Open(view.row_count, graph_image, &problem);
  if (graph == nullptr) {
    CHECK(problem != nullptr);
    return;
  }
  if (!graph->Check(0, graph->rows())) return;
  const auto all = std::make_shared<std::vector<uint32_t>>(WordsFor(view.row_count), ~uint32_t{0});
  std::vector<GraphQuery> queries;
  for (const Filtering filtering : {Filtering::kPlain, Filtering::kPredicate, Filtering::kTwoHop}) queries.push_back({{query, 10, all}, 30, 30, filtering, false});
  auto job = std::make_shared<GraphSearchJob>(view, codes, graph, queries);
  RunToEnd([&](auto done) { pool.Submit(job, job->blocks(), done); });
  for (const Hits& hits : job->hits()) {
    for (const uint32_t row : hits.rows) CHECK(row < view.row_count);
  }
}

TEST(damaged_images_never_lead_outside) {
  Pool pool(1);
  std::mt19937 random(70);
  for (const SpecCase& one : AllSpecs(12)) {
    Clusters clusters(71, 12, 6);
    const GrowingRows rows = DrawRows(one, clusters, 300);
    const RowsView& view = rows.view();
    const std::vector<float> query = DrawQuery(one, clusters);
    const auto built = Build(pool, view, 1, {4, 20});
    const std::shared_ptr<Image> images[] = {built->codes()->bytes().image, built->graph()->image()};
    for (size_t which : {0, 1}) {
      const size_t size = images[which]->size_bytes();
      for (int round = 0; round < (kSlow ? 200 : 600); ++round) {
        std::shared_ptr<Image> damaged = Copy(*images[which], round % 10 == 0 ? random() % (size + 70) : size);
        for (unsigned flips = 1 + random() % 3; flips > 0 && damaged->size_bytes() > 0; --flips) {
          // every other time in the header, whose bytes steer everything
          const size_t at = random() % (round % 2 == 0 ? damaged->size_bytes() : std::min<size_t>(64, damaged->size_bytes()));
          damaged->data()[at] ^= static_cast<uint8_t>(1u << random() % 8);
        }
        CheckDamaged(pool, view, which == 0 ? damaged : images[0], which == 1 ? damaged : images[1], query);
      }
      for (size_t cut = 0; cut < 70; ++cut) CheckDamaged(pool, view, which == 0 ? Copy(*images[0], cut) : images[0], which == 1 ? Copy(*images[1], cut) : images[1], query);
    }
  }
}

}  // namespace
