#include "codes.h"

#include <math.h>

#include <algorithm>

#include "cpu.h"

namespace nearkeep {
namespace {

constexpr uint32_t kSampleRows = 2048;
// The share of a sample's values that internal L1 codes hold without clamping.
constexpr double kHeldShare = 0.9995;
// Squared lengths within this factor of one another count as equal: then dot products rank as distances do.
constexpr float kEqualNorms = 1.004f;
constexpr float kCodeMax = 127;
constexpr float kWholeOffset = 128;

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

class TableQuery : public CodeQuery {
 public:
  TableQuery(const CodeTable& table, CodedQuery query) : table_(table), query_(std::move(query)) {}
  void Distances(const uint32_t* ids, size_t count, float* distances) const override {
    table_.Distances(query_.point, table_.product(), ids, count, distances);
  }

 private:
  const CodeTable& table_;
  const CodedQuery query_;
};

class ScalarMaker : public CodesMaker {
 public:
  ScalarMaker(const RowsView& view, float quantile) : view_(view), table_(CodeTable::New(view, quantile)), writer_(table_.get(), quantile) {}
  size_t Begin() override { return 1; }
  bool Run(size_t block) override {
    if (!prepared_) return writer_.Prepare(view_);
    const auto from = static_cast<uint32_t>(block * kEncodeRows);
    return writer_.Encode(view_, from, std::min(view_.row_count - from, kEncodeRows) + from);
  }
  size_t Advance() override {
    if (!prepared_) {
      prepared_ = true;
      const size_t blocks = (size_t{view_.row_count} + kEncodeRows - 1) / kEncodeRows;
      if (blocks > 0) return blocks;
    }
    writer_.Finish();
    return 0;
  }
  std::shared_ptr<const WalkCodes> codes() const override { return table_; }

