#include "hnsw-search.h"

#include "bitmap.h"
#include "node-codes.h"

namespace nearkeep {
namespace {

// Rows whose true scores are taken at a time where it may end soon.
constexpr size_t kRescoreStep = 8;
// Of fewer of the best, none in a long row would be chance.
constexpr size_t kWatchedMin = 16;

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

// Scores the nodes of a graph whose rows a list names.
template <class Scorer>
struct NodeScorer {
  Scorer& scorer;
  const uint32_t* rows;
  bool operator()(const uint32_t* nodes, size_t count, float* distances) const {
    return ForRowsOf(rows, nodes, count, [&](const uint32_t* piece, size_t length, size_t offset) { return scorer(piece, length, distances + offset); });
  }
  void Prefetch(uint32_t node) const { scorer.Prefetch(rows[node]); }
};

// All set rows, without a walk: the `ef` nearest into scratch->found.
template <class Scorer>
bool ScoreAll(Scorer& scorer, const uint32_t* allowed, uint32_t rows, size_t ef, const Job& job, WalkScratch* scratch) {
  constexpr uint32_t kBatch = 64;
  std::vector<Near>& found = scratch->found;
  found.clear();
  scratch->distances.resize(std::max<size_t>(kBatch, scratch->distances.size()));
  scratch->next.clear();
  bool whole = true;
  const auto score_batch = [&] {
    std::vector<uint32_t>& next = scratch->next;
    whole = whole && !job.Stopped() && scorer(next.data(), next.size(), scratch->distances.data());
    if (!whole) return;
    scratch->evaluations += next.size();
    for (size_t at = 0; at < next.size(); ++at) {
      const Near near = {scratch->distances[at], next[at]};
      if (found.size() >= ef && !(near < found.front())) continue;
      found.push_back(near);
      std::push_heap(found.begin(), found.end());
      if (found.size() <= ef) continue;
      std::pop_heap(found.begin(), found.end());
      found.pop_back();
    }
    next.clear();
  };
  ForEachSet(allowed, 0, rows, [&](uint32_t row) {
    if (!whole) return;
    scorer.Prefetch(row);
    scratch->next.push_back(row);
    if (scratch->next.size() == kBatch) score_batch();
  });
  if (!scratch->next.empty()) score_batch();
  return whole;
}

template <class Scorer>
bool FindNear(const HnswGraph& graph, Scorer& scorer, const GraphQuery& query, const uint32_t* allowed, const Job& job, WalkScratch* scratch) {
  Near start = {0, graph.entry()};
  if (!scorer(&start.node, 1, &start.distance) || !Descend(graph, scorer, &start, graph.top_level(), 0, scratch)) return false;
  const auto stopped = [&job] { return job.Stopped(); };
  switch (query.filtering) {
    case Filtering::kPlain: return Walk<Filtering::kPlain>(graph, scorer, 0, {start}, query.ef, nullptr, stopped, scratch);
    case Filtering::kPredicate: return Walk<Filtering::kPredicate>(graph, scorer, 0, {start}, query.ef, allowed, stopped, scratch);
    case Filtering::kTwoHop: return Walk<Filtering::kTwoHop>(graph, scorer, 0, {start}, query.ef, allowed, stopped, scratch);
    case Filtering::kNoWalk: break;  // needs no graph
  }
  return false;
}

template <class Scorer>
bool FindRows(const SearchedGraph& searched, Scorer& scorer, const GraphQuery& query, const Job& job, WalkScratch* scratch) {
  const uint32_t* allowed = query.query.allowed == nullptr ? nullptr : query.query.allowed->data();
  if (query.filtering == Filtering::kNoWalk) return ScoreAll(scorer, allowed, searched.row_count, query.ef, job, scratch);
  if (searched.rows == nullptr) return FindNear(*searched.graph, scorer, query, allowed, job, scratch);
  std::vector<uint32_t> of_nodes;
  if (query.filtering != Filtering::kPlain) {
    of_nodes.resize(WordsFor(searched.graph->rows()));
    for (uint32_t node = 0; node < searched.graph->rows(); ++node) of_nodes[node / 32] |= uint32_t{IsSet(allowed, searched.rows[node])} << (node & 31);
  }
  NodeScorer<Scorer> node_scorer = {scorer, searched.rows};
  if (!FindNear(*searched.graph, node_scorer, query, of_nodes.data(), job, scratch)) return false;
  for (Near& near : scratch->found) near.node = searched.rows[near.node];
  return true;
}

// The walk's result into scratch->found, as rows, nearest first. False where a page cannot be read or the job was stopped.
bool FindSorted(const RowsView& view, const WalkCodes& codes, const SearchedGraph& searched, const GraphQuery& query, const Job& job, WalkScratch* scratch) {
  scratch->evaluations = 0;
  bool whole;
  if (query.by_rows) {
    RowScorer scorer = {view, query.query.vector.data()};
    whole = FindRows(searched, scorer, query, job, scratch);
  } else {
    const std::unique_ptr<CodeQuery> coded = codes.Query(query.query.vector.data(), query.bits);
    CodeScorer scorer = {codes, *coded};
    whole = FindRows(searched, scorer, query, job, scratch);
  }
  std::sort(scratch->found.begin(), scratch->found.end());
  return whole;
}

// True scores of the nearest of `found`, which are in the order of their distances. With `early` that ends when the later half of them, and
// at least a step, brought none of the best (k, or kWatchedMin): where distances tell near from far the best come first, and where they
// do not, because all are nearly equal, they come all along. `may_read` is asked before a row is read. False where it says
// no, and where a page cannot be read.
template <class MayRead>
bool Rescore(const RowsView& view, const GraphQuery& query, const ExactRanker& ranker, const std::vector<Near>& found, const MayRead& may_read,
             Candidates* candidates, uint32_t* scored) {
  const size_t most = std::min(query.rescored, found.size());
  const size_t watched = std::max<size_t>(query.query.k, kWatchedMin);
  const size_t step = query.early ? kRescoreStep : ExactRanker::kRowsAtOnce;
  std::vector<double> best;  // heap, the worst first
  uint32_t rows[ExactRanker::kRowsAtOnce];
  const uint8_t* bytes[ExactRanker::kRowsAtOnce];
  double lows[ExactRanker::kRowsAtOnce];
  size_t at = 0;
  size_t last = 0;  // before it one of the best was found
  while (at < most && !(query.early && at >= 2 * last && at - last >= kRescoreStep)) {
    const size_t count = std::min(step, most - at);
    for (size_t i = 0; i < count; ++i) {
      rows[i] = found[at + i].node;
      bytes[i] = view.Row(rows[i]);
      if (!may_read(bytes[i])) return false;
      if (view.file == nullptr) __builtin_prefetch(bytes[i]);
    }
    if (!ranker.Add(rows, bytes, count, candidates, lows)) return false;
    for (size_t i = 0; query.early && i < count; ++i) {
      if (best.size() == watched && lows[i] <= best.front()) continue;
      last = at + i + 1;
      best.push_back(lows[i]);
      std::push_heap(best.begin(), best.end(), std::greater<double>());
      if (best.size() <= watched) continue;
      std::pop_heap(best.begin(), best.end(), std::greater<double>());
      best.pop_back();
    }
    at += count;
  }
  *scored = static_cast<uint32_t>(at);
  return true;
}

WalkScratch& ScratchOfThread() {
  thread_local WalkScratch scratch;
  return scratch;
}

}  // namespace

GraphSearchJob::GraphSearchJob(RowsView view, std::shared_ptr<const WalkCodes> codes, std::shared_ptr<const HnswGraph> graph,
                               std::vector<GraphQuery> queries, std::shared_ptr<const BlockGraphs> blocks)
    : view_(std::move(view)),
      codes_(std::move(codes)),
      graph_(std::move(graph)),
      blocks_(std::move(blocks)),
      queries_(std::move(queries)),
      hits_(queries_.size()),
      evaluations_(queries_.size()),
      rescored_(queries_.size()) {}

void GraphSearchJob::Run(size_t block, size_t) {
  const GraphQuery& query = queries_[block];
  if (query.query.k == 0 || view_.row_count == 0) return;
  const bool walks_map = query.by_rows ? view_.file != nullptr : codes_->bytes().file != nullptr;
  if (walks_map && !may_wait()) return Fail(Failure::kWouldWait);
  WalkScratch& scratch = ScratchOfThread();
  const BlockGraph* part = query.block == kNoBlock ? nullptr : &blocks_->block(query.block);
  const SearchedGraph searched = part == nullptr ? SearchedGraph{graph_.get(), nullptr, view_.row_count} : SearchedGraph{part->graph.get(), part->rows, view_.row_count};
  if (!FindSorted(view_, *codes_, searched, query, *this, &scratch)) {
    if (!Stopped()) Fail(query.by_rows ? Failure::kUnreadable : Failure::kCodesUnreadable);
    return;
  }
  evaluations_[block] = static_cast<uint32_t>(std::min<uint64_t>(scratch.evaluations, ~uint32_t{0}));
  const ExactRanker ranker(view_, query.query);
  Candidates candidates;
  const auto may_read = [this](const uint8_t* row) {
    if (may_wait() || view_.Resident(row, view_.spec.StrideBytes())) return true;
    Fail(Failure::kWouldWait);
    return false;
  };
  if (!Rescore(view_, query, ranker, scratch.found, may_read, &candidates, &rescored_[block])) return Fail(Failure::kUnreadable);
  if (!ranker.Rank(&candidates, *this, &hits_[block])) Fail(Failure::kUnreadable);
}

size_t GraphSearchJob::Advance() {
  const MappedFile* codes = codes_->bytes().file.get();
  if (Stopped()) return 0;
  if (view_.file != nullptr && !view_.file->Intact()) Fail(Failure::kUnreadable);
  else if (codes != nullptr && !codes->Intact()) Fail(Failure::kCodesUnreadable);
  return 0;
}

uint32_t CountSampleHits(const RowsView& view, const WalkCodes& codes, const SearchedGraph& searched, uint32_t at, uint32_t k, size_t ef,
                         const Job& job, WalkScratch* scratch) {
  const size_t stride = view.spec.StrideBytes();
  const auto row_of = [&searched](uint32_t node) { return searched.rows == nullptr ? node : searched.rows[node]; };
  std::vector<uint8_t> bytes(stride);
  const auto read = [&] { memcpy(bytes.data(), view.Row(row_of(at)), stride); };
  if (view.file == nullptr) read();
  else if (!ReadGuarded(read)) return 0;
  std::vector<float> values(view.spec.dims);
  for (size_t i = 0; i < values.size(); ++i) values[i] = ComponentOf(view.spec.datatype, bytes.data(), i);
  GraphQuery query = {{PadQuery(values.data(), values.size()), k, nullptr}, ef, ef, Filtering::kPlain, false};
  if (!FindSorted(view, codes, searched, query, job, scratch)) return 0;
  std::vector<uint32_t> found;
  for (const Near& near : scratch->found) found.push_back(near.node);

  // Of all nodes the k nearest, by the rows themselves. Equal ones count as found.
  RowScorer scorer = {view, query.query.vector.data()};
  std::vector<float> nearest;
  std::vector<uint32_t> rows;
  std::vector<float> distances(ExactRanker::kRowsAtOnce);
  std::vector<float> of_found(found.size());
  if (!scorer(found.data(), found.size(), of_found.data())) return 0;
  const uint32_t nodes = searched.graph->rows();
  for (uint32_t from = 0; from < nodes && !job.Stopped(); from += ExactRanker::kRowsAtOnce) {
    rows.clear();
    for (uint32_t node = from; node < std::min<uint64_t>(nodes, uint64_t{from} + ExactRanker::kRowsAtOnce); ++node) rows.push_back(row_of(node));
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
  if (nearest.empty()) return 0;  // the job was stopped
  const float worst = nearest.front();
  const auto hits = static_cast<uint32_t>(std::count_if(of_found.begin(), of_found.end(), [worst](float distance) { return distance <= worst; }));
  return std::min<uint32_t>(hits, static_cast<uint32_t>(nearest.size()));
}

}  // namespace nearkeep
