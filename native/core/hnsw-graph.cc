#include "hnsw-graph.h"

#include <limits>

namespace nearkeep {
namespace {

struct Header {
  uint32_t rows, m, m0, entry, top_level, upper_lists;
  uint8_t zeros[40];
};
static_assert(sizeof(Header) == 64);

// splitmix64: neighbouring nodes get unrelated numbers.
uint64_t Hash(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

std::vector<uint8_t> DrawLevels(uint32_t rows, uint32_t m) {
  std::vector<uint8_t> levels(rows);
  for (uint32_t node = 0; node < rows; ++node) levels[node] = HnswGraph::DrawLevel(node, m);
  return levels;
}

}  // namespace

// One in m nodes has level 1 or more, one in m^2 level 2 or more. Integers only: the same on every machine.
uint8_t HnswGraph::DrawLevel(uint32_t node, uint32_t m) {
  uint64_t share = std::numeric_limits<uint64_t>::max() / m;
  const uint64_t drawn = Hash(node);
  uint8_t level = 0;
  while (level < kLevelMax && drawn < share) {
    ++level;
    share /= m;
  }
  return level;
}

HnswGraph::HnswGraph(uint32_t rows, uint32_t m) : HnswGraph(m, DrawLevels(rows, m)) {}

HnswGraph::HnswGraph(uint32_t m, const std::vector<uint8_t>& levels) : HnswGraph(static_cast<uint32_t>(levels.size()), m, nullptr) {
  const uint32_t rows = rows_;
  uint64_t upper_lists = 0;
  for (const uint8_t level : levels) upper_lists += level;
  image_ = std::make_shared<Image>(UpperOffset(rows, m) + upper_lists * (m + 1) * 4);
  const Header header = {rows, m, m0_, 0, 0, static_cast<uint32_t>(upper_lists), {}};
  memcpy(image_->data(), &header, sizeof header);
  if (rows > 0) memcpy(image_->data() + UpperOffset(rows, m) - (uint64_t{rows} + 3) / 4 * 4, levels.data(), rows);
  Lay();
}

// Places of the parts, from the levels.
void HnswGraph::Lay() {
  base_ = reinterpret_cast<uint32_t*>(image_->data() + 64);
  levels_ = image_->data() + 64 + size_t{rows_} * (m0_ + 1) * 4;
  upper_ = reinterpret_cast<uint32_t*>(image_->data() + UpperOffset(rows_, m_));
  first_upper_.resize(rows_);
  uint32_t lists = 0;
  for (uint32_t node = 0; node < rows_; ++node) {
    first_upper_[node] = lists;
    lists += levels_[node];
  }
}

std::shared_ptr<HnswGraph> HnswGraph::Open(uint32_t rows, std::shared_ptr<Image> image, const char** problem) {
  *problem = nullptr;
  if (image->size_bytes() < sizeof(Header)) return *problem = "is too short for a header", nullptr;
  Header header;
  memcpy(&header, image->data(), sizeof header);
  if (header.rows != rows) return *problem = "is of other rows", nullptr;
  if (header.m < 2 || header.m > kLinksMax / 2 || header.m0 != 2 * header.m) return *problem = "has lists of a size that cannot be", nullptr;
  const uint64_t upper_offset = UpperOffset(rows, header.m);
  if (image->size_bytes() != upper_offset + uint64_t{header.upper_lists} * (header.m + 1) * 4) return *problem = "has another size than its lists need", nullptr;
  std::shared_ptr<HnswGraph> graph(new HnswGraph(rows, header.m, std::move(image)));
  const uint8_t* levels = graph->image_->data() + 64 + size_t{rows} * (header.m0 + 1) * 4;
  uint64_t lists = 0;
  uint32_t top = 0;
  for (uint32_t node = 0; node < rows; ++node) {
    lists += levels[node];
    top = levels[node] > top ? levels[node] : top;
  }
  if (lists != header.upper_lists || top > kLevelMax) return *problem = "has levels that do not fit its lists", nullptr;
  if (rows > 0 && (header.entry >= rows || header.top_level != top || levels[header.entry] != top)) return *problem = "has an entry that cannot be", nullptr;
  graph->Lay();
  graph->entry_ = header.entry;
  graph->top_level_ = header.top_level;
  return graph;
}

bool HnswGraph::Check(uint32_t from, uint32_t to) const {
  for (uint32_t node = from; node < to; ++node) {
    for (uint32_t level = 0; level <= levels_[node]; ++level) {
      const uint32_t* list = List(node, level);
      if (list[0] > Capacity(level)) return false;
      for (uint32_t at = 0; at < list[0]; ++at) {
        if (list[1 + at] >= rows_ || levels_[list[1 + at]] < level) return false;
      }
    }
  }
  return true;
}

void HnswGraph::SetEntry(uint32_t entry, uint32_t top_level) {
  entry_ = entry;
  top_level_ = top_level;
  memcpy(image_->data() + 12, &entry, sizeof entry);
  memcpy(image_->data() + 16, &top_level, sizeof top_level);
}

}  // namespace nearkeep