 private:
  const RowsView& view_;
  const std::shared_ptr<CodeTable> table_;
  CodeWriter writer_;
  bool prepared_ = false;
};

}  // namespace

CodeTable::CodeTable(const RowSpec& spec, const CodeKernels& kernels, CodeBytes bytes)
    : WalkCodes(spec, std::move(bytes)), kernels_(&kernels), is_l1_(bytes_.header.form == CodeForm::kL1) {}

std::shared_ptr<CodeTable> CodeTable::New(const RowsView& view, float quantile) {
  const RowSpec& spec = view.spec;
  CodeHeader header = {};
  header.rows = view.row_count;
  header.dims = spec.dims;
  header.form = spec.metric == Metric::kL1 ? CodeForm::kL1 : CodeForm::kL2;
  if (quantile > 0) header.flags |= kFlagScalar;
  if (spec.datatype == Datatype::kUint8 && !spec.divides_by_length) header.flags |= kFlagWhole;
  return std::make_shared<CodeTable>(spec, CodeKernelsFor(*view.kernels), CodeBytes::New(header));
}

CodedPoint CodeTable::Point(uint32_t row) const {
  const float* facts = Facts(row);
  return {reinterpret_cast<const int8_t*>(Record(row)), facts[0], facts[1], facts[2]};
}

CodedQuery CodeTable::Encode(const float* query) const {
  CodedQuery coded;
  std::vector<float> values(query, query + spec_.dims);
  coded.codes.resize(spec_.dims);
  if (!product()) {
    for (size_t i = 0; i < values.size(); ++i) values[i] -= bytes_.Shared()[i];
  }
  const float largest = LargestOf(values.data(), values.size());
  const bool whole = (bytes_.header.flags & kFlagWhole) != 0;
  const float scale = is_l1_ ? bytes_.header.step : whole && largest <= kCodeMax ? 1 : largest / kCodeMax;
  const int64_t squares = Round(values.data(), values.size(), isfinite(scale) ? scale : 0, coded.codes.data());
  coded.point = {coded.codes.data(), scale, scale * scale * static_cast<float>(squares), 0};
  return coded;
}

std::unique_ptr<CodeQuery> CodeTable::Query(const float* query, QueryBits) const { return std::make_unique<TableQuery>(*this, Encode(query)); }

void CodeTable::Distances(const CodedPoint& from, bool product, const uint32_t* ids, size_t count, float* distances) const {
  constexpr size_t kRun = 64;
  const uint8_t* records[kRun];
  int32_t sums[kRun];
  for (size_t start = 0; start < count; start += kRun) {
    const size_t length = std::min(kRun, count - start);
    for (size_t i = 0; i < length; ++i) records[i] = Record(ids[start + i]);
    if (is_l1_) {
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

float* CodeWriter::Facts(uint32_t row) const { return reinterpret_cast<float*>(table_->bytes_.RecordToWrite(row) + table_->stride_ - 12); }

bool CodeWriter::Prepare(const RowsView& view) {
  CodeHeader& header = table_->bytes_.header;
  float* offsets = table_->bytes_.Shared();
  if ((header.flags & kFlagWhole) != 0) {
    for (uint32_t i = 0; i < header.dims; ++i) offsets[i] = kWholeOffset;
    header.step = 1;
    return true;
  }
  const uint32_t samples = std::min(header.rows, kSampleRows);
  const bool one_step = header.form == CodeForm::kL1 || quantile_ > 0;
  std::vector<double> means(header.dims);
  std::vector<float> all;
  RowReader reader(view);
  for (uint32_t at = 0; at < samples; ++at) {
    if (!reader.Read(SampleRow(at, samples, header.rows))) return false;
    if (!reader.fits()) return unfit_ = true;
    for (size_t i = 0; i < header.dims; ++i) means[i] += reader.values()[i];
    if (one_step) all.insert(all.end(), reader.values().begin(), reader.values().end());
  }
  for (size_t i = 0; i < header.dims; ++i) offsets[i] = samples == 0 ? 0 : static_cast<float>(means[i] / samples);
  if (all.empty()) return true;
  for (size_t i = 0; i < all.size(); ++i) all[i] = fabsf(all[i] - offsets[i % header.dims]);
  const double share = quantile_ > 0 ? static_cast<double>(quantile_) : kHeldShare;
  const auto held = all.begin() + static_cast<ptrdiff_t>(static_cast<double>(all.size() - 1) * share);
  std::nth_element(all.begin(), held, all.end());
  header.step = *held / kCodeMax;
  return true;
}

bool CodeWriter::Encode(const RowsView& view, uint32_t from, uint32_t to) {
  RowReader reader(view);
  std::vector<float> centred;
  for (uint32_t row = from; row < to && !unfit(); ++row) {
    if (!reader.Read(row)) return false;
    if (reader.fits()) EncodeRow(row, reader.values(), &centred);
    else unfit_ = true;
  }
  return true;
}

void CodeWriter::EncodeRow(uint32_t row, const std::vector<float>& values, std::vector<float>* centred) {
  const CodeBytes& bytes = table_->bytes_;
  const size_t dims = values.size();
  const float* offsets = bytes.Shared();
  centred->resize(dims);
  double squares = 0;
  for (size_t i = 0; i < dims; ++i) {
    squares += static_cast<double>(values[i]) * values[i];
    (*centred)[i] = values[i] - offsets[i];
  }
  const bool whole = (bytes.header.flags & kFlagWhole) != 0;
  const float scale = table_->is_l1_ || quantile_ > 0 || whole ? bytes.header.step : LargestOf(centred->data(), dims) / kCodeMax;
  const int64_t coded = Round(centred->data(), dims, scale, reinterpret_cast<int8_t*>(bytes.RecordToWrite(row)));
  float* facts = Facts(row);
  facts[0] = scale;
  facts[1] = scale * scale * static_cast<float>(coded);
  facts[2] = static_cast<float>(squares);  // until Finish
}

void CodeWriter::Finish() {
  CodeHeader& header = table_->bytes_.header;
  float shortest = INFINITY, longest = 0;
  for (uint32_t row = 0; row < header.rows; ++row) {
    shortest = std::min(shortest, Facts(row)[2]);
    longest = std::max(longest, Facts(row)[2]);
  }
  const bool product = table_->spec_.metric == Metric::kDot && longest > shortest * kEqualNorms;
  if (product) header.flags |= kFlagProduct;
  for (uint32_t row = 0; row < header.rows; ++row) {
    float* facts = Facts(row);
    facts[2] = product ? sqrtf(std::max(0.0f, longest - facts[2])) : 0;
  }
  table_->bytes_.WriteHeader();
}

std::unique_ptr<CodesMaker> NewScalarMaker(const RowsView& view, float quantile) { return std::make_unique<ScalarMaker>(view, quantile); }

}  // namespace nearkeep
