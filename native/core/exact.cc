#include "exact.h"

#include <math.h>

#include <limits>

#include "half.h"

namespace nearkeep {
namespace {

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "stored rows are little-endian and read as they are"
#endif

template <Datatype type>
double Value(const uint8_t* row, size_t at) {
  if constexpr (type == Datatype::kFloat32) {
    float value;
    memcpy(&value, row + at * 4, sizeof value);
    return value;
  } else if constexpr (type == Datatype::kFloat16) {
    uint16_t half;
    memcpy(&half, row + at * 2, sizeof half);
    return HalfToFloat(half);
  } else {
    return row[at];
  }
}

template <Metric metric>
double Term(double a, double b) {
  if constexpr (metric == Metric::kDot) return a * b;
  const double difference = a - b;
  if constexpr (metric == Metric::kSquaredL2) return difference * difference;
  return fabs(difference);
}

template <Metric metric>
float Finish(double sum) {
  const float score = static_cast<float>(metric == Metric::kSquaredL2 ? sqrt(sum) : sum);
  return isnan(score) ? std::numeric_limits<float>::quiet_NaN() : score;
}

// Four rows side by side: each sum keeps its order, but the CPU need not wait for one addition before the next.
template <Metric metric, Datatype type>
void Scores(size_t dims, const float* query, const uint8_t* const* rows, size_t count, float* scores) {
  size_t at = 0;
  for (; at + 4 <= count; at += 4) {
    const uint8_t *row0 = rows[at], *row1 = rows[at + 1], *row2 = rows[at + 2], *row3 = rows[at + 3];
    double sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    for (size_t i = 0; i < dims; ++i) {
      const double q = query[i];
      sum0 += Term<metric>(q, Value<type>(row0, i));
      sum1 += Term<metric>(q, Value<type>(row1, i));
      sum2 += Term<metric>(q, Value<type>(row2, i));
      sum3 += Term<metric>(q, Value<type>(row3, i));
    }
    scores[at] = Finish<metric>(sum0);
    scores[at + 1] = Finish<metric>(sum1);
    scores[at + 2] = Finish<metric>(sum2);
    scores[at + 3] = Finish<metric>(sum3);
  }
  for (; at < count; ++at) {
    double sum = 0;
    for (size_t i = 0; i < dims; ++i) sum += Term<metric>(query[i], Value<type>(rows[at], i));
    scores[at] = Finish<metric>(sum);
  }
}

void CosinesOfBytes(size_t dims, const float* query, const uint8_t* const* rows, size_t count, float* scores) {
  for (size_t at = 0; at < count; ++at) {
    double sum = 0;
    uint64_t squares = 0;
    for (size_t i = 0; i < dims; ++i) {
      const uint32_t value = rows[at][i];
      sum += static_cast<double>(query[i]) * value;
      squares += value * value;
    }
    scores[at] = squares == 0 ? 0.0f : static_cast<float>(sum / sqrt(static_cast<double>(squares)));
  }
}

template <Metric metric>
void ScoresOf(const RowSpec& spec, const float* query, const uint8_t* const* rows, size_t count, float* scores) {
  switch (spec.datatype) {
    case Datatype::kFloat32: return Scores<metric, Datatype::kFloat32>(spec.dims, query, rows, count, scores);
    case Datatype::kFloat16: return Scores<metric, Datatype::kFloat16>(spec.dims, query, rows, count, scores);
    case Datatype::kUint8: return Scores<metric, Datatype::kUint8>(spec.dims, query, rows, count, scores);
  }
}

}  // namespace

float ComponentOf(Datatype datatype, const uint8_t* row, size_t at) {
  switch (datatype) {
    case Datatype::kFloat32: return static_cast<float>(Value<Datatype::kFloat32>(row, at));
    case Datatype::kFloat16: return static_cast<float>(Value<Datatype::kFloat16>(row, at));
    case Datatype::kUint8: return static_cast<float>(Value<Datatype::kUint8>(row, at));
  }
  return 0;
}

void ExactScores(const RowSpec& spec, const float* query, const uint8_t* const* rows, size_t count, float* scores) {
  if (spec.divides_by_length) return CosinesOfBytes(spec.dims, query, rows, count, scores);
  switch (spec.metric) {
    case Metric::kDot: return ScoresOf<Metric::kDot>(spec, query, rows, count, scores);
    case Metric::kSquaredL2: return ScoresOf<Metric::kSquaredL2>(spec, query, rows, count, scores);
    case Metric::kL1: return ScoresOf<Metric::kL1>(spec, query, rows, count, scores);
  }
}

}  // namespace nearkeep
