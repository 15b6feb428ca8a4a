#include "codes.h"

#include <math.h>

#include <algorithm>

namespace nearkeep {
namespace {

constexpr size_t kHeaderBytes = 64;
constexpr uint32_t kProduct = 1, kWhole = 2;
constexpr uint32_t kSampleRows = 2048;
// The share of a sample's values that L1 codes hold without clamping.
constexpr double kHeldShare = 0.9995;
// Squared lengths within this factor of one another count as equal: then dot products rank as distances do.
constexpr float kEqualNorms = 1.004f;
constexpr float kValueMax = 1e15f;
constexpr float kCodeMax = 127;
constexpr uint32_t kWholeOffset = 128;

constexpr size_t RoundUp(size_t value, size_t step) { return (value + step - 1) / step * step; }

size_t OffsetBytes(uint32_t dims) { return RoundUp(size_t{dims} * 4, 64); }

struct Header {
  uint32_t rows, dims, stride, form, flags;
  float step;
  uint8_t zeros[40];
};
static_assert(sizeof(Header) == kHeaderBytes);

// False where a value is no number or too large.
bool DecodeRow(const RowSpec& spec, const uint8_t* bytes, float* values) {
  bool fits = true;
  float length_squared = 0;
  for (size_t i = 0; i < spec.dims; ++i) {
    const float value = ComponentOf(spec.datatype, bytes, i);
    length_squared += value * value;
    values[i] = value;
    fits &= fabsf(value) <= kValueMax;  // false for NaN
  }
  if (spec.divides_by_length && length_squared > 0) {
    const float length = sqrtf(length_squared);
    for (size_t i = 0; i < spec.dims; ++i) values[i] /= length;
  }
  return fits;
}

float LargestOf(const float* values, size_t count) {
  float largest = 0;
  for (size_t i = 0; i < count; ++i) largest = std::max(largest, fabsf(values[i]));
  return largest;
}

// Codes of values / scale; returns the sum of their squares.
int64_t Round(const float* values, size_t count, float scale, int8_t* codes) {
  const float inverse = scale > 0 ? 1 / scale : 0;
  int64_t squares = 0;
  for (size_t i = 0; i < count; ++i) {
    const float scaled = std::max(-kCodeMax - 1, std::min(kCodeMax, rintf(values[i] * inverse)));
    codes[i] = static_cast<int8_t>(scaled);
    squares += int32_t{codes[i]} * codes[i];
  }
  return squares;
}

}  // namespace

size_t CodeTable::StrideBytes(uint32_t dims) { return RoundUp(size_t{dims} + 12, dims >= 512 ? 64 : 16); }

uint64_t CodeTable::ImageBytes(uint32_t rows, uint32_t dims) { return kHeaderBytes + OffsetBytes(dims) + uint64_t{rows} * StrideBytes(dims); }

CodeTable::CodeTable(const RowSpec& spec, const CodeKernels& kernels, uint32_t rows, std::shared_ptr<Image> image)
    : spec_(spec), kernels_(&kernels), rows_(rows), image_(std::move(image)), stride_(StrideBytes(spec.dims)) {
  prefetch_bytes_ = std::min<size_t>(stride_, 1024);
  records_ = image_->data() + kHeaderBytes + OffsetBytes(spec.dims);
}

CodeTable::CodeTable(const RowSpec& spec, const CodeKernels& kernels, uint32_t rows)
    : CodeTable(spec, kernels, rows, std::make_shared<Image>(ImageBytes(rows, spec.dims))) {}

void CodeTable::ReadHeader() {
  Header header;
  memcpy(&header, image_->data(), sizeof header);
  form_ = static_cast<CodeForm>(header.form);
  product_ = (header.flags & kProduct) != 0;
  whole_ = (header.flags & kWhole) != 0;
  step_ = header.step;
}

std::shared_ptr<const CodeTable> CodeTable::Open(const RowSpec& spec, const CodeKernels& kernels, uint32_t rows, std::shared_ptr<Image> image,
                                                 const char** problem) {
  *problem = nullptr;
  if (image->size_bytes() != ImageBytes(rows, spec.dims)) return *problem = "has another size than its rows need", nullptr;
  Header header;
  memcpy(&header, image->data(), sizeof header);
  const auto wanted = spec.metric == Metric::kL1 ? CodeForm::kL1 : CodeForm::kL2;
  if (header.rows != rows || header.dims != spec.dims || header.stride != StrideBytes(spec.dims)) return *problem = "is of other rows", nullptr;
  if (header.form != static_cast<uint32_t>(wanted) || (header.flags & ~(kProduct | kWhole)) != 0) return *problem = "is of another distance", nullptr;
  if (((header.flags & kProduct) != 0 && spec.metric != Metric::kDot) || !(header.step >= 0) || !isfinite(header.step)) return *problem = "has a header that cannot be", nullptr;
  std::shared_ptr<CodeTable> table(new CodeTable(spec, kernels, rows, std::move(image)));
  table->ReadHeader();
  for (uint32_t i = 0; i < spec.dims; ++i) {
    if (!isfinite(table->Offsets()[i])) return *problem = "has an offset that is no number", nullptr;
  }
  for (uint32_t row = 0; row < rows; ++row) {
    const float* facts = table->Facts(row);
    if (!isfinite(facts[0]) || !isfinite(facts[1]) || !isfinite(facts[2])) return *problem = "has a record that is no number", nullptr;
  }
  return table;
}

CodedPoint CodeTable::Point(uint32_t row) const {
  const float* facts = Facts(row);
  return {reinterpret_cast<const int8_t*>(Record(row)), facts[0], facts[1], facts[2]};
}

CodedQuery CodeTable::Query(const float* query) const {
  CodedQuery coded;
  std::vector<float> values(query, query + spec_.dims);
  coded.product = product_;
  coded.codes.resize(spec_.dims);
  if (!product_) {
    for (size_t i = 0; i < values.size(); ++i) values[i] -= Offsets()[i];
  }
  const float largest = LargestOf(values.data(), values.size());
  const float scale = form_ == CodeForm::kL1 ? step_ : whole_ && largest <= kCodeMax ? 1 : largest / kCodeMax;
  const int64_t squares = Round(values.data(), values.size(), isfinite(scale) ? scale : 0, coded.codes.data());
  coded.point = {coded.codes.data(), scale, scale * scale * static_cast<float>(squares), 0};
  return coded;
}

void CodeTable::Distances(const CodedPoint& from, bool product, const uint32_t* ids, size_t count, float* distances) const {
  constexpr size_t kRun = 64;
  const uint8_t* records[kRun];
  int32_t sums[kRun];
  for (size_t start = 0; start < count; start += kRun) {
    const size_t length = std::min(kRun, count - start);
    for (size_t i = 0; i < length; ++i) records[i] = Record(ids[start + i]);
    if (form_ == CodeForm::kL1) {
      kernels_->l1(from.codes, records, length, spec_.dims, sums);
      for (size_t i = 0; i < length; ++i) distances[start + i] = static_cast<float>(sums[i]);
      continue;
    }
    kernels_->dot(from.codes, records, length, spec_.dims, sums);
    for (size_t i = 0; i < length; ++i) {
      const auto* facts = reinterpret_cast<const float*>(records[i] + stride_ - 12);
      const float dot = from.scale * facts[0] * static_cast<float>(sums[i]);
      const float lift = from.lift - facts[2];
      distances[start + i] = product ? -dot : from.norm + facts[1] - 2 * dot + lift * lift;
    }
  }
}

bool CodeWriter::ReadRow(const RowsView& view, uint32_t row, std::vector<uint8_t>* bytes, std::vector<float>* values) const {
  const size_t stride = view.spec.StrideBytes();
  bytes->resize(stride);
  values->resize(view.spec.dims);
  const uint8_t* from = view.Row(row);
  uint8_t* to = bytes->data();
  if (view.file == nullptr) memcpy(to, from, stride);
  else if (!ReadGuarded([&] { memcpy(to, from, stride); })) return false;
  return true;
}

bool CodeWriter::Prepare(const RowsView& view) {
  CodeTable& table = *table_;
  const RowSpec& spec = table.spec_;
  const uint32_t samples = std::min(table.rows_, kSampleRows);
  std::vector<double> means(spec.dims);
  std::vector<float> all, values;
  std::vector<uint8_t> bytes;
  const bool is_l1 = spec.metric == Metric::kL1;
  const bool whole = spec.datatype == Datatype::kUint8 && !spec.divides_by_length;
  for (uint32_t at = 0; at < samples && !whole; ++at) {
    const auto row = static_cast<uint32_t>(uint64_t{at} * table.rows_ / samples);
    if (!ReadRow(view, row, &bytes, &values)) return false;
    if (!DecodeRow(spec, bytes.data(), values.data())) return unfit_ = true;
    for (size_t i = 0; i < spec.dims; ++i) means[i] += values[i];
    if (is_l1) all.insert(all.end(), values.begin(), values.end());
  }
  for (size_t i = 0; i < spec.dims; ++i) table.Offsets()[i] = whole ? kWholeOffset : samples == 0 ? 0 : static_cast<float>(means[i] / samples);
  table.form_ = is_l1 ? CodeForm::kL1 : CodeForm::kL2;
  table.whole_ = whole;
  if (is_l1 && !all.empty()) {
    for (size_t i = 0; i < all.size(); ++i) all[i] = fabsf(all[i] - table.Offsets()[i % spec.dims]);
    const auto held = all.begin() + static_cast<ptrdiff_t>(static_cast<double>(all.size() - 1) * kHeldShare);
    std::nth_element(all.begin(), held, all.end());
    table.step_ = *held / kCodeMax;
  }
  if (whole) table.step_ = 1;
  return true;
}

bool CodeWriter::Encode(const RowsView& view, uint32_t from, uint32_t to) {
  std::vector<uint8_t> bytes;
  std::vector<float> values;
  for (uint32_t row = from; row < to && !unfit(); ++row) {
    if (!ReadRow(view, row, &bytes, &values)) return false;
    if (DecodeRow(table_->spec_, bytes.data(), values.data())) EncodeRow(row, values.data());
    else unfit_ = true;
  }
  return true;
}

void CodeWriter::EncodeRow(uint32_t row, const float* values) {
  CodeTable& table = *table_;
  const size_t dims = table.spec_.dims;
  std::vector<float> centred(values, values + dims);
  double squares = 0;
  for (size_t i = 0; i < dims; ++i) {
    squares += static_cast<double>(values[i]) * values[i];
    centred[i] -= table.Offsets()[i];
  }
  const float scale = table.form_ == CodeForm::kL1 ? table.step_ : table.whole_ ? 1 : LargestOf(centred.data(), dims) / kCodeMax;
  const int64_t coded = Round(centred.data(), dims, scale, reinterpret_cast<int8_t*>(table.records_ + size_t{row} * table.stride_));
  float* facts = table.Facts(row);
  facts[0] = scale;
  facts[1] = scale * scale * static_cast<float>(coded);
  facts[2] = static_cast<float>(squares);  // until Finish
}

void CodeWriter::Finish() {
  CodeTable& table = *table_;
  float shortest = INFINITY, longest = 0;
  for (uint32_t row = 0; row < table.rows_; ++row) {
    shortest = std::min(shortest, table.Facts(row)[2]);
    longest = std::max(longest, table.Facts(row)[2]);
  }
  table.product_ = table.spec_.metric == Metric::kDot && longest > shortest * kEqualNorms;
  for (uint32_t row = 0; row < table.rows_; ++row) {
    float* facts = table.Facts(row);
    facts[2] = table.product_ ? sqrtf(std::max(0.0f, longest - facts[2])) : 0;
  }
  const Header header = {table.rows_, table.spec_.dims, static_cast<uint32_t>(table.stride_), static_cast<uint32_t>(table.form_),
                         (table.product_ ? kProduct : 0) | (table.whole_ ? kWhole : 0), table.step_, {}};
  memcpy(table.image_->data(), &header, sizeof header);
}

}  // namespace nearkeep
