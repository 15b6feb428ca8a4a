// Scalar, product and binary codes: kernels against their twin, estimates against true distances, recall, images against damage.
#include "../core/codes-binary.h"
#include "../core/codes-product.h"
#include "graph-cases.h"
#include "temporary-file.h"

namespace {

using namespace graph_cases;

struct CodesCase {
  const char* name;
  CodesConfig config;
  QueryBits bits;
  size_t kept;  // of the nearest by code get their true score, for ten
};

CodesConfig Scalar(float quantile) { return {CodesKind::kScalar, quantile, 0}; }
CodesConfig Product(uint32_t part_dims) { return {CodesKind::kProduct, 1, part_dims}; }
CodesConfig Binary(uint32_t detail) { return {CodesKind::kBinary, 1, detail}; }

std::vector<CodesCase> AllCodes() {
  return {{"scalar", Scalar(0.99f), QueryBits::kAsStored, 20},        {"scalar of the whole range", Scalar(1), QueryBits::kAsStored, 20},
          {"product x4", Product(1), QueryBits::kAsStored, 20},       {"product x16", Product(4), QueryBits::kAsStored, 120},
          {"product x64", Product(16), QueryBits::kAsStored, 200},    {"one bit", Binary(0), QueryBits::kAsStored, 200},
          {"one bit, query 4", Binary(0), QueryBits::kFour, 120},     {"one bit, query 8", Binary(0), QueryBits::kEight, 120},
          {"one and a half", Binary(1), QueryBits::kAsStored, 120},   {"one and a half, query 8", Binary(1), QueryBits::kEight, 100},
          {"two bits", Binary(2), QueryBits::kAsStored, 80},          {"two bits, query 4", Binary(2), QueryBits::kFour, 60}};
}

std::vector<SpecCase> AllSpecsAndDot(uint32_t dims) {
  std::vector<SpecCase> cases = AllSpecs(dims);
  cases.push_back({"dot", {Metric::kDot, Datatype::kFloat32, dims, false}, false});
  return cases;
}

HnswConfig ConfigOf(const CodesConfig& codes, uint32_t m = 16, uint32_t ef = 100) { return {m, ef, codes}; }

TEST(compact_kernels_agree_with_their_scalar_twin) {
  std::mt19937 random(71);
  std::normal_distribution<float> normal(0, 3);
  for (const CompactKernels* kernels : OfferedCompactKernels()) {
    for (const size_t dims : {1, 2, 3, 4, 8, 16}) {
      std::vector<float> query(dims), centroids(dims * kCentroids);
      for (float& value : query) value = normal(random);
      for (float& value : centroids) value = normal(random);
      for (size_t j = 0; j < dims; ++j) centroids[j * kCentroids + 200] = centroids[j * kCentroids + 40] = query[j];  // equal: the first wins
      for (size_t metric = 0; metric < kMetrics; ++metric) {
        float found[kCentroids], wanted[kCentroids];
        kernels->table[metric](query.data(), centroids.data(), dims, found);
        kScalarCompact.table[metric](query.data(), centroids.data(), dims, wanted);
        CHECK(std::equal(found, found + kCentroids, wanted));
      }
      float distance = -1;
      CHECK(kernels->nearest(query.data(), centroids.data(), dims, &distance) == 40 && distance == 0);
    }
    for (const size_t parts : {1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 96, 768, 1001}) {
      std::vector<float> table(parts * kCentroids);
      for (float& value : table) value = normal(random);
      std::vector<uint8_t> bytes(3 * parts + 1);
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
      const uint8_t* rows[] = {bytes.data(), bytes.data() + parts, bytes.data() + 2 * parts + 1};
      float found[3], wanted[3];
      kernels->lookup(table.data(), rows, 3, parts, found);
      kScalarCompact.lookup(table.data(), rows, 3, parts, wanted);
      CHECK(std::equal(found, found + 3, wanted));
    }
    for (const size_t words : {2, 4, 6, 8, 10, 12, 16, 18, 1024}) {
      for (const size_t planes_count : {1, 2, 4, 8}) {
        std::vector<uint64_t> planes(words * planes_count), bits(5 * words);
        for (uint64_t& word : planes) word = uint64_t{random()} << 32 | random();
        for (uint64_t& word : bits) word = uint64_t{random()} << 32 | random();
        const auto* bytes = reinterpret_cast<const uint8_t*>(bits.data());
        const uint8_t* rows[] = {bytes, bytes + 16 * words + 3};  // the second one unaligned
        for (size_t layout = 0; layout < kBitLayouts; ++layout) {
          uint32_t found[2], wanted[2];
          kernels->bits[layout](planes.data(), planes_count, words, rows, 2, found);
          kScalarCompact.bits[layout](planes.data(), planes_count, words, rows, 2, wanted);
          CHECK(found[0] == wanted[0] && found[1] == wanted[1]);
        }
      }
    }
  }
}

// By the definition in compact-kernels.h.
TEST(bits_are_counted_as_they_are_drawn) {
  std::mt19937 random(72);
  constexpr size_t kWords = 6;
  for (const BitLayout layout : {BitLayout::kOneBit, BitLayout::kSharedBit, BitLayout::kTwoBits}) {
    std::vector<uint64_t> planes(3 * kWords), row(2 * kWords);
    for (uint64_t& word : planes) word = uint64_t{random()} << 32 | random();
    for (uint64_t& word : row) word = uint64_t{random()} << 32 | random();
    const auto bit = [](const uint64_t* words, size_t at) { return static_cast<uint32_t>(words[at / 64] >> (at % 64) & 1); };
    uint32_t wanted = 0;
    for (size_t i = 0; i < 64 * kWords; ++i) {
      const uint32_t high = bit(row.data(), i);
      const uint32_t low = layout == BitLayout::kTwoBits ? bit(row.data() + kWords, i) : 1 ^ bit(row.data() + kWords, i % (32 * kWords)) ^ high;
      const uint32_t k = layout == BitLayout::kOneBit ? high : 2 * high + low;
      for (size_t plane = 0; plane < 3; ++plane) wanted += (k * bit(planes.data() + plane * kWords, i)) << plane;
    }
    const auto* bytes = reinterpret_cast<const uint8_t*>(row.data());
    uint32_t found;
    kScalarCompact.bits[static_cast<size_t>(layout)](planes.data(), 3, kWords, &bytes, 1, &found);
    CHECK(found == wanted);
  }
}

// How well distances by codes go with the true ones: correlation over pairs of a query and a row.
double Correlation(const RowsView& view, const WalkCodes& codes, const std::vector<float>& query, QueryBits bits) {
  const auto coded = codes.Query(query.data(), bits);
  std::vector<uint32_t> ids(view.row_count);
  std::vector<float> distances(view.row_count);
  for (uint32_t row = 0; row < view.row_count; ++row) ids[row] = row;
  coded->Distances(ids.data(), ids.size(), distances.data());
  double n = 0, x = 0, y = 0, xx = 0, yy = 0, xy = 0;
  for (uint32_t row = 0; row < view.row_count; ++row) {
    const uint8_t* bytes = view.Row(row);
    float score;
    ExactScores(view.spec, query.data(), &bytes, 1, &score);
    const double truth = view.spec.metric == Metric::kDot ? -score : view.spec.metric == Metric::kSquaredL2 ? score * score : score;
    const double coded_distance = distances[row];
    n += 1, x += truth, y += coded_distance, xx += truth * truth, yy += coded_distance * coded_distance, xy += truth * coded_distance;
  }
  return (n * xy - x * y) / sqrt((n * xx - x * x) * (n * yy - y * y));
}

TEST(estimates_go_with_the_true_distances) {
  Pool pool(2);
  for (const SpecCase& one : AllSpecsAndDot(200)) {
    if (one.spec.datatype == Datatype::kFloat16) continue;
    Clusters clusters(73, 200, 5);
    const GrowingRows rows = DrawRows(one, clusters, 400);
    for (const CodesCase& codes : AllCodes()) {
      const auto built = Build(pool, rows.view(), 1, ConfigOf(codes.config));
      CHECK(built->outcome() == BuildOutcome::kBuilt && built->codes()->kind() == codes.config.kind);
      const double found = Correlation(rows.view(), *built->codes(), DrawQuery(one, clusters), codes.bits);
      const double wanted = codes.config.kind == CodesKind::kScalar ? 0.99 : codes.config.kind == CodesKind::kProduct ? 0.97 : 0.93;
      if (!(found >= wanted)) throw std::runtime_error(std::string(one.name) + " type " + std::to_string(static_cast<int>(one.spec.datatype)) + ", " + codes.name + ": " + std::to_string(found));
    }
  }
}

TEST(every_level_makes_the_same_codes_and_distances) {
  Pool pool(3);
  for (const SpecCase& one : AllSpecsAndDot(150)) {
    if (one.spec.datatype == Datatype::kFloat16) continue;
    Clusters clusters(74, 150, 5);
    std::vector<uint8_t> bytes;
    for (int row = 0; row < 200; ++row) AppendRow(one, clusters.Draw(), &bytes);
    const std::vector<float> query = DrawQuery(one, clusters);
    for (const CodesCase& codes : AllCodes()) {
      std::vector<uint8_t> image;
      std::vector<float> first;
      for (const Kernels* kernels : OfferedKernels()) {
        GrowingRows rows(one.spec, kernels);
        rows.Append(bytes.data(), 200);
        const auto built = Build(pool, rows.view(), 0, ConfigOf(codes.config, 4, 20));
        const Image& made = *built->codes()->bytes().image;
        std::vector<uint32_t> ids(200);
        std::vector<float> distances(200);
        for (uint32_t row = 0; row < 200; ++row) ids[row] = row;
        built->codes()->Query(query.data(), codes.bits)->Distances(ids.data(), ids.size(), distances.data());
        if (image.empty()) {
          image.assign(made.data(), made.data() + made.size_bytes());
          first = distances;
        }
        CHECK(image.size() == made.size_bytes() && memcmp(image.data(), made.data(), image.size()) == 0);
        CHECK(first == distances);
      }
    }
  }
}

TEST(codes_are_the_same_whatever_the_threads) {
  const SpecCase one = AllSpecs(40)[0];
  Clusters clusters(75, 40, 20);
  const GrowingRows rows = DrawRows(one, clusters, kSlow ? 600 : 9000);
  Pool pool(8);
  for (const CodesConfig& codes : {Scalar(0.95f), Product(8), Binary(1)}) {
    std::shared_ptr<Image> first;
    for (const size_t threads : {1, 2, 8}) {
      const std::shared_ptr<Image> image = Build(pool, rows.view(), threads, ConfigOf(codes, 8, 40))->codes()->bytes().image;
      if (first == nullptr) first = image;
      CHECK(image->size_bytes() == first->size_bytes() && memcmp(image->data(), first->data(), image->size_bytes()) == 0);
    }
  }
}

TEST(recall_of_every_kind_of_codes) {
  Pool pool(2);  // builds use one thread of it: graphs are then the same in every run
  const uint32_t count = kSlow ? 300 : 1200;
  for (const SpecCase& one : AllSpecsAndDot(kSlow ? 64 : 192)) {
    if (one.spec.datatype == Datatype::kFloat16 || (kSlow && one.spec.datatype != Datatype::kFloat32)) continue;
    Clusters clusters(76, one.spec.dims, 40);
    const GrowingRows rows = DrawRows(one, clusters, count);
    std::vector<ScanQuery> exact;
    for (int i = 0; i < 30; ++i) exact.push_back({DrawQuery(one, clusters), 10, nullptr});
    const std::vector<Hits> truth = Scan(pool, rows.view(), exact);
    for (const CodesCase& codes : AllCodes()) {
      const auto built = Build(pool, rows.view(), 1, ConfigOf(codes.config));
      CHECK(built->failure() == Failure::kNone && built->outcome() == BuildOutcome::kBuilt);
      std::vector<GraphQuery> queries;
      for (const ScanQuery& query : exact) queries.push_back({query, std::max<size_t>(codes.kept, 100), codes.kept, Filtering::kPlain, false, codes.bits});
      const double recall = Recall(one.spec, Search(pool, rows.view(), *built, queries), truth);
      if (recall < 0.95) throw std::runtime_error(std::string(one.name) + " type " + std::to_string(static_cast<int>(one.spec.datatype)) + ", " + codes.name + ": recall " + std::to_string(recall));
    }
  }
}

TEST(sizes_of_codes_are_as_drawn) {
  Pool pool(2);
  const SpecCase one = AllSpecs(768)[0];
  Clusters clusters(77, 768, 3);
  const GrowingRows rows = DrawRows(one, clusters, 20);
  const auto bytes_of = [&](const CodesConfig& codes) { return Build(pool, rows.view(), 0, ConfigOf(codes, 4, 20))->codes()->bytes().image->size_bytes(); };
  CHECK(bytes_of({}) == 64 + 3072 + 20 * 832);
  CHECK(bytes_of(Scalar(0.99f)) == 64 + 3072 + 20 * 832);
  CHECK(bytes_of(Product(8)) == 64 + 768 * 1024 + 20 * 96);
  CHECK(bytes_of(Binary(0)) == 64 + 2 * 3072 + 20 * 112);
  CHECK(bytes_of(Binary(1)) == 64 + 2 * 3072 + 20 * 160);
  CHECK(bytes_of(Binary(2)) == 64 + 2 * 3072 + 20 * 208);
}

TEST(few_odd_and_equal_rows_have_codes) {
  Pool pool(2);
  for (const CodesCase& codes : AllCodes()) {
    for (const uint32_t dims : {1u, 3u, 17u, 129u}) {
      for (const uint32_t count : {0u, 1u, 2u, 300u}) {
        const RowSpec spec = {Metric::kSquaredL2, Datatype::kFloat32, dims, false};
        GrowingRows rows(spec, OfferedKernels().front());
        std::vector<float> values(size_t{dims} * count, 0.5f);
        for (size_t i = 0; count == 300 && i < 10; ++i) values[i % values.size()] = static_cast<float>(i);
        rows.Append(reinterpret_cast<const uint8_t*>(values.data()), count);
        const auto built = Build(pool, rows.view(), 0, ConfigOf(codes.config, 4, 20));
        CHECK(built->failure() == Failure::kNone && built->codes()->rows() == count);
        const std::vector<float> zeros(dims);
        const std::vector<Hits> hits = Search(pool, rows.view(), *built, {{{PadQuery(zeros.data(), dims), 5, nullptr}, 20, 20, Filtering::kPlain, false, codes.bits}});
        CHECK(hits[0].rows.size() == std::min(count, 5u));
      }
    }
  }
}

// Values beyond any scale and queries as well: no estimate may stop a search, or lead to an order that is none.
TEST(extreme_values_are_searched_or_refused) {
  Pool pool(1);
  for (const CodesCase& codes : AllCodes()) {
    for (const Metric metric : {Metric::kDot, Metric::kSquaredL2, Metric::kL1}) {
      for (const float large : {1e-30f, 1e14f, 3e38f}) {
        GrowingRows rows({metric, Datatype::kFloat32, 4, false}, OfferedKernels().front());
        std::vector<float> values(4 * 500);
        for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 7) * (i % 3 == 0 ? large : 1.0f) * (i % 2 == 0 ? 1.0f : -1.0f) / 7;
        rows.Append(reinterpret_cast<const uint8_t*>(values.data()), 500);
        const auto built = Build(pool, rows.view(), 0, ConfigOf(codes.config, 4, 20));
        CHECK((large > 1e15f) == (built->outcome() == BuildOutcome::kUnfit));
        if (built->outcome() != BuildOutcome::kBuilt) continue;
        for (const float scale : {0.0f, 1.0f, 3e38f}) {
          const std::vector<float> query = {scale, -scale, scale, scale / 3};
          CHECK(Search(pool, rows.view(), *built, {{{PadQuery(query.data(), 4), 5, nullptr}, 20, 20, Filtering::kPlain, false, codes.bits}})[0].rows.size() == 5);
        }
      }
    }
  }
}

