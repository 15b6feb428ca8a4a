// The bytes of all kinds of codes: header, sizes, where they lie. What a record holds is drawn where it is read: codes.h,
// codes-product.h, codes-binary.h.
//
// Image, little-endian, which is also the data of a `code` file:
//     0  u32 rows, u32 dims, u32 stride, u32 form, u32 flags, f32 step, u32 detail; 36 bytes zero
//    64  what all records share, a multiple of 64 bytes
//        rows x stride: records
// form 1 squared L2, 2 L1: bytes (codes.h); 3 product codes; 4 binary codes
#pragma once
#include <memory>

#include "files.h"
#include "image.h"
#include "rows.h"

namespace nearkeep {

enum class CodeForm : uint32_t { kL2 = 1, kL1 = 2, kProduct = 3, kBinary = 4 };

// Bits of `flags`: rows are sought by products; bytes are the values themselves; all records have one scale.
constexpr uint32_t kFlagProduct = 1, kFlagWhole = 2, kFlagScalar = 4;

struct CodeHeader {
  uint32_t rows, dims, stride;
  CodeForm form;
  uint32_t flags;
  float step;
  uint32_t detail;  // product codes: components of a part; binary codes: 0 one bit, 1 a shared second bit, 2 two bits
  uint8_t zeros[36];
};
constexpr size_t kCodeHeaderBytes = 64;
static_assert(sizeof(CodeHeader) == kCodeHeaderBytes);

constexpr size_t RoundUp(size_t value, size_t step) { return (value + step - 1) / step * step; }

// What lies before the records, and the length of a record, by form and detail. A header with another stride is not ours.
uint64_t CodeHeadBytes(const CodeHeader& header);
size_t CodeStride(const CodeHeader& header);

// The bytes of one table. Records may lie in a map: then they are read inside ReadGuarded alone.
struct CodeBytes {
  CodeHeader header;
  std::shared_ptr<Image> image;                  // the whole image; with a file what lies before the records
  std::shared_ptr<const MappedFile> file;        // null: all is in memory
  const uint8_t* records = nullptr;

  // Zeros but for the header, whose stride it fills in.
  static CodeBytes New(CodeHeader header);
  // Null pointers inside, with *problem, where the header or the size does not fit rows of this kind.
  static CodeBytes OfImage(const RowSpec& spec, uint32_t rows, std::shared_ptr<Image> image, const char** problem);
  // `size_bytes` from `offset` of the file, which holds them.
  static CodeBytes OfFile(const RowSpec& spec, uint32_t rows, std::shared_ptr<const MappedFile> file, uint64_t offset, uint64_t size_bytes, const char** problem);

  // Past the header. Written by those who make the table.
  float* Shared() const { return reinterpret_cast<float*>(image->data() + kCodeHeaderBytes); }
  uint8_t* RecordToWrite(uint32_t row) const { return image->data() + CodeHeadBytes(header) + size_t{row} * header.stride; }
  void WriteHeader() const { memcpy(image->data(), &header, sizeof header); }
};

}  // namespace nearkeep
