// The loop that all instruction sets share, over a vector type V of theirs:
//   V::Register, V::kWidth (floats in a register), Zero(), LoadQuery(const float*), Load<Datatype>(const uint8_t*),
//   Add(a, b), Sub(a, b), Abs(a), MulAdd(a, b, sum), Sum(a) over the lanes.
// Each kernels-*.cc is compiled with flags of its own, so everything here has internal linkage and no standard C++ header is
// included: an inline function shared with other files could otherwise be linked in its AVX-512 form and run anywhere.
#pragma once
#include <string.h>

#include "kernels.h"

namespace {

using nearkeep::Datatype;
using nearkeep::Metric;

constexpr size_t BytesOf(Datatype type) {
  return type == Datatype::kFloat32 ? 4 : type == Datatype::kFloat16 ? 2 : 1;
}

template <class V, Metric metric, Datatype type>
inline void Step(const float* query, const uint8_t* row, typename V::Register& sum, typename V::Register& norm) {
  const typename V::Register q = V::LoadQuery(query);
  const typename V::Register x = V::template Load<type>(row);
  if constexpr (metric == Metric::kDot) {
    sum = V::MulAdd(q, x, sum);
    norm = V::MulAdd(x, x, norm);
  } else {
    const typename V::Register difference = V::Sub(q, x);
    if constexpr (metric == Metric::kSquaredL2) sum = V::MulAdd(difference, difference, sum);
    else sum = V::Add(sum, V::Abs(difference));
  }
}

template <class V, Metric metric, Datatype type>
void Approximate(const float* query, const uint8_t* const* rows, size_t count, size_t dims, float* sums, float* norms) {
  constexpr size_t width = V::kWidth;
  constexpr size_t bytes = BytesOf(type);
  for (size_t at = 0; at < count; ++at) {
    const uint8_t* row = rows[at];
    typename V::Register sum0 = V::Zero(), sum1 = V::Zero(), sum2 = V::Zero(), sum3 = V::Zero();
    typename V::Register norm0 = V::Zero(), norm1 = V::Zero(), norm2 = V::Zero(), norm3 = V::Zero();
    size_t i = 0;
    for (; i + 4 * width <= dims; i += 4 * width) {
      Step<V, metric, type>(query + i, row + i * bytes, sum0, norm0);
      Step<V, metric, type>(query + i + width, row + (i + width) * bytes, sum1, norm1);
      Step<V, metric, type>(query + i + 2 * width, row + (i + 2 * width) * bytes, sum2, norm2);
      Step<V, metric, type>(query + i + 3 * width, row + (i + 3 * width) * bytes, sum3, norm3);
    }
    for (; i + width <= dims; i += width) Step<V, metric, type>(query + i, row + i * bytes, sum0, norm0);
    if (i < dims) {  // the query is padded with zeros, so a row padded the same way adds nothing
      uint8_t tail[width * bytes];
      memset(tail, 0, sizeof tail);
      memcpy(tail, row + i * bytes, (dims - i) * bytes);
      Step<V, metric, type>(query + i, tail, sum1, norm1);
    }
    sums[at] = V::Sum(V::Add(V::Add(sum0, sum1), V::Add(sum2, sum3)));
    if constexpr (metric == Metric::kDot) norms[at] = V::Sum(V::Add(V::Add(norm0, norm1), V::Add(norm2, norm3)));
  }
}

template <class V>
constexpr nearkeep::Kernels MakeKernels(const char* name) {
  using M = Metric;
  using T = Datatype;
  return {name,
          4 * V::kWidth,
          {{Approximate<V, M::kDot, T::kFloat32>, Approximate<V, M::kDot, T::kFloat16>, Approximate<V, M::kDot, T::kUint8>},
           {Approximate<V, M::kSquaredL2, T::kFloat32>, Approximate<V, M::kSquaredL2, T::kFloat16>,
            Approximate<V, M::kSquaredL2, T::kUint8>},
           {Approximate<V, M::kL1, T::kFloat32>, Approximate<V, M::kL1, T::kFloat16>, Approximate<V, M::kL1, T::kUint8>}}};
}

}  // namespace
