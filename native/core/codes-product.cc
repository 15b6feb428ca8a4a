#include "codes-product.h"

#include <algorithm>

#include "cpu.h"
#include "row-reader.h"

namespace nearkeep {
namespace {

constexpr uint32_t kSampleRowsMax = 8192;
constexpr uint64_t kSampleBytesMax = uint64_t{64} << 20;
constexpr int kRounds = 10;
// What one block does, so that it ends after a few milliseconds: rows that are read, and rows that are encoded.
constexpr uint32_t kReadRows = 256;
constexpr uint64_t kEncodeTerms = 1 << 24;

class ProductQuery : public CodeQuery {
 public:
  ProductQuery(const ProductCodes& codes, const CompactKernels& kernels, const float* query) : codes_(codes), kernels_(kernels) {
    const CodeHeader& header = codes.bytes().header;
    const size_t parts = header.stride, part_dims = header.detail, dims = header.dims;
    std::vector<float> padded(query, query + dims);
    padded.resize(parts * part_dims);
    table_.resize(parts * kCentroids);
    const auto fill = kernels.table[static_cast<size_t>(codes.spec().metric)];
    for (size_t part = 0; part < parts; ++part) {
      fill(padded.data() + part * part_dims, codes.bytes().Shared() + part * part_dims * kCentroids, part_dims, table_.data() + part * kCentroids);
    }
  }

  void Distances(const uint32_t* ids, size_t count, float* distances) const override {
    constexpr size_t kRun = 64;
    const uint8_t* records[kRun];
    for (size_t start = 0; start < count; start += kRun) {
      const size_t length = std::min(kRun, count - start);
      for (size_t i = 0; i < length; ++i) records[i] = codes_.Record(ids[start + i]);
      kernels_.lookup(table_.data(), records, length, codes_.bytes().header.stride, distances + start);
    }
  }

 private:
  const ProductCodes& codes_;
  const CompactKernels& kernels_;
  std::vector<float> table_;
};

// Phases: read a sample → rounds of means, each part by itself → encode.
class ProductMaker : public CodesMaker {
 public:
  ProductMaker(const RowsView& view, uint32_t part_dims) : view_(view), kernels_(CompactKernelsFor(*view.kernels)) {
    CodeHeader header = {};
    header.rows = view.row_count;
    header.dims = view.spec.dims;
    header.form = CodeForm::kProduct;
    header.detail = part_dims;
    bytes_ = CodeBytes::New(header);
    part_dims_ = part_dims;
    parts_ = bytes_.header.stride;
    const uint64_t held = kSampleBytesMax / (uint64_t{parts_} * part_dims_ * sizeof(float));
    samples_ = std::min<uint32_t>(view.row_count, static_cast<uint32_t>(std::clamp<uint64_t>(held, kCentroids, kSampleRowsMax)));
    sample_.resize(size_t{samples_} * parts_ * part_dims_);
  }

  size_t Begin() override { return std::max<size_t>(1, BlocksOf(samples_, kReadRows)); }

  bool Run(size_t block) override {
    if (round_ < 0) return ReadSample(static_cast<uint32_t>(block * kReadRows));
    if (round_ == kRounds) return Encode(static_cast<uint32_t>(block) * encode_rows());
    Refine(block);
    return true;
  }

  size_t Advance() override {
    if (samples_ == 0) round_ = kRounds;
    if (++round_ < kRounds) return parts_;
    if (round_ > kRounds || view_.row_count == 0) return Finish();
    sample_ = std::vector<float>();
    return BlocksOf(view_.row_count, encode_rows());
  }

  std::shared_ptr<const WalkCodes> codes() const override { return std::make_shared<ProductCodes>(view_.spec, kernels_, bytes_); }

 private:
  static size_t BlocksOf(uint32_t count, uint32_t size) { return (size_t{count} + size - 1) / size; }
  uint32_t encode_rows() const {
    return static_cast<uint32_t>(std::clamp<uint64_t>(kEncodeTerms / (uint64_t{parts_} * part_dims_ * kCentroids), 1, 4096));
  }
  // Of a part, as kernels want it.
  float* Centroids(size_t part) const { return bytes_.Shared() + part * part_dims_ * kCentroids; }
  // The sample lies by part, so that a round over one part reads one run of memory.
  float* Sample(size_t part, uint32_t at) { return sample_.data() + (part * samples_ + at) * part_dims_; }

