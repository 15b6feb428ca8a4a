// Searches a graph: a walk by codes (or by the rows themselves), then the true scores of what it found.
#pragma once
#include "hnsw-walk.h"
#include "scan.h"
#include "walk-codes.h"

namespace nearkeep {

struct GraphQuery {
  ScanQuery query;        // `allowed` is ignored with kPlain
  size_t ef;              // at least k
  size_t rescored;        // of what the walk finds, how many of the nearest get their true score; at least k
  Filtering filtering;
  bool by_rows;           // distances of the walk from the rows instead of the codes
  QueryBits bits = QueryBits::kAsStored;
};

// The view's rows are those that codes and graph were made of.
class GraphSearchJob : public Job {
 public:
  GraphSearchJob(RowsView view, std::shared_ptr<const WalkCodes> codes, std::shared_ptr<const HnswGraph> graph, std::vector<GraphQuery> queries);
  size_t blocks() const { return queries_.size(); }
  void Run(size_t block, size_t worker) override;
  size_t Advance() override;
  // By query, once the job has ended without a failure. Fewer than k hits may mean that the walk found no more, not that there are none.
  const std::vector<Hits>& hits() const { return hits_; }
  // Distances computed.
  const std::vector<uint32_t>& evaluations() const { return evaluations_; }

 private:
  const RowsView view_;
  const std::shared_ptr<const WalkCodes> codes_;
  const std::shared_ptr<const HnswGraph> graph_;
  const std::vector<GraphQuery> queries_;
  std::vector<Hits> hits_;             // by query: written by the block that answers it
  std::vector<uint32_t> evaluations_;  // likewise
};

// How many of the k best rows for the row `at` as a query a search with `ef` finds. 0 where a page cannot be read.
uint32_t CountSampleHits(const RowsView& view, const WalkCodes& codes, const HnswGraph& graph, uint32_t at, uint32_t k, size_t ef,
                         const Job& job, WalkScratch* scratch);

}  // namespace nearkeep
