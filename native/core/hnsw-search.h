// Searches a graph: a walk by codes (or by the rows themselves), then the true scores of what it found.
#pragma once
#include "hnsw-blocks.h"
#include "hnsw-walk.h"
#include "scan.h"
#include "walk-codes.h"

namespace nearkeep {

constexpr uint32_t kNoBlock = ~uint32_t{0};

struct GraphQuery {
  ScanQuery query;        // `allowed` is ignored with kPlain
  size_t ef;              // at least k: of the walk, or of all rows scored without one, so many are found
  size_t rescored;        // of what the walk finds, so many of the nearest get their true score at most; at least k
  Filtering filtering;
  bool by_rows;           // distances of the walk from the rows instead of the codes
  QueryBits bits = QueryBits::kAsStored;
  bool early = false;         // that ends where more of them would hardly change the answer
  uint32_t block = kNoBlock;  // the walk is through this block, which holds all allowed rows; kPlain: all its rows are allowed
};

// The rows that a search goes through: those of a graph, or of a graph over some of them.
struct SearchedGraph {
  const HnswGraph* graph;  // null where there is no walk
  const uint32_t* rows;    // by node; null: row = node
  uint32_t row_count;      // of all
};

// The view's rows are those that codes, graph and blocks were made of. Either of the latter may be null where no query needs it.
class GraphSearchJob : public Job {
 public:
  GraphSearchJob(RowsView view, std::shared_ptr<const WalkCodes> codes, std::shared_ptr<const HnswGraph> graph, std::vector<GraphQuery> queries,
                 std::shared_ptr<const BlockGraphs> blocks = nullptr);
  size_t blocks() const { return queries_.size(); }
  void Run(size_t block, size_t worker) override;
  size_t Advance() override;
  // By query, once the job has ended without a failure. Fewer than k hits may mean that the walk found no more, not that there are none.
  const std::vector<Hits>& hits() const { return hits_; }
  // Distances computed.
  const std::vector<uint32_t>& evaluations() const { return evaluations_; }
  // Rows that got their true score.
  const std::vector<uint32_t>& rescored() const { return rescored_; }

 private:
  const RowsView view_;
  const std::shared_ptr<const WalkCodes> codes_;
  const std::shared_ptr<const HnswGraph> graph_;
  const std::shared_ptr<const BlockGraphs> blocks_;
  const std::vector<GraphQuery> queries_;
  std::vector<Hits> hits_;             // by query: written by the block that answers it
  std::vector<uint32_t> evaluations_;  // likewise
  std::vector<uint32_t> rescored_;     // likewise
};

// How many of the k best nodes for the node `at` as a query a search with `ef` finds. 0 where a page cannot be read or the job was stopped.
uint32_t CountSampleHits(const RowsView& view, const WalkCodes& codes, const SearchedGraph& searched, uint32_t at, uint32_t k, size_t ef,
                         const Job& job, WalkScratch* scratch);

}  // namespace nearkeep
