#include "walk-codes.h"

#include <algorithm>

#include "codes-binary.h"
#include "codes-product.h"
#include "codes.h"
#include "cpu.h"

namespace nearkeep {

WalkCodes::WalkCodes(const RowSpec& spec, CodeBytes bytes)
    : spec_(spec), bytes_(std::move(bytes)), records_(bytes_.records), stride_(bytes_.header.stride), prefetch_bytes_(std::min<size_t>(stride_, 1024)) {}

CodesKind WalkCodes::kind() const {
  if (bytes_.header.form == CodeForm::kProduct) return CodesKind::kProduct;
  if (bytes_.header.form == CodeForm::kBinary) return CodesKind::kBinary;
  return (bytes_.header.flags & kFlagScalar) != 0 ? CodesKind::kScalar : CodesKind::kInternal;
}

bool WalkCodes::FactsAreFinite() const {
  bool finite = true;
  for (uint32_t row = 0; row < rows(); ++row) {
    float facts[3];
    memcpy(facts, Facts(row), sizeof facts);
    finite &= isfinite(facts[0]) && isfinite(facts[1]) && isfinite(facts[2]);
  }
  return finite;
}

std::shared_ptr<const WalkCodes> WalkCodes::Open(const RowSpec& spec, const Kernels& kernels, const CodeBytes& bytes, const char** problem) {
  *problem = nullptr;
  const float* shared = bytes.Shared();
  const size_t floats = (CodeHeadBytes(bytes.header) - kCodeHeaderBytes) / 4;
  for (size_t i = 0; i < floats; ++i) {
    if (!isfinite(shared[i])) return *problem = "has an offset that is no number", nullptr;
  }
  std::shared_ptr<WalkCodes> codes;
  switch (bytes.header.form) {
    case CodeForm::kL2:
    case CodeForm::kL1: codes = std::make_shared<CodeTable>(spec, CodeKernelsFor(kernels), bytes); break;
    case CodeForm::kProduct: return std::make_shared<ProductCodes>(spec, CompactKernelsFor(kernels), bytes);
    case CodeForm::kBinary: codes = std::make_shared<BinaryCodes>(spec, CompactKernelsFor(kernels), bytes); break;
  }
  bool finite = false;
  const auto check = [&codes, &finite] { finite = codes->FactsAreFinite(); };
  if (bytes.file == nullptr) check();
  else if (!ReadGuarded(check)) return *problem = "cannot be read", nullptr;
  if (!finite) return *problem = "has a record that is no number", nullptr;
  return codes;
}

std::unique_ptr<CodesMaker> NewCodesMaker(const RowsView& view, const CodesConfig& config, bool product) {
  switch (config.kind) {
    case CodesKind::kProduct: return NewProductMaker(view, config.detail);
    case CodesKind::kBinary: return NewBinaryMaker(view, config.detail, product);
    case CodesKind::kInternal:
    case CodesKind::kScalar: break;
  }
  return NewScalarMaker(view, config.quantile);
}

}  // namespace nearkeep
