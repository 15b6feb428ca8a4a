// Builds codes and graph of stored rows, in the background, on any number of threads.
//
// Phases: prepare (means, an empty graph) → encode → the first points on one thread, or, where there is a seed, its links taken over
// side by side → the others side by side → reach: every point is found from the entry or linked in → for dot products of unequal
// lengths: a sample is searched, and a graph that misses too much is given up → where it is to be walked by other codes than the
// internal ones, those are made, and take their place.
//
// A new point is linked in two passes: its own lists on ALL levels first, then itself into its neighbours' lists. A point that can be
// found on one level can therefore be left on every level below; with the passes mixed, walks of other threads end in half-linked
// points and strand theirs.
//
// With rows given, the graph is of these rows alone, over codes that exist: node n is the n-th of them (hnsw-blocks.h).
//
// Shared: lists under one lock byte per node (readers go without, see hnsw-graph.h); entry point and top level in one atomic word,
// changed under growing_, which a point of a new top level holds while it is linked.
#pragma once
#include <mutex>

#include "codes.h"
#include "hnsw-seed.h"
#include "hnsw-walk.h"
#include "node-codes.h"
#include "pool.h"

namespace nearkeep {

struct HnswConfig {
  uint32_t m;             // 2 … kLinksMax / 2; 0: codes alone
  uint32_t ef_construct;  // at least 1
  CodesConfig codes = {};
};

enum class BuildOutcome : uint8_t {
  kBuilt,
  kUnfit,   // rows with values that have no codes
  kMissed,  // the sample's recall was too low: such data is scanned
};

class HnswBuildJob : public Job {
 public:
  // `workers`: threads of the pool. `seed`: of a graph with the same m, whose live nodes fit into the view's rows.
  HnswBuildJob(RowsView view, const HnswConfig& config, size_t workers, GraphSeed seed = {});
  // Of `rows`, ascending, over codes of all rows of the view.
  HnswBuildJob(RowsView view, const HnswConfig& config, size_t workers, std::shared_ptr<const CodeTable> codes, std::vector<uint32_t> rows);
  size_t blocks() const { return 1; }
  void Run(size_t block, size_t worker) override;
  size_t Advance() override;

  // Once the job has ended without a failure.
  BuildOutcome outcome() const { return outcome_; }
  const std::shared_ptr<const WalkCodes>& codes() const { return walked_; }
  bool recoding() const { return phase_ == Phase::kRecode; }
  const std::shared_ptr<HnswGraph>& graph() const { return graph_; }  // null without links
  const std::vector<uint32_t>& rows() const { return rows_; }         // as given
  uint32_t taken() const { return seed_nodes_.count(); }  // points whose links are the seed's
  uint32_t stranded() const { return stranded_; }  // points that had to be linked in at the end
  float sample_recall() const { return sample_recall_; }  // 1 where no sample was searched

 private:
  enum class Phase : uint8_t { kPrepare, kEncode, kFirst, kTake, kInsert, kReach, kSample, kRecode };

  size_t BlocksOfSize(uint32_t size) const;
  void Lay();
  void Take(uint32_t old);
  uint32_t ToInsert(uint32_t at) const;
  size_t BeginInsert();
  void Insert(uint32_t node, size_t worker);
  void LinkForward(uint32_t node, uint32_t level, std::vector<Near>* chosen, WalkScratch* scratch);
  void LinkBack(uint32_t node, uint32_t level, const std::vector<Near>& chosen);
  void Choose(std::vector<Near>* candidates, size_t most) const;
  void Reach();
  void Sample(size_t at, size_t worker);
  void JudgeSample();
  size_t Recode();

  const RowsView view_;
  const HnswConfig config_;
  const std::vector<uint32_t> rows_;  // by node; empty: row = node
  const uint32_t nodes_;
  GraphSeed seed_;
  SeedNodes seed_nodes_;
  std::shared_ptr<CodeTable> codes_;  // internal
  CodeWriter writer_;
  const NodeCodes points_;
  std::unique_ptr<CodesMaker> maker_;
  std::shared_ptr<const WalkCodes> walked_;
  std::shared_ptr<HnswGraph> graph_;
  std::vector<WalkScratch> scratch_;  // by worker
  std::unique_ptr<std::atomic<uint8_t>[]> locks_;
  std::mutex growing_;
  std::atomic<uint64_t> entry_{~uint64_t{0}};  // top level << 32 | node; all ones: none
  Phase phase_ = Phase::kPrepare;
  BuildOutcome outcome_ = BuildOutcome::kBuilt;
  uint32_t to_insert_ = 0;  // points of the phase
  uint32_t stranded_ = 0;
  float sample_recall_ = 1;
  std::vector<uint32_t> sample_hits_;  // by sample
};

// Nodes that a walk along level 0 from the entry point does not come to, ascending.
std::vector<uint32_t> FindStranded(const HnswGraph& graph);

}  // namespace nearkeep
