// What the parts of the binding share: handles that JavaScript holds, arguments and results of searches.
#pragma once
#include <math.h>
#include <string.h>

#include <limits>
#include <memory>
#include <optional>

#include "../core/bitmap.h"
#include "../core/scan.h"
#include "arguments.h"
#include "promises.h"

namespace nearkeep {

constexpr uint64_t kDimsMax = 65536;
constexpr uint64_t kRowsMax = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kSafeInteger = (uint64_t{1} << 53) - 1;
constexpr napi_type_tag kRowsTag = {0x6e6561726b656570, 0x726f7773};

// Behind the handle that JavaScript holds. Jobs copy the view, so closing never takes memory from under them.
struct RowsHandle {
  std::optional<GrowingRows> growing;
  std::optional<RowsView> file;
  bool closed = false;

  const RowsView& view() const { return growing ? growing->view() : *file; }
};

template <class T>
napi_value Wrap(napi_env env, std::unique_ptr<T> owned, const napi_type_tag& tag) {
  napi_value object;
  if (napi_create_object(env, &object) != napi_ok || napi_type_tag_object(env, object, &tag) != napi_ok) return nullptr;
  const auto destroy = [](napi_env, void* data, void*) { delete static_cast<T*>(data); };
  if (napi_wrap(env, object, owned.get(), destroy, nullptr, nullptr) != napi_ok) return nullptr;
  owned.release();
  return object;
}

template <class T>
T* Unwrap(napi_env env, napi_value object, const napi_type_tag& tag) {
  bool matches = false;
  void* data = nullptr;
  napi_valuetype type = napi_undefined;
  if (object == nullptr || napi_typeof(env, object, &type) != napi_ok || type != napi_object) return nullptr;
  if (napi_check_object_type_tag(env, object, &tag, &matches) != napi_ok || !matches) return nullptr;
  return napi_unwrap(env, object, &data) == napi_ok ? static_cast<T*>(data) : nullptr;
}

inline RowsHandle* OpenRows(napi_env env, Arguments& arguments, size_t at) {
  auto* handle = arguments.ok() ? Unwrap<RowsHandle>(env, arguments.Get(at), kRowsTag) : nullptr;
  if (handle == nullptr || handle->closed) arguments.Bad("rows", "an open handle of this addon");
  return arguments.ok() ? handle : nullptr;
}

inline std::vector<float> QueryArgument(Arguments& arguments, napi_value value, const RowSpec& spec) {
  const auto query = arguments.Floats(value, "vector");
  if (!arguments.ok()) return {};
  if (query.length != spec.dims) arguments.Bad("vector", ("of " + std::to_string(spec.dims) + " components").c_str());
  for (size_t i = 0; arguments.ok() && i < query.length; ++i) {
    if (!isfinite(query.data[i])) arguments.Bad("vector", "finite");
  }
  return arguments.ok() ? PadQuery(query.data, query.length) : std::vector<float>();
}

template <class T>
napi_value MakeTypedArray(napi_env env, napi_typedarray_type type, const T* from, size_t length) {
  void* data = nullptr;
  napi_value buffer, array;
  if (napi_create_arraybuffer(env, length * sizeof(T), &data, &buffer) != napi_ok) return nullptr;
  if (length > 0) memcpy(data, from, length * sizeof(T));
  return napi_create_typedarray(env, type, length, buffer, 0, &array) == napi_ok ? array : nullptr;
}

inline napi_value MakeFloats(napi_env env, const std::vector<float>& from) {
  return MakeTypedArray(env, napi_float32_array, from.data(), from.size());
}

// One bitmap for neighbouring queries that share it: a batch often has one filter.
class BitmapCopies {
 public:
  std::shared_ptr<const std::vector<uint32_t>> Copy(const uint32_t* data, size_t words) {
    if (data != data_ || copy_ == nullptr) copy_ = std::make_shared<const std::vector<uint32_t>>(data, data + words);
    data_ = data;
    return copy_;
  }

 private:
  const uint32_t* data_ = nullptr;
  std::shared_ptr<const std::vector<uint32_t>> copy_;
};

inline napi_value MakeHits(napi_env env, const std::vector<Hits>& hits) {
  std::vector<uint32_t> rows, counts;
  std::vector<float> scores;
  for (const Hits& one : hits) {
    rows.insert(rows.end(), one.rows.begin(), one.rows.end());
    scores.insert(scores.end(), one.scores.begin(), one.scores.end());
    counts.push_back(static_cast<uint32_t>(one.rows.size()));
  }
  napi_value result;
  if (napi_create_object(env, &result) != napi_ok) return nullptr;
  const napi_value arrays[] = {MakeTypedArray(env, napi_uint32_array, rows.data(), rows.size()), MakeFloats(env, scores),
                               MakeTypedArray(env, napi_uint32_array, counts.data(), counts.size())};
  const char* const names[] = {"rows", "scores", "counts"};
  for (size_t i = 0; i < 3; ++i) {
    if (arrays[i] == nullptr || napi_set_named_property(env, result, names[i], arrays[i]) != napi_ok) return nullptr;
  }
  return result;
}

template <napi_value (*function)(napi_env, Arguments&)>
napi_value Call(napi_env env, napi_callback_info info) {
  try {
    Arguments arguments(env, info);
    return arguments.ok() ? function(env, arguments) : nullptr;
  } catch (const std::exception& error) {
    napi_throw_error(env, "ERR_NATIVE", error.what());
    return nullptr;
  }
}

inline void Export(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

}  // namespace nearkeep
