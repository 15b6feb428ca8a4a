// Plain C++ for any CPU, and the twin that the others are tested against.
#include "half.h"
#include "kernel-loop.h"

namespace {

struct Scalar {
  using Register = float;
  static constexpr size_t kWidth = 1;
  static inline Register Zero() { return 0; }
  static inline Register LoadQuery(const float* from) { return *from; }
  template <Datatype type>
  static inline Register Load(const uint8_t* from) {
    if constexpr (type == Datatype::kFloat32) {
      float value;
      memcpy(&value, from, sizeof value);
      return value;
    } else if constexpr (type == Datatype::kFloat16) {
      uint16_t half;
      memcpy(&half, from, sizeof half);
      return nearkeep::HalfToFloat(half);
    } else {
      return *from;
    }
  }
  static inline Register Add(Register a, Register b) { return a + b; }
  static inline Register Sub(Register a, Register b) { return a - b; }
  static inline Register Abs(Register a) { return __builtin_fabsf(a); }
  static inline Register MulAdd(Register a, Register b, Register sum) { return a * b + sum; }
  static inline float Sum(Register a) { return a; }
};

}  // namespace

const nearkeep::Kernels nearkeep::kScalarKernels = MakeKernels<Scalar>("scalar");
