// Walks over a graph, for building and searching it.
//
// A Scorer is called as scorer(nodes, count, distances) and answers false where it must give up; scorer.Prefetch(node) is a hint.
#pragma once
#include <algorithm>
#include <vector>

#include "hnsw-graph.h"

namespace nearkeep {

struct Near {
  float distance;
  uint32_t node;
};
inline bool operator<(const Near& a, const Near& b) { return a.distance != b.distance ? a.distance < b.distance : a.node < b.node; }
inline bool operator>(const Near& a, const Near& b) { return b < a; }

// Which nodes a walk has seen. Not cleared between walks: a node counts as seen where it bears the number of the walk.
class Visited {
 public:
  void Begin(uint32_t nodes) {
    if (marks_.size() < nodes) marks_.resize(nodes);
    if (++walk_ == 0) {
      std::fill(marks_.begin(), marks_.end(), 0);
      walk_ = 1;
    }
  }
  // Whether it is new.
  bool Add(uint32_t node) {
    if (marks_[node] == walk_) return false;
    marks_[node] = walk_;
    return true;
  }
  bool Has(uint32_t node) const { return marks_[node] == walk_; }
  void PrefetchMark(uint32_t node) const { __builtin_prefetch(&marks_[node]); }

 private:
  std::vector<uint32_t> marks_;
  uint32_t walk_ = 0;
};

inline bool IsSet(const uint32_t* bits, uint32_t node) { return (bits[node / 32] >> (node & 31) & 1) != 0; }

// Memory that a thread keeps from walk to walk.
struct WalkScratch {
  Visited visited;
  std::vector<Near> open;     // heap, nearest first
  std::vector<Near> found;    // heap, farthest first
  std::vector<uint32_t> next;
  std::vector<float> distances;
  uint64_t evaluations = 0;
};

// From `start` to the nearest node that a step on levels (down_to, from_level] leads to.
template <class Scorer>
bool Descend(const HnswGraph& graph, Scorer& scorer, Near* start, uint32_t from_level, uint32_t down_to, WalkScratch* scratch) {
  for (uint32_t level = from_level; level > down_to; --level) {
    for (bool moved = true; moved;) {
      moved = false;
      const uint32_t* list = graph.List(start->node, level);
      const uint32_t count = HnswGraph::Count(list);
      scratch->next.clear();
      for (uint32_t at = 0; at < count; ++at) {
        scratch->next.push_back(HnswGraph::Link(list, at));
        scorer.Prefetch(scratch->next.back());
      }
      scratch->distances.resize(count);
      if (!scorer(scratch->next.data(), count, scratch->distances.data())) return false;
      scratch->evaluations += count;
      for (uint32_t at = 0; at < count; ++at) {
        const Near near = {scratch->distances[at], scratch->next[at]};
        if (!(near < *start)) continue;
        *start = near;
        moved = true;
      }
    }
  }
  return true;
}

// How a walk treats nodes outside the bitmap: kPlain has none; kPredicate passes through them; kTwoHop looks past them to their own
// neighbours and scores only nodes inside. kNoWalk: all nodes inside are scored, in order.
enum class Filtering : uint8_t { kPlain, kPredicate, kTwoHop, kNoWalk };

// The unseen nodes to score beside `node`, into scratch->next.
template <Filtering filtering>
void GatherNext(const HnswGraph& graph, uint32_t node, uint32_t level, const uint32_t* allowed, WalkScratch* scratch) {
  scratch->next.clear();
  const uint32_t* list = graph.List(node, level);
  const uint32_t count = HnswGraph::Count(list);
  for (uint32_t at = 0; at < count; ++at) scratch->visited.PrefetchMark(HnswGraph::Link(list, at));
  const size_t most = graph.Capacity(level);
  for (uint32_t at = 0; at < count; ++at) {
    const uint32_t neighbour = HnswGraph::Link(list, at);
    if constexpr (filtering != Filtering::kTwoHop) {
      if (scratch->visited.Add(neighbour)) scratch->next.push_back(neighbour);
    } else {
      if (!scratch->visited.Add(neighbour)) continue;
      if (IsSet(allowed, neighbour)) {
        scratch->next.push_back(neighbour);
        continue;
      }
      const uint32_t* beyond = graph.List(neighbour, level);
      const uint32_t beyond_count = HnswGraph::Count(beyond);
      for (uint32_t i = 0; i < beyond_count && scratch->next.size() < most; ++i) {
        const uint32_t second = HnswGraph::Link(beyond, i);
        if (IsSet(allowed, second) && scratch->visited.Add(second)) scratch->next.push_back(second);
      }
    }
  }
}

// The `ef` nearest nodes that a walk from `starts` finds on a level, into scratch->found (a heap, farthest first). `stopped` is asked
// now and then. False where the scorer or `stopped` gave up.
template <Filtering filtering, class Scorer, class Stopped>
bool Walk(const HnswGraph& graph, Scorer& scorer, uint32_t level, const std::vector<Near>& starts, size_t ef, const uint32_t* allowed,
          const Stopped& stopped, WalkScratch* scratch) {
  std::vector<Near>& open = scratch->open;
  std::vector<Near>& found = scratch->found;
  open.clear();
  found.clear();
  scratch->visited.Begin(graph.rows());
  for (const Near& start : starts) {
    if (!scratch->visited.Add(start.node)) continue;
    open.push_back(start);
    if (filtering == Filtering::kPlain || IsSet(allowed, start.node)) found.push_back(start);
  }
  std::make_heap(open.begin(), open.end(), std::greater<Near>());
  std::make_heap(found.begin(), found.end());
  uint64_t asked = scratch->evaluations;
  while (!open.empty()) {
    const Near nearest = open.front();
    if (found.size() >= ef && found.front() < nearest) break;
    std::pop_heap(open.begin(), open.end(), std::greater<Near>());
    open.pop_back();
    GatherNext<filtering>(graph, nearest.node, level, allowed, scratch);
    const size_t count = scratch->next.size();
    for (size_t at = 0; at < count; ++at) scorer.Prefetch(scratch->next[at]);
    scratch->distances.resize(std::max(count, scratch->distances.size()));
    if (!scorer(scratch->next.data(), count, scratch->distances.data())) return false;
    scratch->evaluations += count;
    for (size_t at = 0; at < count; ++at) {
      const Near near = {scratch->distances[at], scratch->next[at]};
      if (found.size() >= ef && !(near < found.front())) continue;
      open.push_back(near);
      std::push_heap(open.begin(), open.end(), std::greater<Near>());
      if (filtering == Filtering::kPredicate && !IsSet(allowed, near.node)) continue;
      found.push_back(near);
      std::push_heap(found.begin(), found.end());
      if (found.size() > ef) {
        std::pop_heap(found.begin(), found.end());
        found.pop_back();
      }
    }
    if (scratch->evaluations - asked >= 1024) {
      asked = scratch->evaluations;
      if (stopped()) return false;
    }
  }
  return true;
}

}  // namespace nearkeep