TEST(making_codes_is_cancelled) {
  Pool pool(2);
  const SpecCase one = AllSpecs(512)[0];
  Clusters clusters(78, 512, 10);
  const GrowingRows rows = DrawRows(one, clusters, 300);
  for (const CodesConfig& codes : {Scalar(0.9f), Product(1), Binary(2)}) {
    auto job = std::make_shared<HnswBuildJob>(rows.view(), ConfigOf(codes, 4, 20), pool.threads());
    // As the pool does it, up to the first block of the last codes.
    for (size_t blocks = job->blocks(); !job->recoding(); blocks = job->Advance()) {
      for (size_t block = 0; block < blocks; ++block) job->Run(block, 0);
    }
    job->Run(0, 0);
    job->Cancel();
    RunToEnd([&](auto done) { pool.SubmitBackground(job, 1, 0, done); });
    CHECK(job->failure() == Failure::kCancelled && job->codes() == nullptr);
  }
}

TEST(mapped_codes_answer_like_those_in_memory_and_a_cut_is_no_crash) {
  Pool pool(4);
  const SpecCase one = AllSpecs(64)[0];
  Clusters clusters(79, 64, 10);
  const GrowingRows rows = DrawRows(one, clusters, 2000);
  const RowsView& view = rows.view();
  for (const CodesCase& codes : AllCodes()) {
    const auto built = Build(pool, view, 0, ConfigOf(codes.config, 8, 40));
    const std::shared_ptr<Image> image = built->codes()->bytes().image;
    const uint64_t size = 4096 + image->size_bytes();
    TemporaryFile file;
    file.Write(image->data(), image->size_bytes(), 4096);
    const char* problem = nullptr;
    const auto open = [&] {
      const CodeBytes bytes = CodeBytes::OfFile(view.spec, view.row_count, file.Map(size), 4096, image->size_bytes(), &problem);
      return bytes.image == nullptr ? nullptr : WalkCodes::Open(view.spec, *view.kernels, bytes, &problem);
    };
    const auto mapped = open();
    CHECK(mapped != nullptr && mapped->kind() == codes.config.kind);
    CHECK(mapped->bytes().image->size_bytes() + mapped->mapped_bytes() == image->size_bytes());
    std::vector<GraphQuery> queries;
    for (int i = 0; i < 20; ++i) queries.push_back({{DrawQuery(one, clusters), 10, nullptr}, 40, 40, Filtering::kPlain, false, codes.bits});
    const std::vector<Hits> wanted = Search(pool, view, *built, queries);
    const auto search = [&](const std::shared_ptr<const WalkCodes>& by) {
      auto job = std::make_shared<GraphSearchJob>(view, by, built->graph(), queries);
      RunToEnd([&](auto done) { pool.Submit(job, job->blocks(), done); });
      return job;
    };
    const auto found = search(mapped);
    CHECK(found->failure() == Failure::kNone);
    for (size_t i = 0; i < queries.size(); ++i) CHECK(found->hits()[i].rows == wanted[i].rows && found->hits()[i].scores == wanted[i].scores);
    file.Cut(size - 1);  // inside the last page: zeros, and found afterwards
    CHECK(search(mapped)->failure() == Failure::kCodesUnreadable);
    file.Cut(4096);
    CHECK(search(mapped)->failure() == Failure::kCodesUnreadable);
    CHECK(file.Map(size) == nullptr);
    file.Cut(0);
    CHECK(search(mapped)->failure() == Failure::kCodesUnreadable);
  }
}