  bool ReadSample(uint32_t from) {
    RowReader reader(view_);
    for (uint32_t at = from; at < std::min(samples_, from + kReadRows); ++at) {
      if (!reader.Read(SampleRow(at, samples_, view_.row_count))) return false;
      const std::vector<float>& values = reader.values();
      for (size_t i = 0; i < values.size(); ++i) Sample(i / part_dims_, at)[i % part_dims_] = values[i];
    }
    return true;
  }

  // The first centroids of a part are values of the sample, evenly chosen.
  void Begin(size_t part) {
    for (size_t c = 0; c < kCentroids; ++c) SetCentroid(part, c, Sample(part, SampleRow(static_cast<uint32_t>(c), kCentroids, samples_)));
  }

  void SetCentroid(size_t part, size_t c, const float* values) {
    for (size_t j = 0; j < part_dims_; ++j) Centroids(part)[j * kCentroids + c] = values[j];
  }

  void Refine(size_t part) {
    if (round_ == 0) Begin(part);
    std::vector<double> sums(kCentroids * part_dims_);
    std::vector<uint32_t> counts(kCentroids);
    std::vector<float> distances(samples_);
    for (uint32_t at = 0; at < samples_; ++at) {
      const float* values = Sample(part, at);
      const size_t nearest = kernels_.nearest(values, Centroids(part), part_dims_, &distances[at]);
      ++counts[nearest];
      for (size_t j = 0; j < part_dims_; ++j) sums[nearest * part_dims_ + j] += values[j];
    }
    for (size_t c = 0; c < kCentroids; ++c) {
      if (counts[c] > 0) {
        for (size_t j = 0; j < part_dims_; ++j) Centroids(part)[j * kCentroids + c] = static_cast<float>(sums[c * part_dims_ + j] / counts[c]);
        continue;
      }
      // Nobody's nearest: it moves to where the error is largest.
      const auto farthest = std::max_element(distances.begin(), distances.end());
      SetCentroid(part, c, Sample(part, static_cast<uint32_t>(farthest - distances.begin())));
      *farthest = 0;
    }
  }

  // By part, so that its centroids stay in the nearest cache.
  bool Encode(uint32_t from) {
    const uint32_t to = std::min(view_.row_count - from, encode_rows()) + from;
    const size_t width = size_t{parts_} * part_dims_;
    std::vector<float> rows((to - from) * width);
    RowReader reader(view_);
    for (uint32_t row = from; row < to; ++row) {
      if (!reader.Read(row)) return false;
      std::copy(reader.values().begin(), reader.values().end(), rows.begin() + static_cast<ptrdiff_t>((row - from) * width));
    }
    for (size_t part = 0; part < parts_; ++part) {
      for (uint32_t row = from; row < to; ++row) {
        float distance;
        bytes_.RecordToWrite(row)[part] = kernels_.nearest(rows.data() + (row - from) * width + part * part_dims_, Centroids(part), part_dims_, &distance);
      }
    }
    return true;
  }

  size_t Finish() {
    bytes_.WriteHeader();
    return 0;
  }

  const RowsView& view_;
  const CompactKernels& kernels_;
  CodeBytes bytes_;
  uint32_t part_dims_, parts_, samples_;
  int round_ = -1;  // -1: the sample is read; kRounds: rows are encoded
  std::vector<float> sample_;
};

}  // namespace

std::unique_ptr<CodeQuery> ProductCodes::Query(const float* query, QueryBits) const { return std::make_unique<ProductQuery>(*this, *kernels_, query); }

std::unique_ptr<CodesMaker> NewProductMaker(const RowsView& view, uint32_t part_dims) { return std::make_unique<ProductMaker>(view, part_dims); }

}  // namespace nearkeep
