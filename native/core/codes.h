// int8 codes of stored rows. The internal ones, by which graphs are built, and by which they are walked unless others are asked for:
// each row has a scale of its own. And scalar codes, with one step for all rows.
//
// A component x of a row is read as offset + scale * code. The offset (one value per component: the mean of a sample; 128 for
// uint8) drops out of every difference of two rows, and adds the same to all products with one query: it costs nothing and leaves
// the codes more of their 255 steps.
//
// Image (header: code-image.h):
//    64  offsets: dims x f32, zero-padded to a multiple of 64 bytes
//        rows x stride:  codes: dims x i8 | zeros | f32 scale | f32 norm | f32 lift
// stride: dims + 12, rounded up to 64 from 512 dims on, else to 16. A record keeps its scale beside it, so one evaluation reads
// one run of memory.
//
// form L2: distance(a, b) = norm_a + norm_b - 2 scale_a scale_b codes_a.codes_b + (lift_a - lift_b)^2, norm = |scale * codes|^2
// form L1: distance(a, b) = sum |codes_a - codes_b|; all records share `step`
// flag product: rows are sought by their dot product with a query, distance(query, row) = -scale scale codes.codes. Between rows
//   L2 stands, over rows lifted to one length: lift = sqrt(longest^2 - |x|^2), so that products and distances rank alike and no
//   long row crowds the others out of all lists.
// flag whole: codes are x - offset as they are (uint8), scale 1.
// flag scalar: the scale of all records is `step`; what lies beyond 127 steps is clamped.
#pragma once
#include <atomic>
#include <vector>

#include "code-kernels.h"
#include "row-reader.h"
#include "walk-codes.h"

namespace nearkeep {

// One side of a comparison: a record, or a query.
struct CodedPoint {
  const int8_t* codes;
  float scale, norm, lift;
};

struct CodedQuery {
  std::vector<int8_t> codes;
  CodedPoint point;
};

class CodeTable : public WalkCodes {
 public:
  CodeTable(const RowSpec& spec, const CodeKernels& kernels, CodeBytes bytes);
  // Empty records, for a CodeWriter. `quantile`: the share of a sample's values that is held without clamping; 0: internal codes.
  static std::shared_ptr<CodeTable> New(const RowsView& view, float quantile);

  std::unique_ptr<CodeQuery> Query(const float* query, QueryBits bits) const override;
  CodedPoint Point(uint32_t row) const;
  CodedQuery Encode(const float* query) const;
  // distances[i] between `from` and the row ids[i]; smaller is nearer. `product`: as of a query where rows are sought by products.
  void Distances(const CodedPoint& from, bool product, const uint32_t* ids, size_t count, float* distances) const;

 private:
  friend class CodeWriter;

  const CodeKernels* kernels_;
  const bool is_l1_;
};

// Fills a table, in this order: Prepare, Encode for every run of rows (from any thread), Finish.
class CodeWriter {
 public:
  CodeWriter(CodeTable* table, float quantile) : table_(table), quantile_(quantile) {}
  // Both answer false where a page of a mapped file cannot be read.
  bool Prepare(const RowsView& view);
  bool Encode(const RowsView& view, uint32_t from, uint32_t to);
  void Finish();
  // A value is no number, or too large for sums of squares: there can be no codes.
  bool unfit() const { return unfit_.load(std::memory_order_relaxed); }

 private:
  void EncodeRow(uint32_t row, const std::vector<float>& values, std::vector<float>* centred);
  float* Facts(uint32_t row) const;

  CodeTable* const table_;
  const float quantile_;
  std::atomic<bool> unfit_{false};
};

// Rows of one block of encoding: a few milliseconds at most.
constexpr uint32_t kEncodeRows = 512;

std::unique_ptr<CodesMaker> NewScalarMaker(const RowsView& view, float quantile);

}  // namespace nearkeep
