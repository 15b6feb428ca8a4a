// int8 codes of stored rows, by which graphs are built and walked. What is returned is always scored from the rows themselves.
//
// A component x of a row is read as offset + scale * code. The offset (one value per component: the mean of a sample; 128 for
// uint8) drops out of every difference of two rows, and adds the same to all products with one query: it costs nothing and leaves
// the codes more of their 255 steps.
//
// Image, little-endian, which is also the data of a `code` file:
//     0  u32 rows, u32 dims, u32 stride, u32 form (1 squared L2, 2 L1), u32 flags (1 product, 2 whole), f32 step; 40 bytes zero
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
#pragma once
#include <atomic>
#include <vector>

#include "code-kernels.h"
#include "image.h"
#include "rows.h"

namespace nearkeep {

enum class CodeForm : uint32_t { kL2 = 1, kL1 = 2 };

// One side of a comparison: a record, or a query.
struct CodedPoint {
  const int8_t* codes;
  float scale, norm, lift;
};

struct CodedQuery {
  std::vector<int8_t> codes;
  CodedPoint point;
  bool product;
};

class CodeTable {
 public:
  static size_t StrideBytes(uint32_t dims);
  static uint64_t ImageBytes(uint32_t rows, uint32_t dims);
  // Empty records, for a CodeWriter.
  CodeTable(const RowSpec& spec, const CodeKernels& kernels, uint32_t rows);
  // Takes an image read from a file. Null, with *problem, where it does not fit `spec` and `rows` or its header is not ours.
  static std::shared_ptr<const CodeTable> Open(const RowSpec& spec, const CodeKernels& kernels, uint32_t rows, std::shared_ptr<Image> image,
                                               const char** problem);

  uint32_t rows() const { return rows_; }
  const RowSpec& spec() const { return spec_; }
  CodeForm form() const { return form_; }
  bool product() const { return product_; }
  const std::shared_ptr<Image>& image() const { return image_; }
  const uint8_t* Record(uint32_t row) const { return records_ + size_t{row} * stride_; }
  CodedPoint Point(uint32_t row) const;
  CodedQuery Query(const float* query) const;
  // distances[i] between `from` and the row ids[i]; smaller is nearer. `product`: as of a query with it.
  void Distances(const CodedPoint& from, bool product, const uint32_t* ids, size_t count, float* distances) const;
  // Asks for the cache lines of a record.
  void Prefetch(uint32_t row) const {
    const uint8_t* record = Record(row);
    for (size_t at = 0; at < prefetch_bytes_; at += 64) __builtin_prefetch(record + at);
  }

 private:
  friend class CodeWriter;
  CodeTable(const RowSpec& spec, const CodeKernels& kernels, uint32_t rows, std::shared_ptr<Image> image);
  void ReadHeader();
  float* Offsets() const { return reinterpret_cast<float*>(image_->data() + 64); }
  float* Facts(uint32_t row) const { return reinterpret_cast<float*>(records_ + size_t{row} * stride_ + stride_ - 12); }

  RowSpec spec_;
  const CodeKernels* kernels_;
  uint32_t rows_;
  std::shared_ptr<Image> image_;
  size_t stride_;
  size_t prefetch_bytes_;
  uint8_t* records_;
  CodeForm form_ = CodeForm::kL2;
  bool product_ = false;
  bool whole_ = false;
  float step_ = 0;
};

// Fills a table, in this order: Prepare, Encode for every run of rows (from any thread), Finish.
class CodeWriter {
 public:
  explicit CodeWriter(CodeTable* table) : table_(table) {}
  // All three answer false where a page of a mapped file cannot be read.
  bool Prepare(const RowsView& view);
  bool Encode(const RowsView& view, uint32_t from, uint32_t to);
  void Finish();
  // A value is no number, or too large for sums of squares: there can be no codes.
  bool unfit() const { return unfit_.load(std::memory_order_relaxed); }

 private:
  bool ReadRow(const RowsView& view, uint32_t row, std::vector<uint8_t>* bytes, std::vector<float>* values) const;
  void EncodeRow(uint32_t row, const float* values);

  CodeTable* const table_;
  std::atomic<bool> unfit_{false};
};

}  // namespace nearkeep
