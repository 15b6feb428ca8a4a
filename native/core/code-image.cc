#include "code-image.h"

#include <math.h>

namespace nearkeep {
namespace {

constexpr uint32_t kPartDimsMax = 16;
constexpr size_t kFactsBytes = 12;

size_t Parts(const CodeHeader& header) { return (size_t{header.dims} + header.detail - 1) / header.detail; }

size_t BitBytes(const CodeHeader& header) {
  const size_t words = RoundUp(header.dims, 64) / 64, pairs = RoundUp(header.dims, 128) / 128;
  return 8 * (header.detail == 0 ? words : header.detail == 1 ? 3 * pairs : 2 * words);
}

bool IsPowerOfTwo(uint32_t value) { return value != 0 && (value & (value - 1)) == 0; }

const char* HeaderProblem(const CodeHeader& header, const RowSpec& spec, uint32_t rows, uint64_t size_bytes) {
  if (header.rows != rows || header.dims != spec.dims) return "is of other rows";
  uint32_t flags = 0, detail_max = 0;
  switch (header.form) {
    case CodeForm::kL2:
    case CodeForm::kL1:
      if ((header.form == CodeForm::kL1) != (spec.metric == Metric::kL1)) return "is of another distance";
      flags = kFlagProduct | kFlagWhole | kFlagScalar;
      break;
    case CodeForm::kProduct:
      if (!IsPowerOfTwo(header.detail)) return "has a header that cannot be";
      detail_max = kPartDimsMax;
      break;
    case CodeForm::kBinary:
      flags = kFlagProduct;
      detail_max = 2;
      break;
    default: return "is of a form that is not known";
  }
  if ((header.flags & ~flags) != 0 || header.detail > detail_max) return "has a header that cannot be";
  if (((header.flags & kFlagProduct) != 0 && spec.metric != Metric::kDot) || !(header.step >= 0) || !isfinite(header.step)) return "has a header that cannot be";
  if (((header.flags & kFlagWhole) != 0) != (header.form <= CodeForm::kL1 && spec.datatype == Datatype::kUint8 && !spec.divides_by_length)) return "has a header that cannot be";
  for (const uint8_t byte : header.zeros) {
    if (byte != 0) return "has a header that cannot be";
  }
  if (header.stride != CodeStride(header)) return "is of other rows";
  if (size_bytes != CodeHeadBytes(header) + uint64_t{rows} * header.stride) return "has another size than its rows need";
  return nullptr;
}

}  // namespace

uint64_t CodeHeadBytes(const CodeHeader& header) {
  switch (header.form) {
    case CodeForm::kL2:
    case CodeForm::kL1: break;
    case CodeForm::kProduct: return kCodeHeaderBytes + uint64_t{Parts(header)} * header.detail * 256 * 4;
    case CodeForm::kBinary: return kCodeHeaderBytes + 2 * RoundUp(size_t{header.dims} * 4, 64);
  }
  return kCodeHeaderBytes + RoundUp(size_t{header.dims} * 4, 64);
}

size_t CodeStride(const CodeHeader& header) {
  switch (header.form) {
    case CodeForm::kL2:
    case CodeForm::kL1: break;
    case CodeForm::kProduct: return Parts(header);
    case CodeForm::kBinary: return RoundUp(BitBytes(header) + kFactsBytes, 16);
  }
  return RoundUp(size_t{header.dims} + kFactsBytes, header.dims >= 512 ? 64 : 16);
}

CodeBytes CodeBytes::New(CodeHeader header) {
  header.stride = static_cast<uint32_t>(CodeStride(header));
  CodeBytes bytes;
  bytes.header = header;
  const uint64_t head = CodeHeadBytes(header);
  bytes.image = std::make_shared<Image>(head + uint64_t{header.rows} * header.stride);
  bytes.records = bytes.image->data() + head;
  return bytes;
}

CodeBytes CodeBytes::OfImage(const RowSpec& spec, uint32_t rows, std::shared_ptr<Image> image, const char** problem) {
  CodeBytes bytes;
  *problem = "has another size than its rows need";
  if (image->size_bytes() < kCodeHeaderBytes) return bytes;
  memcpy(&bytes.header, image->data(), sizeof bytes.header);
  *problem = HeaderProblem(bytes.header, spec, rows, image->size_bytes());
  if (*problem != nullptr) return bytes;
  bytes.records = image->data() + CodeHeadBytes(bytes.header);
  bytes.image = std::move(image);
  return bytes;
}

CodeBytes CodeBytes::OfFile(const RowSpec& spec, uint32_t rows, std::shared_ptr<const MappedFile> file, uint64_t offset, uint64_t size_bytes, const char** problem) {
  CodeBytes bytes;
  *problem = "has another size than its rows need";
  if (size_bytes < kCodeHeaderBytes || offset > file->size_bytes() || file->size_bytes() - offset < size_bytes) return bytes;
  const uint8_t* from = file->data() + offset;
  uint8_t* to = reinterpret_cast<uint8_t*>(&bytes.header);
  *problem = "cannot be read";
  if (!ReadGuarded([&] { memcpy(to, from, sizeof bytes.header); })) return bytes;
  *problem = HeaderProblem(bytes.header, spec, rows, size_bytes);
  if (*problem != nullptr) return bytes;
  const uint64_t head = CodeHeadBytes(bytes.header);
  auto image = std::make_shared<Image>(head);
  to = image->data();
  *problem = "cannot be read";
  if (!ReadGuarded([&] { memcpy(to, from, head); })) return bytes;
  *problem = nullptr;
  bytes.records = from + head;
  bytes.image = std::move(image);
  bytes.file = std::move(file);
  return bytes;
}

}  // namespace nearkeep
