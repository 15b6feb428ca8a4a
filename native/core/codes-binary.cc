#include "codes-binary.h"

#include <algorithm>

#include "cpu.h"
#include "row-reader.h"

namespace nearkeep {
namespace {

constexpr uint32_t kSampleRows = 2048;
// Rows of one block of encoding: a few milliseconds at most.
constexpr uint32_t kBlockRows = 512;
constexpr size_t kRun = 64;

// Where the bits of a component lie in a record and in a plane of a query.
struct BitPlaces {
  explicit BitPlaces(const CodeHeader& header)
      : layout(static_cast<BitLayout>(header.detail)),
        words(layout == BitLayout::kSharedBit ? RoundUp(header.dims, 128) / 64 : RoundUp(header.dims, 64) / 64),
        levels(layout == BitLayout::kOneBit ? 2 : 4) {}
  BitLayout layout;
  size_t words;
  int levels;
};

void SetBit(uint64_t* words, size_t at) { words[at / 64] |= uint64_t{1} << (at % 64); }

class BinaryQuery : public CodeQuery {
 public:
  BinaryQuery(const BinaryCodes& codes, const CompactKernels& kernels, const float* query, QueryBits bits)
      : codes_(codes), places_(codes.bytes().header), count_bits_(kernels.bits[static_cast<size_t>(places_.layout)]) {
    planes_count_ = bits == QueryBits::kFour ? 4 : bits == QueryBits::kEight ? 8 : places_.layout == BitLayout::kOneBit ? 1 : 2;
    Cut(Centre(query));
  }

  void Distances(const uint32_t* ids, size_t count, float* distances) const override {
    const uint8_t* records[kRun];
    uint32_t sums[kRun];
    const size_t stride = codes_.bytes().header.stride;
    for (size_t start = 0; start < count; start += kRun) {
      const size_t length = std::min(kRun, count - start);
      for (size_t i = 0; i < length; ++i) records[i] = codes_.Record(ids[start + i]);
      count_bits_(planes_.data(), planes_count_, places_.words, records, length, sums);
      for (size_t i = 0; i < length; ++i) {
        const auto* facts = reinterpret_cast<const float*>(records[i] + stride - 12);
        // level = 2k - (levels - 1), and a component of the query is lowest + step * u
        const float product = facts[0] * step_ * static_cast<float>(2 * int64_t{sums[i]} - excess_) + lowest_ * facts[2];
        distances[start + i] = norm_ + base_share_ * facts[1] + product_share_ * product;
      }
    }
  }

 private:
  // What of the query is multiplied with rows, times the weights.
  std::vector<float> Centre(const float* query) {
    const size_t dims = codes_.spec().dims;
    const float* offsets = codes_.bytes().Shared();
    const float* weights = offsets + RoundUp(dims, 16);
    double share = 1;
    if (codes_.product()) {
      double along = 0, squares = 0;
      for (size_t i = 0; i < dims; ++i) {
        along += static_cast<double>(query[i]) * offsets[i];
        squares += static_cast<double>(offsets[i]) * offsets[i];
      }
      share = squares > 0 ? along / squares : 0;
    }
    std::vector<float> centred(dims);
    double norm = 0;
    for (size_t i = 0; i < dims; ++i) {
      const double value = query[i] - share * offsets[i];
      norm += value * value;
      centred[i] = static_cast<float>(value) * weights[i];
    }
    norm_ = codes_.product() ? 0 : static_cast<float>(norm);
    base_share_ = codes_.product() ? -static_cast<float>(share) : 1;
    product_share_ = codes_.product() ? -1 : -2;
    return centred;
  }

  // Into planes. Steps are those with the least error for values of a normal distribution, but no wider than the values need.
  void Cut(const std::vector<float>& values) {
    const int most = (1 << planes_count_) - 1;
    double squares = 0, magnitudes = 0;
    float largest = 0;
    for (const float value : values) {
      squares += static_cast<double>(value) * value;
      magnitudes += fabsf(value);
      largest = std::max(largest, fabsf(value));
    }
    const auto deviation = static_cast<float>(sqrt(squares / static_cast<double>(values.size())));
    const float widest = 2 * largest / static_cast<float>(most);
    float step = planes_count_ == 1   ? static_cast<float>(2 * magnitudes / static_cast<double>(values.size()))
                 : planes_count_ == 2 ? deviation
                 : planes_count_ == 4 ? std::min(widest, 0.4f * deviation)
                                      : widest;
    const float inverse = step > 0 && isfinite(1 / step) ? 1 / step : 0;
    const auto middle = static_cast<float>(most) / 2;
    planes_.resize(planes_count_ * places_.words);
    double along = 0, length = 0;
    int64_t total = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const float scaled = floorf(values[i] * inverse + middle + 0.5f);
      const int u = scaled >= 0 ? static_cast<int>(std::min(scaled, static_cast<float>(most))) : 0;  // 0 for NaN
      const double read = static_cast<double>(u) - static_cast<double>(middle);
      along += read * static_cast<double>(values[i]);
      length += read * read;
      total += u;
      for (size_t plane = 0; plane < planes_count_; ++plane) {
        if ((u >> plane & 1) != 0) SetBit(planes_.data() + plane * places_.words, i);
      }
    }
    step_ = length > 0 ? static_cast<float>(along / length) : 0;
    lowest_ = -step_ * middle;
    excess_ = (places_.levels - 1) * total;
  }

