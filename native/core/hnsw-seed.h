// Links that a graph takes over from an older one over some of its rows: what a merge would otherwise find anew. The largest part of a
// merged segment keeps its neighbourhoods; only what is gone from it leaves holes, and only the rest is inserted.
//
// The older graph is only read: searches may go on in it.
#pragma once
#include <memory>
#include <vector>

#include "hnsw-graph.h"

namespace nearkeep {

struct GraphSeed {
  std::shared_ptr<const HnswGraph> graph;  // null: none
  std::vector<uint32_t> live;              // a bit for each of its nodes that is a node here, too
  uint32_t first = 0;                      // what the first of these is here; the others follow in their order
};

class SeedNodes {
 public:
  static constexpr uint32_t kGone = ~uint32_t{0};

  SeedNodes() = default;
  explicit SeedNodes(const GraphSeed& seed);

  // Of nodes of the older graph.
  uint32_t NodeOf(uint32_t old) const { return nodes_[old]; }
  uint32_t count() const { return count_; }

  // Those of the older graph for its nodes, drawn ones for the others.
  std::vector<uint8_t> Levels(const GraphSeed& seed, uint32_t nodes, uint32_t m) const;
  // One of the highest level that has come over; the older one's own where it has. To be asked where there is any.
  uint32_t Entry(const GraphSeed& seed) const;

  struct Links {
    std::vector<uint32_t> kept;     // nodes here
    std::vector<uint32_t> beyond;   // those that the gone ones were linked to
    bool holed = false;             // so many are gone that the list should be chosen anew, from both
  };
  // Of a node that has come over, on one of its levels.
  void Take(const GraphSeed& seed, uint32_t old, uint32_t level, Links* links) const;

 private:
  std::vector<uint32_t> nodes_;  // by the older graph's node
  uint32_t count_ = 0;
};

}  // namespace nearkeep
