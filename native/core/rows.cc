#include "rows.h"

#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <new>

namespace nearkeep {
namespace {

constexpr size_t kFirstChunkBytes = size_t{64} << 10;
constexpr size_t kChunkBytesMax = size_t{64} << 20;
constexpr size_t kPageBytes = 4096;
constexpr size_t kAlignmentBytes = 64;  // rows of whole cache lines do not straddle them

}  // namespace

const uint8_t* RowsView::Row(uint32_t row) const {
  const auto after = std::upper_bound(spans.begin(), spans.end(), row, [](uint32_t at, const Span& span) { return at < span.first; });
  const Span& span = *(after - 1);
  return span.data + size_t{row - span.first} * spec.StrideBytes();
}

void RowsView::Copy(uint32_t first, uint32_t count, uint8_t* target) const {
  const size_t stride = spec.StrideBytes();
  for (const Span& span : spans) {
    if (count == 0) return;
    if (first >= span.first + span.count) continue;
    const uint32_t taken = std::min(count, span.first + span.count - first);
    memcpy(target, span.data + size_t{first - span.first} * stride, size_t{taken} * stride);
    target += size_t{taken} * stride;
    first += taken;
    count -= taken;
  }
}

GrowingRows::GrowingRows(const RowSpec& spec, const Kernels* kernels) {
  view_.spec = spec;
  view_.kernels = kernels;
}

void GrowingRows::AddChunk() {
  const size_t stride = view_.spec.StrideBytes();
  const size_t wanted = std::max(std::clamp(chunk_bytes_ * 2, kFirstChunkBytes, kChunkBytesMax), stride);
  const size_t rows = wanted / stride;
  void* memory = nullptr;
  if (posix_memalign(&memory, kAlignmentBytes, rows * stride) != 0) throw std::bad_alloc();
  std::shared_ptr<const uint8_t> owner(static_cast<const uint8_t*>(memory), [](const uint8_t* chunk) { free(const_cast<uint8_t*>(chunk)); });
  view_.spans.reserve(view_.spans.size() + 1);
  view_.chunks.push_back(owner);
  view_.spans.push_back({owner.get(), view_.row_count, 0});
  chunk_bytes_ = rows * stride;
  capacity_ = static_cast<uint32_t>(rows);
}

void GrowingRows::Append(const uint8_t* bytes, uint32_t count) {
  const size_t stride = view_.spec.StrideBytes();
  const size_t spans_before = view_.spans.size();
  const uint32_t last_before = spans_before == 0 ? 0 : view_.spans.back().count;
  const uint32_t capacity_before = capacity_, rows_before = view_.row_count;
  const size_t chunk_bytes_before = chunk_bytes_;
  try {
    while (count > 0) {
      if (view_.spans.empty() || view_.spans.back().count == capacity_) AddChunk();
      Span& span = view_.spans.back();
      const uint32_t taken = std::min(count, capacity_ - span.count);
      memcpy(const_cast<uint8_t*>(span.data) + size_t{span.count} * stride, bytes, size_t{taken} * stride);
      span.count += taken;
      view_.row_count += taken;
      bytes += size_t{taken} * stride;
      count -= taken;
    }
  } catch (...) {
    view_.spans.resize(spans_before);
    view_.chunks.resize(spans_before);
    if (spans_before > 0) view_.spans.back().count = last_before;
    view_.row_count = rows_before;
    capacity_ = capacity_before;
    chunk_bytes_ = chunk_bytes_before;
    throw;
  }
}

size_t GrowingRows::MemoryBytes() const {
  size_t bytes = 0;
  for (const Span& span : view_.spans) {
    const size_t used = size_t{span.count} * view_.spec.StrideBytes();
    bytes += (used + kPageBytes - 1) / kPageBytes * kPageBytes;
  }
  return bytes;
}

RowsView ViewOfFile(const RowSpec& spec, const Kernels* kernels, std::shared_ptr<const MappedFile> file, uint64_t data_offset,
                    uint32_t row_count) {
  RowsView view;
  view.spec = spec;
  view.kernels = kernels;
  view.row_count = row_count;
  if (row_count > 0) view.spans.push_back({file->data() + data_offset, 0, row_count});
  view.file = std::move(file);
  return view;
}

}  // namespace nearkeep
