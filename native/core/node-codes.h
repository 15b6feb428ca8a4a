// The codes of a graph's nodes: node n is row n, or the row that a list names.
#pragma once
#include "codes.h"

namespace nearkeep {

// Translates a run of nodes where there is a list, in pieces: visit(rows, count, offset).
template <class Visit>
bool ForRowsOf(const uint32_t* rows, const uint32_t* nodes, size_t count, Visit visit) {
  if (rows == nullptr) return visit(nodes, count, 0);
  constexpr size_t kPiece = 256;
  uint32_t piece[kPiece];
  for (size_t from = 0; from < count; from += kPiece) {
    const size_t length = count - from < kPiece ? count - from : kPiece;
    for (size_t i = 0; i < length; ++i) piece[i] = rows[nodes[from + i]];
    if (!visit(piece, length, from)) return false;
  }
  return true;
}

class NodeCodes {
 public:
  // Both outlive it. `rows` null: row = node.
  NodeCodes(const CodeTable& codes, const uint32_t* rows) : codes_(&codes), rows_(rows) {}

  CodedPoint Point(uint32_t node) const { return codes_->Point(Row(node)); }
  void Prefetch(uint32_t node) const { codes_->Prefetch(Row(node)); }
  // Between rows, not as of a query.
  void Distances(const CodedPoint& from, const uint32_t* nodes, size_t count, float* distances) const {
    ForRowsOf(rows_, nodes, count, [&](const uint32_t* rows, size_t length, size_t offset) {
      codes_->Distances(from, false, rows, length, distances + offset);
      return true;
    });
  }

 private:
  uint32_t Row(uint32_t node) const { return rows_ == nullptr ? node : rows_[node]; }

  const CodeTable* codes_;
  const uint32_t* rows_;
};

}  // namespace nearkeep
