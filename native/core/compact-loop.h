// The loops that all instruction sets share over product and binary codes. V is a vector type of theirs:
//   V::Register, V::kWidth (floats in a register, a divisor of 64), Zero(), Set(float), Load, Store, Add, Sub, Mul, Abs, Min,
//   Smallest(a) over the lanes, EqualMask(a, float): bit i where lane i is equal.
// As in kernel-loop.h everything has internal linkage and no standard C++ header is included.
#pragma once
#include <string.h>

#include "compact-kernels.h"

namespace {

using nearkeep::BitLayout;
using nearkeep::kCentroids;
using nearkeep::Metric;

template <class V, Metric metric>
inline typename V::Register AddTerm(typename V::Register sum, typename V::Register q, typename V::Register c) {
  if constexpr (metric == Metric::kDot) return V::Sub(sum, V::Mul(q, c));
  const typename V::Register difference = V::Sub(q, c);
  if constexpr (metric == Metric::kSquaredL2) return V::Add(sum, V::Mul(difference, difference));
  return V::Add(sum, V::Abs(difference));
}

template <class V, Metric metric>
void Table(const float* query, const float* centroids, size_t dims, float* distances) {
  constexpr size_t width = V::kWidth;
  for (size_t at = 0; at < kCentroids; at += 4 * width) {
    typename V::Register sum0 = V::Zero(), sum1 = V::Zero(), sum2 = V::Zero(), sum3 = V::Zero();
    for (size_t j = 0; j < dims; ++j) {
      const typename V::Register q = V::Set(query[j]);
      const float* from = centroids + j * kCentroids + at;
      sum0 = AddTerm<V, metric>(sum0, q, V::Load(from));
      sum1 = AddTerm<V, metric>(sum1, q, V::Load(from + width));
      sum2 = AddTerm<V, metric>(sum2, q, V::Load(from + 2 * width));
      sum3 = AddTerm<V, metric>(sum3, q, V::Load(from + 3 * width));
    }
    V::Store(distances + at, sum0);
    V::Store(distances + at + width, sum1);
    V::Store(distances + at + 2 * width, sum2);
    V::Store(distances + at + 3 * width, sum3);
  }
}

template <class V>
uint8_t Nearest(const float* point, const float* centroids, size_t dims, float* distance) {
  float distances[kCentroids];
  Table<V, Metric::kSquaredL2>(point, centroids, dims, distances);
  typename V::Register smallest = V::Load(distances);
  for (size_t at = V::kWidth; at < kCentroids; at += V::kWidth) smallest = V::Min(smallest, V::Load(distances + at));
  *distance = V::Smallest(smallest);
  for (size_t at = 0; at < kCentroids; at += V::kWidth) {
    const unsigned equal = V::EqualMask(V::Load(distances + at), *distance);
    if (equal != 0) return static_cast<uint8_t>(at + static_cast<size_t>(__builtin_ctz(equal)));
  }
  return 0;
}

[[maybe_unused]] inline float FoldLanes(float* lanes) {
  for (size_t half = 8; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

[[maybe_unused]] void Lookup(const float* table, const uint8_t* const* rows, size_t count, size_t parts, float* sums) {
  for (size_t at = 0; at < count; ++at) {
    const uint8_t* row = rows[at];
    float lanes[16] = {};
    size_t part = 0;
    for (; part + 16 <= parts; part += 16) {
      for (size_t lane = 0; lane < 16; ++lane) lanes[lane] += table[(part + lane) * kCentroids + row[part + lane]];
    }
    for (size_t lane = 0; part + lane < parts; ++lane) lanes[lane] += table[(part + lane) * kCentroids + row[part + lane]];
    sums[at] = FoldLanes(lanes);
  }
}

[[maybe_unused]] inline uint64_t LoadWord(const uint8_t* from, size_t at) {
  uint64_t word;
  memcpy(&word, from + 8 * at, sizeof word);
  return word;
}

// One run of words; the planes lie `plane_words` apart. `low` is the row's low or shared bits.
struct WordSums {
  template <BitLayout layout>
  static inline uint32_t Sum(const uint64_t* planes, size_t plane_count, size_t plane_words, const uint8_t* high, const uint8_t* low, size_t words) {
    uint64_t sum = 0;
    for (size_t w = 0; w < words; ++w) {
      const uint64_t high_word = LoadWord(high, w);
      uint64_t low_word = 0;
      if constexpr (layout == BitLayout::kTwoBits) low_word = LoadWord(low, w);
      if constexpr (layout == BitLayout::kSharedBit) low_word = ~(LoadWord(low, w) ^ high_word);
      uint64_t word_sum = 0;
      for (size_t plane = plane_count; plane-- > 0;) {
        const uint64_t q = planes[plane * plane_words + w];
        uint64_t bits = static_cast<uint64_t>(__builtin_popcountll(q & high_word));
        if constexpr (layout != BitLayout::kOneBit) bits = 2 * bits + static_cast<uint64_t>(__builtin_popcountll(q & low_word));
        word_sum = 2 * word_sum + bits;
      }
      sum += word_sum;
    }
    return static_cast<uint32_t>(sum);
  }
};

template <class S, BitLayout layout>
void Bits(const uint64_t* planes, size_t plane_count, size_t words, const uint8_t* const* rows, size_t count, uint32_t* sums) {
  for (size_t at = 0; at < count; ++at) {
    const uint8_t* row = rows[at];
    if constexpr (layout == BitLayout::kSharedBit) {
      const size_t half = words / 2;
      const uint8_t* shared = row + 8 * words;
      sums[at] = S::template Sum<layout>(planes, plane_count, words, row, shared, half) +
                 S::template Sum<layout>(planes + half, plane_count, words, row + 8 * half, shared, half);
    } else {
      sums[at] = S::template Sum<layout>(planes, plane_count, words, row, row + 8 * words, words);
    }
  }
}

template <class V, class S>
constexpr nearkeep::CompactKernels MakeCompactKernels(const char* name, nearkeep::LookupFn lookup) {
  return {name,
          {Table<V, Metric::kDot>, Table<V, Metric::kSquaredL2>, Table<V, Metric::kL1>},
          Nearest<V>,
          lookup,
          {Bits<S, BitLayout::kOneBit>, Bits<S, BitLayout::kSharedBit>, Bits<S, BitLayout::kTwoBits>}};
}

}  // namespace
