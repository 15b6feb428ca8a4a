#include "hnsw-search.h"

namespace nearkeep {
namespace {

// Heaps need numbers: damage behind all checks, or products that overflow, may have made something else of a distance.
void BeNumbers(float* distances, size_t count) {
  for (size_t i = 0; i < count; ++i) distances[i] = distances[i] == distances[i] ? distances[i] : INFINITY;
}

struct CodeScorer {
  const WalkCodes& codes;
  const CodeQuery& query;
  bool operator()(const uint32_t* nodes, size_t count, float* distances) const {
    const auto score = [&] { query.Distances(nodes, count, distances); };
    if (codes.bytes().file == nullptr) score();
    else if (!ReadGuarded(score)) return false;
    BeNumbers(distances, count);
    return true;
  }
  void Prefetch(uint32_t node) const { codes.Prefetch(node); }
};

struct RowScorer {
  const RowsView& view;
  const float* query;
  bool operator()(const uint32_t* nodes, size_t count, float* distances) const {
    constexpr size_t kRun = 64;
    const uint8_t* rows[kRun];
    float norms[kRun];
    for (size_t from = 0; from < count; from += kRun) {
      const size_t length = std::min(kRun, count - from);
      for (size_t i = 0; i < length; ++i) rows[i] = view.Row(nodes[from + i]);
      const auto score = [&] { ApproximateScores(view.spec, *view.kernels, query, rows, length, distances + from, norms); };
      if (view.file == nullptr) score();
      else if (!ReadGuarded(score)) return false;
      if (!view.spec.LargerIsBetter()) continue;
      for (size_t i = 0; i < length; ++i) distances[from + i] = -distances[from + i];
    }
    BeNumbers(distances, count);
    return true;
  }
  void Prefetch(uint32_t) const {}
};

template <class Scorer>
bool FindNear(const HnswGraph& graph, Scorer& scorer, const GraphQuery& query, const Job& job, WalkScratch* scratch) {
  Near start = {0, graph.entry()};
  if (!scorer(&start.node, 1, &start.distance) || !Descend(graph, scorer, &start, graph.top_level(), 0, scratch)) return false;
  const auto stopped = [&job] { return job.Stopped(); };
  const uint32_t* allowed = query.query.allowed == nullptr ? nullptr : query.query.allowed->data();
  switch (query.filtering) {
    case Filtering::kPlain: return Walk<Filtering::kPlain>(graph, scorer, 0, {start}, query.ef, nullptr, stopped, scratch);
    case Filtering::kPredicate: return Walk<Filtering::kPredicate>(graph, scorer, 0, {start}, query.ef, allowed, stopped, scratch);
    case Filtering::kTwoHop: return Walk<Filtering::kTwoHop>(graph, scorer, 0, {start}, query.ef, allowed, stopped, scratch);
  }
  return false;
}

// The walk's result into scratch->found, nearest first. False where a page cannot be read or the job was stopped.
bool FindSorted(const RowsView& view, const WalkCodes& codes, const HnswGraph& graph, const GraphQuery& query, const Job& job, WalkScratch* scratch) {
  scratch->evaluations = 0;
  bool whole;
  if (query.by_rows) {
    RowScorer scorer = {view, query.query.vector.data()};
    whole = FindNear(graph, scorer, query, job, scratch);
  } else {
    const std::unique_ptr<CodeQuery> coded = codes.Query(query.query.vector.data(), query.bits);
    CodeScorer scorer = {codes, *coded};
    whole = FindNear(graph, scorer, query, job, scratch);
  }
  std::sort(scratch->found.begin(), scratch->found.end());
  return whole;
}

WalkScratch& ScratchOfThread() {
  thread_local WalkScratch scratch;
  return scratch;
}

}  // namespace

GraphSearchJob::GraphSearchJob(RowsView view, std::shared_ptr<const WalkCodes> codes, std::shared_ptr<const HnswGraph> graph,
                               std::vector<GraphQuery> queries)
    : view_(std::move(view)),
      codes_(std::move(codes)),
      graph_(std::move(graph)),
      queries_(std::move(queries)),
      hits_(queries_.size()),
      evaluations_(queries_.size()) {}

void GraphSearchJob::Run(size_t block, size_t) {
  const GraphQuery& query = queries_[block];
  if (query.query.k == 0 || graph_->rows() == 0) return;
  WalkScratch& scratch = ScratchOfThread();
  if (!FindSorted(view_, *codes_, *graph_, query, *this, &scratch)) {
    if (!Stopped()) Fail(query.by_rows ? Failure::kUnreadable : Failure::kCodesUnreadable);
    return;
  }
  evaluations_[block] = static_cast<uint32_t>(std::min<uint64_t>(scratch.evaluations, ~uint32_t{0}));
  const size_t kept = std::min(query.rescored, scratch.found.size());
  const ExactRanker ranker(view_, query.query);
  Candidates candidates;
  for (size_t from = 0; from < kept; from += ExactRanker::kRowsAtOnce) {
    const size_t count = std::min(ExactRanker::kRowsAtOnce, kept - from);
    uint32_t rows[ExactRanker::kRowsAtOnce];
    const uint8_t* bytes[ExactRanker::kRowsAtOnce];
    for (size_t i = 0; i < count; ++i) {
      rows[i] = scratch.found[from + i].node;
      bytes[i] = view_.Row(rows[i]);
      if (view_.file == nullptr) __builtin_prefetch(bytes[i]);
    }
    if (!ranker.Add(rows, bytes, count, &candidates)) return Fail(Failure::kUnreadable);
  }
  if (!ranker.Rank(&candidates, *this, &hits_[block])) Fail(Failure::kUnreadable);
}

size_t GraphSearchJob::Advance() {
  const MappedFile* codes = codes_->bytes().file.get();
  if (Stopped()) return 0;
  if (view_.file != nullptr && !view_.file->Intact()) Fail(Failure::kUnreadable);
  else if (codes != nullptr && !codes->Intact()) Fail(Failure::kCodesUnreadable);
  return 0;
}

uint32_t CountSampleHits(const RowsView& view, const WalkCodes& codes, const HnswGraph& graph, uint32_t at, uint32_t k, size_t ef,
                         const Job& job, WalkScratch* scratch) {
  const size_t stride = view.spec.StrideBytes();
  std::vector<uint8_t> bytes(stride);
  const auto read = [&] { memcpy(bytes.data(), view.Row(at), stride); };
  if (view.file == nullptr) read();
  else if (!ReadGuarded(read)) return 0;
  std::vector<float> values(view.spec.dims);
  for (size_t i = 0; i < values.size(); ++i) values[i] = ComponentOf(view.spec.datatype, bytes.data(), i);
  GraphQuery query = {{PadQuery(values.data(), values.size()), k, nullptr}, ef, ef, Filtering::kPlain, false};
  if (!FindSorted(view, codes, graph, query, job, scratch)) return 0;
  std::vector<uint32_t> found;
  for (const Near& near : scratch->found) found.push_back(near.node);

  // Of all rows the k nearest, by the rows themselves. Equal ones count as found.
  RowScorer scorer = {view, query.query.vector.data()};
  std::vector<float> nearest;
  std::vector<uint32_t> rows;
  std::vector<float> distances(ExactRanker::kRowsAtOnce);
  std::vector<float> of_found(found.size());
  if (!scorer(found.data(), found.size(), of_found.data())) return 0;
  for (uint32_t from = 0; from < view.row_count && !job.Stopped(); from += ExactRanker::kRowsAtOnce) {
    rows.clear();
    for (uint32_t row = from; row < std::min<uint64_t>(view.row_count, uint64_t{from} + ExactRanker::kRowsAtOnce); ++row) rows.push_back(row);
    if (!scorer(rows.data(), rows.size(), distances.data())) return 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (nearest.size() == k && !(distances[i] < nearest.front())) continue;
      nearest.push_back(distances[i]);
      std::push_heap(nearest.begin(), nearest.end());
      if (nearest.size() <= k) continue;
      std::pop_heap(nearest.begin(), nearest.end());
      nearest.pop_back();
    }
  }
  const float worst = nearest.front();
  const auto hits = static_cast<uint32_t>(std::count_if(of_found.begin(), of_found.end(), [worst](float distance) { return distance <= worst; }));
  return std::min<uint32_t>(hits, static_cast<uint32_t>(nearest.size()));
}

}  // namespace nearkeep
