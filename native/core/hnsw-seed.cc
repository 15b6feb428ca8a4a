#include "hnsw-seed.h"

#include <algorithm>

#include "bitmap.h"

namespace nearkeep {
namespace {

// A list that lost more than this share of its links is chosen anew.
constexpr uint32_t kHoledOneIn = 4;

}  // namespace

SeedNodes::SeedNodes(const GraphSeed& seed) : nodes_(seed.graph->rows(), kGone) {
  ForEachSet(seed.live.data(), 0, seed.graph->rows(), [&](uint32_t old) { nodes_[old] = seed.first + count_++; });
}

std::vector<uint8_t> SeedNodes::Levels(const GraphSeed& seed, uint32_t nodes, uint32_t m) const {
  std::vector<uint8_t> levels(nodes);
  for (uint32_t node = 0; node < nodes; ++node) {
    if (node < seed.first || node - seed.first >= count_) levels[node] = HnswGraph::DrawLevel(node, m);
  }
  for (uint32_t old = 0; old < nodes_.size(); ++old) {
    if (nodes_[old] != kGone) levels[nodes_[old]] = static_cast<uint8_t>(seed.graph->Level(old));
  }
  return levels;
}

uint32_t SeedNodes::Entry(const GraphSeed& seed) const {
  uint32_t best = seed.graph->entry();
  for (uint32_t old = 0; old < nodes_.size(); ++old) {
    if (nodes_[old] != kGone && (nodes_[best] == kGone || seed.graph->Level(old) > seed.graph->Level(best))) best = old;
  }
  return nodes_[best];
}

void SeedNodes::Take(const GraphSeed& seed, uint32_t old, uint32_t level, Links* links) const {
  links->kept.clear();
  links->beyond.clear();
  const uint32_t self = nodes_[old];
  const uint32_t* list = seed.graph->List(old, level);
  const uint32_t count = HnswGraph::Count(list);
  for (uint32_t at = 0; at < count; ++at) {
    const uint32_t node = nodes_[HnswGraph::Link(list, at)];
    if (node != kGone) links->kept.push_back(node);
  }
  links->holed = (count - links->kept.size()) * kHoledOneIn > count;
  if (!links->holed) return;
  for (uint32_t at = 0; at < count; ++at) {
    const uint32_t gone = HnswGraph::Link(list, at);
    if (nodes_[gone] != kGone) continue;
    const uint32_t* beyond = seed.graph->List(gone, level);
    for (uint32_t i = 0; i < HnswGraph::Count(beyond); ++i) {
      const uint32_t node = nodes_[HnswGraph::Link(beyond, i)];
      if (node != kGone && node != self) links->beyond.push_back(node);
    }
  }
  std::sort(links->beyond.begin(), links->beyond.end());
  links->beyond.erase(std::unique(links->beyond.begin(), links->beyond.end()), links->beyond.end());
  links->beyond.erase(std::remove_if(links->beyond.begin(), links->beyond.end(), [&](uint32_t node) { return std::find(links->kept.begin(), links->kept.end(), node) != links->kept.end(); }), links->beyond.end());
}

}  // namespace nearkeep