  const BinaryCodes& codes_;
  const BitPlaces places_;
  const BitsFn count_bits_;
  size_t planes_count_;
  std::vector<uint64_t> planes_;
  int64_t excess_ = 0;
  float step_ = 0, lowest_ = 0;
  float norm_ = 0, base_share_ = 0, product_share_ = 0;
};

// Phases: means and deviations of a sample → encode.
class BinaryMaker : public CodesMaker {
 public:
  BinaryMaker(const RowsView& view, uint32_t detail, bool product) : view_(view) {
    CodeHeader header = {};
    header.rows = view.row_count;
    header.dims = view.spec.dims;
    header.form = CodeForm::kBinary;
    header.flags = product ? kFlagProduct : 0;
    header.detail = detail;
    bytes_ = CodeBytes::New(header);
  }

  size_t Begin() override { return 1; }
  bool Run(size_t block) override { return prepared_ ? Encode(static_cast<uint32_t>(block * kBlockRows)) : Prepare(); }
  size_t Advance() override {
    if (!prepared_) {
      prepared_ = true;
      bytes_.WriteHeader();
      return (size_t{view_.row_count} + kBlockRows - 1) / kBlockRows;
    }
    return 0;
  }
  std::shared_ptr<const WalkCodes> codes() const override { return std::make_shared<BinaryCodes>(view_.spec, CompactKernelsFor(*view_.kernels), bytes_); }

 private:
  bool Prepare() {
    const size_t dims = view_.spec.dims;
    const uint32_t samples = std::min(view_.row_count, kSampleRows);
    std::vector<double> sums(dims), squares(dims);
    RowReader reader(view_);
    for (uint32_t at = 0; at < samples; ++at) {
      if (!reader.Read(SampleRow(at, samples, view_.row_count))) return false;
      for (size_t i = 0; i < dims; ++i) {
        const double value = reader.values()[i];
        sums[i] += value;
        squares[i] += value * value;
      }
    }
    float* weights = bytes_.Shared() + RoundUp(dims, 16);
    for (size_t i = 0; i < dims && samples > 0; ++i) {
      const double mean = sums[i] / samples;
      bytes_.Shared()[i] = static_cast<float>(mean);
      weights[i] = static_cast<float>(sqrt(std::max(0.0, squares[i] / samples - mean * mean)));
    }
    return true;
  }

  bool Encode(uint32_t from) {
    RowReader reader(view_);
    std::vector<float> centred(view_.spec.dims);
    std::vector<uint64_t> bits((bytes_.header.stride + 7) / 8);
    for (uint32_t row = from; row < std::min(view_.row_count - from, kBlockRows) + from; ++row) {
      if (!reader.Read(row)) return false;
      EncodeRow(row, reader.values(), &centred, &bits);
    }
    return true;
  }

  void EncodeRow(uint32_t row, const std::vector<float>& values, std::vector<float>* centred, std::vector<uint64_t>* bits) {
    const BitPlaces places(bytes_.header);
    const size_t dims = values.size(), half = places.words * 32;
    const float* offsets = bytes_.Shared();
    const float* weights = offsets + RoundUp(dims, 16);
    double base = 0;
    for (size_t i = 0; i < dims; ++i) {
      (*centred)[i] = values[i] - offsets[i];
      const double one = (*centred)[i];
      base += (bytes_.header.flags & kFlagProduct) != 0 ? one * static_cast<double>(offsets[i]) : one * one;
    }
    const auto distance = [&](size_t i) { return i >= dims ? 1 : weights[i] > 0 ? fabsf((*centred)[i]) / weights[i] : 0; };  // in deviations; 1: no say
    std::fill(bits->begin(), bits->end(), 0);
    double length = 0, along = 0;
    int64_t total = 0;
    for (size_t i = 0; i < dims; ++i) {
      const bool high = (*centred)[i] > 0;
      bool far = false;
      if (places.layout == BitLayout::kTwoBits) far = distance(i) > 1;
      if (places.layout == BitLayout::kSharedBit) far = distance(i % half) + distance(i % half + half) > 2;
      if (high) SetBit(bits->data(), i);
      if (places.layout == BitLayout::kTwoBits && far == high) SetBit(bits->data() + places.words, i);
      if (places.layout == BitLayout::kSharedBit && far) SetBit(bits->data() + places.words, i % half);
      const int level = (far ? 3 : 1) * (high ? 1 : -1);
      total += level;
      along += static_cast<double>(level) * weights[i] * (*centred)[i];
      length += static_cast<double>((*centred)[i]) * (*centred)[i];
    }
    uint8_t* record = bytes_.RecordToWrite(row);
    memcpy(record, bits->data(), places.words * 8 * (places.layout == BitLayout::kTwoBits ? 2 : 1) + (places.layout == BitLayout::kSharedBit ? places.words * 4 : 0));
    const double scale = along > 0 ? length / along : 0;
    const float facts[] = {static_cast<float>(scale), static_cast<float>(base), static_cast<float>(scale * static_cast<double>(total))};
    memcpy(record + bytes_.header.stride - sizeof facts, facts, sizeof facts);
  }

  const RowsView& view_;
  CodeBytes bytes_;
  bool prepared_ = false;
};

}  // namespace

std::unique_ptr<CodeQuery> BinaryCodes::Query(const float* query, QueryBits bits) const { return std::make_unique<BinaryQuery>(*this, *kernels_, query, bits); }

std::unique_ptr<CodesMaker> NewBinaryMaker(const RowsView& view, uint32_t detail, bool product) { return std::make_unique<BinaryMaker>(view, detail, product); }

}  // namespace nearkeep
