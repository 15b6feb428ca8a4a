// Plain C++ for any CPU, and the twin that the others are tested against.
#include "compact-loop.h"

namespace {

struct Scalar {
  using Register = float;
  static constexpr size_t kWidth = 1;
  static inline Register Zero() { return 0; }
  static inline Register Set(float value) { return value; }
  static inline Register Load(const float* from) { return *from; }
  static inline void Store(float* to, Register a) { *to = a; }
  static inline Register Add(Register a, Register b) { return a + b; }
  static inline Register Sub(Register a, Register b) { return a - b; }
  static inline Register Mul(Register a, Register b) { return a * b; }
  static inline Register Abs(Register a) { return __builtin_fabsf(a); }
  static inline Register Min(Register a, Register b) { return b < a ? b : a; }
  static inline float Smallest(Register a) { return a; }
  static inline unsigned EqualMask(Register a, float value) { return a == value ? 1 : 0; }
};

}  // namespace

const nearkeep::CompactKernels nearkeep::kScalarCompact = MakeCompactKernels<Scalar, WordSums>("scalar", Lookup);
