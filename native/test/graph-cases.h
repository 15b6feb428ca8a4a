// What tests of graphs share: rows of every distance and type, builds, searches, the truth by a scan.
#pragma once
#include <math.h>

#include <algorithm>
#include <random>

#include "../core/bitmap.h"
#include "../core/cpu.h"
#include "../core/hnsw-build.h"
#include "../core/hnsw-search.h"
#include "check.h"
#include "run-job.h"

namespace graph_cases {

using namespace nearkeep;

// Sanitizers make everything ten times slower; they look for races and bounds, not for recall.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool kSlow = true;
#else
constexpr bool kSlow = false;
#endif

struct SpecCase {
  const char* name;
  RowSpec spec;
  bool unit;
};

inline std::vector<SpecCase> AllSpecs(uint32_t dims) {
  std::vector<SpecCase> cases;
  for (const Datatype type : {Datatype::kFloat32, Datatype::kFloat16, Datatype::kUint8}) {
    cases.push_back({"cosine", {Metric::kDot, type, dims, type == Datatype::kUint8}, type != Datatype::kUint8});
    cases.push_back({"euclid", {Metric::kSquaredL2, type, dims, false}, false});
    cases.push_back({"manhattan", {Metric::kL1, type, dims, false}, false});
  }
  return cases;
}

inline uint16_t ToHalf(float value) {  // of ordinary numbers, rounded toward zero
  uint32_t bits;
  memcpy(&bits, &value, 4);
  const int exponent = static_cast<int>(bits >> 23 & 255) - 112;
  if (exponent <= 0) return static_cast<uint16_t>(bits >> 16 & 0x8000);
  return static_cast<uint16_t>((bits >> 16 & 0x8000) | static_cast<uint32_t>(exponent) << 10 | (bits >> 13 & 0x3ff));
}

// Points around centres: `spread` 0 is one heap, larger is looser clusters.
class Clusters {
 public:
  Clusters(uint32_t seed, uint32_t dims, uint32_t clusters) : random_(seed), dims_(dims) {
    for (uint32_t i = 0; i < clusters * dims; ++i) centres_.push_back(normal_(random_));
  }
  std::vector<float> Draw() {
    std::vector<float> point(dims_);
    const size_t centre = centres_.empty() ? 0 : random_() % (centres_.size() / dims_) * dims_;
    for (uint32_t i = 0; i < dims_; ++i) point[i] = (centres_.empty() ? 0 : centres_[centre + i]) + 0.5f * normal_(random_);
    return point;
  }
  std::mt19937& random() { return random_; }

 private:
  std::mt19937 random_;
  std::normal_distribution<float> normal_{0, 1};
  uint32_t dims_;
  std::vector<float> centres_;
};

inline void MakeUnit(std::vector<float>* point) {
  double squares = 0;
  for (const float value : *point) squares += static_cast<double>(value) * value;
  for (float& value : *point) value = static_cast<float>(value / sqrt(squares));
}

inline void AppendRow(const SpecCase& one, std::vector<float> point, std::vector<uint8_t>* bytes) {
  if (one.unit) MakeUnit(&point);
  for (const float value : point) {
    if (one.spec.datatype == Datatype::kUint8) {
      bytes->push_back(static_cast<uint8_t>(std::clamp(value * 25 + 120, 0.0f, 255.0f)));
    } else if (one.spec.datatype == Datatype::kFloat16) {
      const uint16_t half = ToHalf(value);
      bytes->insert(bytes->end(), reinterpret_cast<const uint8_t*>(&half), reinterpret_cast<const uint8_t*>(&half) + 2);
    } else {
      bytes->insert(bytes->end(), reinterpret_cast<const uint8_t*>(&value), reinterpret_cast<const uint8_t*>(&value) + 4);
    }
  }
}

inline GrowingRows DrawRows(const SpecCase& one, Clusters& clusters, uint32_t count) {
  GrowingRows rows(one.spec, OfferedKernels().front());
  std::vector<uint8_t> bytes;
  for (uint32_t row = 0; row < count; ++row) AppendRow(one, clusters.Draw(), &bytes);
  rows.Append(bytes.data(), count);
  return rows;
}

inline std::vector<float> DrawQuery(const SpecCase& one, Clusters& clusters) {
  std::vector<uint8_t> bytes;
  AppendRow(one, clusters.Draw(), &bytes);
  std::vector<float> query(one.spec.dims);
  for (size_t i = 0; i < query.size(); ++i) query[i] = ComponentOf(one.spec.datatype, bytes.data(), i);
  if (one.spec.divides_by_length) MakeUnit(&query);
  return PadQuery(query.data(), query.size());
}

inline std::shared_ptr<HnswBuildJob> Build(Pool& pool, const RowsView& view, size_t threads = 0, HnswConfig config = {16, 100}) {
  auto job = std::make_shared<HnswBuildJob>(view, config, pool.threads());
  RunToEnd([&](auto done) { pool.SubmitBackground(job, job->blocks(), threads, done); });
  return job;
}

inline std::vector<Hits> Search(Pool& pool, const RowsView& view, const HnswBuildJob& built, std::vector<GraphQuery> queries) {
  auto job = std::make_shared<GraphSearchJob>(view, built.codes(), built.graph(), std::move(queries));
  RunToEnd([&](auto done) { pool.Submit(job, job->blocks(), done); });
  CHECK(job->failure() == Failure::kNone);
  return job->hits();
}

inline std::vector<Hits> Scan(Pool& pool, const RowsView& view, std::vector<ScanQuery> queries) {
  for (ScanQuery& query : queries) {
    if (query.allowed == nullptr) query.allowed = std::make_shared<std::vector<uint32_t>>(WordsFor(view.row_count), ~uint32_t{0});
  }
  auto job = std::make_shared<ScanJob>(view, std::move(queries), pool.threads());
  RunToEnd([&](auto done) { pool.Submit(job, job->blocks(), done); });
  return job->hits();
}

// The share of the scan's hits, equal scores counting as found; every score must be the scan's.
inline double Recall(const RowSpec& spec, const std::vector<Hits>& found, const std::vector<Hits>& wanted) {
  size_t hits = 0, all = 0;
  for (size_t at = 0; at < wanted.size(); ++at) {
    if (wanted[at].scores.empty()) continue;
    const float worst = wanted[at].scores.back();
    for (const float score : found[at].scores) hits += spec.LargerIsBetter() ? score >= worst : score <= worst;
    all += wanted[at].scores.size();
    for (size_t i = 0; i < found[at].rows.size(); ++i) {
      const auto same = std::find(wanted[at].rows.begin(), wanted[at].rows.end(), found[at].rows[i]);
      CHECK(same == wanted[at].rows.end() || wanted[at].scores[static_cast<size_t>(same - wanted[at].rows.begin())] == found[at].scores[i]);
    }
  }
  return static_cast<double>(hits) / static_cast<double>(all);
}

inline std::shared_ptr<Image> Copy(const Image& from, size_t size_bytes) {
  auto to = std::make_shared<Image>(size_bytes);
  memcpy(to->data(), from.data(), std::min(size_bytes, from.size_bytes()));
  return to;
}

// Null, with *problem, where the image is refused.
inline std::shared_ptr<const WalkCodes> OpenCodes(const RowsView& view, std::shared_ptr<Image> image, const char** problem) {
  const CodeBytes bytes = CodeBytes::OfImage(view.spec, view.row_count, std::move(image), problem);
  return bytes.image == nullptr ? nullptr : WalkCodes::Open(view.spec, *view.kernels, bytes, problem);
}

}  // namespace graph_cases
