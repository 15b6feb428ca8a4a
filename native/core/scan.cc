#include "scan.h"

#include <math.h>

#include <algorithm>

#include "bitmap.h"

namespace nearkeep {
namespace {

// A block is what a thread takes at a time: long enough to hide the queue, short enough to share and to cancel.
constexpr size_t kBlockBytes = size_t{1} << 20;
// A tile is scored for all queries before the next, so that they share what lies in the cache.
constexpr size_t kTileBytes = size_t{128} << 10;
constexpr uint32_t kTileRowsMax = ExactRanker::kRowsAtOnce;
constexpr size_t kScoresPerBlock = 256;
// Approximate sums above this are scored in f64 at once: the bounds must not meet the largest float.
constexpr double kSureMax = 1e38;
constexpr double kUnitRoundoff = 0x1p-24;
constexpr double kSmallest = 0x1p-149;

double Goodness(const RowSpec& spec, float score) {
  if (isnan(score)) return -INFINITY;
  const double value = score;
  if (spec.LargerIsBetter()) return value;
  return spec.metric == Metric::kSquaredL2 ? -value * value : -value;
}

// A read of rows: guarded where they lie in a file.
template <class Body>
bool Read(const RowsView& view, const Body& body) {
  if (view.file != nullptr) return ReadGuarded(body);
  body();
  return true;
}

bool StillWhole(const RowsView& view) { return view.file == nullptr || view.file->Intact(); }

}  // namespace

void ApproximateScores(const RowSpec& spec, const Kernels& kernels, const float* query, const uint8_t* const* rows, size_t count,
                       float* sums, float* norms) {
  kernels.approximate[static_cast<size_t>(spec.metric)][static_cast<size_t>(spec.datatype)](query, rows, count, spec.dims, sums, norms);
  if (!spec.divides_by_length) return;
  for (size_t i = 0; i < count; ++i) sums[i] = norms[i] == 0 ? 0 : sums[i] / sqrtf(norms[i]);
}

std::vector<float> PadQuery(const float* query, size_t dims) {
  std::vector<float> padded((dims + kQueryPadding - 1) / kQueryPadding * kQueryPadding, 0.0f);
  std::copy(query, query + dims, padded.begin());
  return padded;
}

void Candidates::Compact(uint32_t k) {
  if (list_.size() > k) {
    const auto kth = list_.begin() + (k - 1);
    std::nth_element(list_.begin(), kth, list_.end(), [](const Candidate& a, const Candidate& b) { return a.low > b.low; });
    threshold_ = std::max(threshold_, kth->low);
    const double threshold = threshold_;
    list_.erase(std::remove_if(list_.begin(), list_.end(), [threshold](const Candidate& it) { return it.high < threshold; }),
                list_.end());
  }
  limit_ = std::max<size_t>(64, list_.size() * 2);
}

ExactRanker::ExactRanker(const RowsView& view, const ScanQuery& query) : view_(&view), query_(&query) {
  const double dims = view.spec.dims;
  const double gamma = 1.01 * (dims / static_cast<double>(view.kernels->lanes) + 16) * kUnitRoundoff;
  absolute_ = (dims + 1) * kSmallest;
  per_norm_ = 0;
  relative_ = gamma + 8 * kUnitRoundoff;
  if (view.spec.metric != Metric::kDot) return;
  double squares = 0;
  for (const float value : query.vector) squares += static_cast<double>(value) * value;
  per_norm_ = gamma * sqrt(squares);
  if (!view.spec.divides_by_length) relative_ = 4 * kUnitRoundoff;
}

bool ExactRanker::Add(const uint32_t* rows, const uint8_t* const* bytes, size_t count, Candidates* candidates, double* lows) const {
  const RowSpec& spec = view_->spec;
  float sums[kRowsAtOnce];
  float norms[kRowsAtOnce];
  if (!Read(*view_, [&] { ApproximateScores(spec, *view_->kernels, query_->vector.data(), bytes, count, sums, norms); })) return false;
  const double sign = spec.LargerIsBetter() ? 1 : -1;
  const double norm_floor = spec.dims * kSmallest;
  for (size_t i = 0; i < count; ++i) {
    const double sum = sums[i];
    double error = relative_ * fabs(sum) + absolute_;
    if (spec.divides_by_length) error += 1.02 * per_norm_;
    else if (spec.metric == Metric::kDot) error += per_norm_ * sqrt(1.01 * static_cast<double>(norms[i]) + norm_floor);
    double low = sign * sum - error;
    double high = sign * sum + error;
    const bool sure = fabs(sum) + error < kSureMax;
    if (!sure && !BoundsOfScore(bytes[i], &low, &high)) return false;
    candidates->Add(rows[i], low, high, query_->k);
    if (lows != nullptr) lows[i] = low;
  }
  return true;
}

bool ExactRanker::BoundsOfScore(const uint8_t* bytes, double* low, double* high) const {
  float score = 0;
  if (!Read(*view_, [&] { ExactScores(view_->spec, query_->vector.data(), &bytes, 1, &score); })) return false;
  const double goodness = Goodness(view_->spec, score);
  const double error = isinf(goodness) ? 0 : 4 * kUnitRoundoff * fabs(goodness);
  *low = goodness - error;
  *high = goodness + error;
  return true;
}

bool ExactRanker::Rank(Candidates* candidates, const Job& job, Hits* hits) const {
  candidates->Compact(query_->k);
  const std::vector<Candidate>& list = candidates->list();
  struct Scored {
    float score;
    uint32_t row;
  };
  std::vector<Scored> scored;
  scored.reserve(list.size());
  const uint8_t* bytes[kRowsAtOnce];
  float scores[kRowsAtOnce];
  for (size_t from = 0; from < list.size() && !job.Stopped(); from += kRowsAtOnce) {
    const size_t count = std::min<size_t>(kRowsAtOnce, list.size() - from);
    for (size_t i = 0; i < count; ++i) bytes[i] = view_->Row(list[from + i].row);
    if (!Read(*view_, [&] { ExactScores(view_->spec, query_->vector.data(), bytes, count, scores); })) return false;
    for (size_t i = 0; i < count; ++i) scored.push_back({scores[i], list[from + i].row});
  }

  const bool larger = view_->spec.LargerIsBetter();
  const auto better = [larger](const Scored& a, const Scored& b) {
    if (isnan(a.score) != isnan(b.score)) return isnan(b.score) != 0;
    if (a.score != b.score && !isnan(a.score)) return larger ? a.score > b.score : a.score < b.score;
    return a.row < b.row;
  };
  const size_t kept = std::min<size_t>(query_->k, scored.size());
  std::partial_sort(scored.begin(), scored.begin() + static_cast<ptrdiff_t>(kept), scored.end(), better);
  hits->rows.reserve(kept);
  hits->scores.reserve(kept);
  for (size_t i = 0; i < kept; ++i) {
    hits->rows.push_back(scored[i].row);
    hits->scores.push_back(scored[i].score);
  }
  return true;
}

ScanJob::ScanJob(RowsView view, std::vector<ScanQuery> queries, size_t workers)
    : view_(std::move(view)), queries_(std::move(queries)), candidates_(workers), hits_(queries_.size()) {
  const size_t stride = view_.spec.StrideBytes();
  tile_rows_ = static_cast<uint32_t>(std::clamp<size_t>(kTileBytes / stride, 1, kTileRowsMax));
  const size_t block_bytes = kBlockBytes / std::max<size_t>(1, queries_.size());
  const uint32_t block_rows = static_cast<uint32_t>(std::max<size_t>(tile_rows_, block_bytes / stride));
  for (const Span& span : view_.spans) {
    for (uint32_t at = 0; at < span.count;) {
      const uint32_t count = std::min(block_rows, span.count - at);
      blocks_.push_back({span.data + size_t{at} * stride, span.first + at, count});
      at += count;
    }
  }
  for (auto& of_worker : candidates_) of_worker.resize(queries_.size());
  for (const ScanQuery& query : queries_) rankers_.emplace_back(view_, query);
}

void ScanJob::Run(size_t block, size_t worker) {
  if (phase_ == Phase::kRank) return Rank(block);
  const Span& span = blocks_[block];
  const uint32_t end = span.first + span.count;
  for (uint32_t from = span.first; from < end && !Stopped();) {
    const uint32_t to = from + std::min(tile_rows_, end - from);
    for (size_t query = 0; query < queries_.size(); ++query) {
      if (queries_[query].k > 0 && !ScanTile(span, from, to, query, worker)) return Fail(Failure::kUnreadable);
    }
    from = to;
  }
}

bool ScanJob::ScanTile(const Span& span, uint32_t from, uint32_t to, size_t at, size_t worker) {
  const ScanQuery& query = queries_[at];
  const RowSpec& spec = view_.spec;
  const size_t stride = spec.StrideBytes();
  uint32_t rows[kTileRowsMax];
  const uint8_t* bytes[kTileRowsMax];
  size_t count = 0;
  ForEachSet(query.allowed->data(), from, to, [&](uint32_t row) {
    rows[count] = row;
    bytes[count++] = span.data + size_t{row - span.first} * stride;
  });
  if (count > 0 && !may_wait() && !view_.Resident(bytes[0], static_cast<size_t>(bytes[count - 1] - bytes[0]) + stride)) {
    Fail(Failure::kWouldWait);
    return false;
  }
  return count == 0 || rankers_[at].Add(rows, bytes, count, &candidates_[worker][at]);
}

size_t ScanJob::Advance() {
  if (!Stopped() && !StillWhole(view_)) Fail(Failure::kUnreadable);
  if (Stopped() || phase_ == Phase::kRank) return 0;
  phase_ = Phase::kRank;
  return queries_.size();
}

void ScanJob::Rank(size_t at) {
  const ScanQuery& query = queries_[at];
  if (query.k == 0) return;
  Candidates all;
  for (auto& of_worker : candidates_) {
    std::vector<Candidate>& list = of_worker[at].list();
    all.list().insert(all.list().end(), list.begin(), list.end());
    std::vector<Candidate>().swap(list);
  }
  if (!rankers_[at].Rank(&all, *this, &hits_[at])) Fail(Failure::kUnreadable);
}

ScoreJob::ScoreJob(RowsView view, std::vector<float> query, std::vector<uint32_t> rows)
    : view_(std::move(view)), query_(std::move(query)), rows_(std::move(rows)), scores_(rows_.size()) {}

size_t ScoreJob::blocks() const { return (rows_.size() + kScoresPerBlock - 1) / kScoresPerBlock; }

void ScoreJob::Run(size_t block, size_t) {
  const size_t from = block * kScoresPerBlock;
  const size_t count = std::min(kScoresPerBlock, rows_.size() - from);
  const uint8_t* bytes[kScoresPerBlock];
  for (size_t i = 0; i < count; ++i) bytes[i] = view_.Row(rows_[from + i]);
  if (!Read(view_, [&] { ExactScores(view_.spec, query_.data(), bytes, count, scores_.data() + from); })) Fail(Failure::kUnreadable);
}

size_t ScoreJob::Advance() {
  if (!Stopped() && !StillWhole(view_)) Fail(Failure::kUnreadable);
  return 0;
}

}  // namespace nearkeep
