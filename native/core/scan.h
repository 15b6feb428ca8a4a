// Exact search over all allowed rows, for one or many queries at once.
//
// Phase 1 scores rows with the fast f32 kernels. Each sum comes with a bound on its error, so a row's true score lies in [low, high]
// (as goodness: larger is better). A row is dropped only where its `high` is below the k-th best `low` seen so far. Phase 2 computes
// the true scores of what is left (exact.cc), sorts by score and row and keeps k. The result is exactly that of scoring every
// row in f64.
//
// The bound, with u = 2^-24, n components, at most n / lanes + 16 additions per component (Higham, "Accuracy and Stability of
// Numerical Algorithms", 3.1) and gamma = 1.01 * (n / lanes + 16) * u:
//   L1, squared L2: relative, (gamma + 8u) * sum, all terms being positive; the 8u hold the rounding of the returned f32 score
//   dot: gamma * |q| * |x| by Cauchy-Schwarz, plus 4u * |sum| for that rounding; the kernel yields |x|^2 on the way
//   dot divided by |x|: gamma * |q|, plus (gamma + 8u) * |quotient| for the length and the roundings
//   both: n * 2^-149 for underflow. Sums that overflow, are NaN or come near the largest float are scored in f64 at once.
#pragma once
#include "pool.h"
#include "rows.h"

namespace nearkeep {

struct ScanQuery {
  std::vector<float> vector;  // dims floats, finite, padded with zeros to a multiple of kQueryPadding
  uint32_t k;
  std::shared_ptr<const std::vector<uint32_t>> allowed;  // at least row_count bits
};

struct Hits {
  std::vector<uint32_t> rows;  // best first, equal scores by row
  std::vector<float> scores;
};

// The fast kernels: sums, and for dot products squared lengths; quotients where the spec divides by the length.
void ApproximateScores(const RowSpec& spec, const Kernels& kernels, const float* query, const uint8_t* const* rows, size_t count,
                       float* sums, float* norms);

std::vector<float> PadQuery(const float* query, size_t dims);

struct Candidate {
  double low, high;
  uint32_t row;
};

// The rows that may be among the k best, with bounds. Compacted whenever it has doubled, so adding is O(1) on average.
class Candidates {
 public:
  void Add(uint32_t row, double low, double high, uint32_t k) {
    if (high < threshold_) return;
    list_.push_back({low, high, row});
    if (list_.size() >= limit_) Compact(k);
  }
  // Drops what cannot be among the k best.
  void Compact(uint32_t k);
  std::vector<Candidate>& list() { return list_; }

 private:
  std::vector<Candidate> list_;
  double threshold_ = -__builtin_inf();  // the k-th best `low` so far
  size_t limit_ = 64;
};

// One query against rows of one view: candidates by the fast kernels, then their true scores.
class ExactRanker {
 public:
  // Both outlive the ranker.
  ExactRanker(const RowsView& view, const ScanQuery& query);
  // At most kRowsAtOnce rows, with where they lie. `lows`, where given: the lower bound of each one's goodness. False where a page of the
  // file cannot be read.
  bool Add(const uint32_t* rows, const uint8_t* const* bytes, size_t count, Candidates* candidates, double* lows = nullptr) const;
  // The k best of the candidates, which are used up. False where a page cannot be read; `job` is asked whether to stop.
  bool Rank(Candidates* candidates, const Job& job, Hits* hits) const;

  static constexpr size_t kRowsAtOnce = 256;

 private:
  // The bounds from the row's true score. False where a page cannot be read.
  bool BoundsOfScore(const uint8_t* bytes, double* low, double* high) const;

  const RowsView* view_;
  const ScanQuery* query_;
  double relative_, per_norm_, absolute_;  // of the error bound
};

class ScanJob : public Job {
 public:
  ScanJob(RowsView view, std::vector<ScanQuery> queries, size_t workers);
  size_t blocks() const { return blocks_.size(); }
  void Run(size_t block, size_t worker) override;
  size_t Advance() override;
  // By query, once the job has ended without a failure.
  const std::vector<Hits>& hits() const { return hits_; }

 private:
  enum class Phase : uint8_t { kScan, kRank };

  bool ScanTile(const Span& span, uint32_t from, uint32_t to, size_t query, size_t worker);
  void Rank(size_t query);

  const RowsView view_;
  const std::vector<ScanQuery> queries_;
  std::vector<ExactRanker> rankers_;
  std::vector<Span> blocks_;
  uint32_t tile_rows_;
  Phase phase_ = Phase::kScan;
  std::vector<std::vector<Candidates>> candidates_;  // by worker, by query: written by that worker only
  std::vector<Hits> hits_;                           // by query: written by the block that ranks it
};

// Exact scores of listed rows, in their order.
class ScoreJob : public Job {
 public:
  // Every row is below the view's row_count.
  ScoreJob(RowsView view, std::vector<float> query, std::vector<uint32_t> rows);
  size_t blocks() const;
  void Run(size_t block, size_t worker) override;
  size_t Advance() override;
  const std::vector<float>& scores() const { return scores_; }

 private:
  const RowsView view_;
  const std::vector<float> query_;
  const std::vector<uint32_t> rows_;
  std::vector<float> scores_;
};

}  // namespace nearkeep
