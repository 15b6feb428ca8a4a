// Stored rows and what a search sees of them.
//
// In memory, rows lie in chunks that double in size from 64 KiB to 64 MiB. A chunk never moves and its written rows never change,
// so a search may read while rows are appended; appending copies only the new rows.
#pragma once
#include <memory>
#include <vector>

#include "exact.h"
#include "files.h"

namespace nearkeep {

// Consecutive rows that lie packed.
struct Span {
  const uint8_t* data;
  uint32_t first;
  uint32_t count;
};

// The rows at one moment, and everything that keeps them in place. Searches hold a copy.
struct RowsView {
  RowSpec spec;
  const Kernels* kernels;
  uint32_t row_count = 0;
  std::vector<Span> spans;                             // ascending, without gaps
  std::vector<std::shared_ptr<const uint8_t>> chunks;  // owners of the spans' memory; empty for a file
  std::shared_ptr<const MappedFile> file;              // null for rows in memory

  const uint8_t* Row(uint32_t row) const;
  // Whether bytes of rows are read without waiting for the disk.
  bool Resident(const uint8_t* from, size_t bytes) const { return file == nullptr || file->Resident(from, bytes); }
  // Copies `count` rows from `first` on, packed; they must exist.
  void Copy(uint32_t first, uint32_t count, uint8_t* target) const;
};

// Appended to and viewed by one thread; views may be used by any.
class GrowingRows {
 public:
  GrowingRows(const RowSpec& spec, const Kernels* kernels);
  // `bytes` holds `count` packed rows. May throw std::bad_alloc; then nothing was appended.
  void Append(const uint8_t* bytes, uint32_t count);
  const RowsView& view() const { return view_; }
  // Memory in use: whole pages of written rows.
  size_t MemoryBytes() const;

 private:
  void AddChunk();

  RowsView view_;
  uint32_t capacity_ = 0;    // rows that the last chunk can hold
  size_t chunk_bytes_ = 0;   // size of the last chunk
};

// Rows of a mapped file, packed from `data_offset`. The caller has checked that they lie inside the file.
RowsView ViewOfFile(const RowSpec& spec, const Kernels* kernels, std::shared_ptr<const MappedFile> file, uint64_t data_offset,
                    uint32_t row_count);

}  // namespace nearkeep
