// The links of a graph over the rows of one code table; row = node.
//
// Image, little-endian, which is also the data of a `graph` file:
//     0  u32 rows, u32 m, u32 m0, u32 entry, u32 top level, u32 upper lists; 40 bytes zero
//    64  level 0: rows x (u32 count, m0 x u32 node)
//        levels: rows x u8, zero-padded to a multiple of 4
//        upper lists: (u32 count, m x u32 node), those of a node from level 1 up, in order of nodes
// Links behind a count are zero or old; they are valid nodes, so a reader that races a writer during the build never leaves the
// image.
//
// While a graph is built its lists are read without a lock and written under the node's lock: counts with acquire and release,
// links relaxed. Afterwards nothing changes.
#pragma once
#include <vector>

#include "image.h"

namespace nearkeep {

constexpr uint32_t kLinksMax = 1024;
constexpr uint32_t kLevelMax = 24;

class HnswGraph {
 public:
  // Without links. Levels are drawn from a hash of the node, so the same rows get the same levels. 2 <= m <= kLinksMax / 2.
  HnswGraph(uint32_t rows, uint32_t m);
  // The same with levels that are given, one for each node.
  HnswGraph(uint32_t m, const std::vector<uint8_t>& levels);
  static uint8_t DrawLevel(uint32_t node, uint32_t m);
  // Takes an image read from a file, or a part of one; call Check for every run of nodes, and only then search. Null, with *problem, where sizes or
  // header do not fit.
  static std::shared_ptr<HnswGraph> Open(uint32_t rows, std::shared_ptr<Image> image, const char** problem);
  // Whether the lists of nodes [from, to) stay within their bounds and point at nodes that have that level.
  bool Check(uint32_t from, uint32_t to) const;

  uint32_t rows() const { return rows_; }
  uint32_t m() const { return m_; }
  uint32_t entry() const { return entry_; }
  uint32_t top_level() const { return top_level_; }
  uint32_t Level(uint32_t node) const { return levels_[node]; }
  uint32_t Capacity(uint32_t level) const { return level == 0 ? m0_ : m_; }
  const std::shared_ptr<Image>& image() const { return image_; }

  // The list of a node whose level is at least `level`.
  uint32_t* List(uint32_t node, uint32_t level) const {
    if (level == 0) return base_ + size_t{node} * (m0_ + 1);
    return upper_ + (size_t{first_upper_[node]} + level - 1) * (m_ + 1);
  }
  static uint32_t Count(const uint32_t* list) { return __atomic_load_n(list, __ATOMIC_ACQUIRE); }
  static uint32_t Link(const uint32_t* list, uint32_t at) { return __atomic_load_n(list + 1 + at, __ATOMIC_RELAXED); }
  // Under the node's lock, or alone.
  static void Write(uint32_t* list, const uint32_t* nodes, uint32_t count) {
    for (uint32_t at = 0; at < count; ++at) __atomic_store_n(list + 1 + at, nodes[at], __ATOMIC_RELAXED);
    __atomic_store_n(list, count, __ATOMIC_RELEASE);
  }
  static void Append(uint32_t* list, uint32_t node) {
    const uint32_t count = __atomic_load_n(list, __ATOMIC_RELAXED);
    __atomic_store_n(list + 1 + count, node, __ATOMIC_RELAXED);
    __atomic_store_n(list, count + 1, __ATOMIC_RELEASE);
  }
  // Into the header.
  void SetEntry(uint32_t entry, uint32_t top_level);

 private:
  HnswGraph(uint32_t rows, uint32_t m, std::shared_ptr<Image> image) : rows_(rows), m_(m), m0_(2 * m), image_(std::move(image)) {}
  static uint64_t UpperOffset(uint32_t rows, uint32_t m) { return 64 + uint64_t{rows} * (2 * m + 1) * 4 + (uint64_t{rows} + 3) / 4 * 4; }
  void Lay();

  uint32_t rows_, m_, m0_;
  uint32_t entry_ = 0, top_level_ = 0;
  std::shared_ptr<Image> image_;
  uint32_t* base_ = nullptr;
  uint8_t* levels_ = nullptr;
  uint32_t* upper_ = nullptr;
  std::vector<uint32_t> first_upper_;  // by node: lists of all nodes before it
};

}  // namespace nearkeep