// An image that is not refused is searched without leaving it.
void CheckDamaged(Pool& pool, const RowsView& view, const HnswBuildJob& built, const std::shared_ptr<Image>& image, const std::vector<float>& query) {
  const char* problem = nullptr;
  const auto codes = OpenCodes(view, image, &problem);
  CHECK((codes == nullptr) == (problem != nullptr));
  if (codes == nullptr) return;
  std::vector<GraphQuery> queries;
  for (const QueryBits bits : {QueryBits::kAsStored, QueryBits::kFour, QueryBits::kEight}) queries.push_back({{query, 10, nullptr}, 30, 30, Filtering::kPlain, false, bits});
  auto job = std::make_shared<GraphSearchJob>(view, codes, built.graph(), queries);
  RunToEnd([&](auto done) { pool.Submit(job, job->blocks(), done); });
  for (const Hits& hits : job->hits()) CHECK(hits.rows.size() == 10);
}

TEST(damaged_images_of_codes_never_lead_outside) {
  Pool pool(1);
  std::mt19937 random(80);
  for (const SpecCase& one : AllSpecsAndDot(12)) {
    Clusters clusters(81, 12, 6);
    if (one.spec.datatype == Datatype::kFloat16) continue;
    const GrowingRows rows = DrawRows(one, clusters, 120);
    const RowsView& view = rows.view();
    const std::vector<float> query = DrawQuery(one, clusters);
    for (const CodesConfig& codes : {CodesConfig{}, Scalar(0.9f), Product(4), Binary(0), Binary(1), Binary(2)}) {
      const auto built = Build(pool, view, 1, ConfigOf(codes, 4, 20));
      const Image& image = *built->codes()->bytes().image;
      const size_t size = image.size_bytes();
      for (size_t at = 0; at < 64; ++at) {
        for (unsigned bit = 0; bit < 8; ++bit) {
          const std::shared_ptr<Image> damaged = Copy(image, size);
          damaged->data()[at] ^= static_cast<uint8_t>(1u << bit);
          CheckDamaged(pool, view, *built, damaged, query);
          const char* problem = nullptr;
          const bool refused = OpenCodes(view, damaged, &problem) == nullptr;
          // Flags may tell of another reading of the same bytes, a step may be another number, and one bit for a component may take as
          // many bytes as two; all else is refused.
          CHECK(refused || (at >= 16 && at < 25));
        }
      }
      for (size_t cut = 0; cut < size; cut += cut < 70 ? 1 : 97) {
        const char* problem = nullptr;
        CHECK(OpenCodes(view, Copy(image, cut), &problem) == nullptr && problem != nullptr);
      }
      for (int round = 0; round < (kSlow ? 50 : 200); ++round) {
        const std::shared_ptr<Image> damaged = Copy(image, size);
        for (unsigned flips = 1 + random() % 3; flips > 0; --flips) damaged->data()[64 + random() % (size - 64)] ^= static_cast<uint8_t>(1u << random() % 8);
        CheckDamaged(pool, view, *built, damaged, query);
      }
    }
  }
}

}  // namespace
