// By what a graph is walked: codes of the rows, of one of several kinds. What is returned is always scored from the rows themselves.
#pragma once
#include <math.h>

#include "code-image.h"

namespace nearkeep {

enum class CodesKind : uint8_t { kInternal, kScalar, kProduct, kBinary };

struct CodesConfig {
  CodesKind kind = CodesKind::kInternal;
  float quantile = 1;   // kScalar: 0.5 … 1
  uint32_t detail = 0;  // kProduct, kBinary: as in the header
};

// Bits of a component of a query against binary codes.
enum class QueryBits : uint8_t { kAsStored, kFour, kEight };

// One query, prepared.
class CodeQuery {
 public:
  virtual ~CodeQuery() = default;
  // distances[i] to the row ids[i]; smaller is nearer. Owns nothing while it runs: a fault while it reads a record may be left by a jump.
  virtual void Distances(const uint32_t* ids, size_t count, float* distances) const = 0;
};

class WalkCodes {
 public:
  // Takes bytes as CodeBytes has checked them, and checks what they hold. Null, with *problem.
  static std::shared_ptr<const WalkCodes> Open(const RowSpec& spec, const Kernels& kernels, const CodeBytes& bytes, const char** problem);
  virtual ~WalkCodes() = default;

  // `query`: dims floats. Refers to the codes.
  virtual std::unique_ptr<CodeQuery> Query(const float* query, QueryBits bits) const = 0;

  uint32_t rows() const { return bytes_.header.rows; }
  const RowSpec& spec() const { return spec_; }
  CodesKind kind() const;
  // Rows are sought by products of unequal lengths.
  bool product() const { return (bytes_.header.flags & kFlagProduct) != 0; }
  const CodeBytes& bytes() const { return bytes_; }
  uint64_t mapped_bytes() const { return bytes_.file == nullptr ? 0 : uint64_t{rows()} * bytes_.header.stride; }
  const uint8_t* Record(uint32_t row) const { return records_ + size_t{row} * stride_; }
  // Asks for the cache lines of a record.
  void Prefetch(uint32_t row) const {
    const uint8_t* record = Record(row);
    for (size_t at = 0; at < prefetch_bytes_; at += 64) __builtin_prefetch(record + at);
  }

 protected:
  WalkCodes(const RowSpec& spec, CodeBytes bytes);
  // Whether the last three floats of all records are numbers.
  bool FactsAreFinite() const;
  const float* Facts(uint32_t row) const { return reinterpret_cast<const float*>(Record(row) + stride_ - 12); }

  const RowSpec spec_;
  CodeBytes bytes_;
  const uint8_t* const records_;
  const size_t stride_;
  const size_t prefetch_bytes_;
};

// Makes codes of rows that already have internal codes. A run of equal phases, like a job.
class CodesMaker {
 public:
  virtual ~CodesMaker() = default;
  // Blocks of the first phase.
  virtual size_t Begin() = 0;
  // From any thread. False where a page of a mapped file cannot be read.
  virtual bool Run(size_t block) = 0;
  // Blocks of the next phase; 0: the codes are made.
  virtual size_t Advance() = 0;
  virtual std::shared_ptr<const WalkCodes> codes() const = 0;
};

// `product`: of the internal codes. The view outlives the maker.
std::unique_ptr<CodesMaker> NewCodesMaker(const RowsView& view, const CodesConfig& config, bool product);

}  // namespace nearkeep
