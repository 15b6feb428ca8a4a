// Reads the arguments of a call and refuses what is wrong: the first that does not fit throws a TypeError into JavaScript, after which
// ok() is false and the others read as empty.
#pragma once
#include <node_api.h>

#include <string>
#include <vector>

namespace nearkeep {

class Arguments {
 public:
  static constexpr size_t kMax = 10;

  Arguments(napi_env env, napi_callback_info info) : env_(env), count_(kMax) {
    if (napi_get_cb_info(env, info, &count_, values_, &self_, nullptr) != napi_ok) Refuse("the call cannot be read");
  }

  bool ok() const { return ok_; }
  napi_value self() const { return self_; }
  napi_value Get(size_t at) const { return at < count_ ? values_[at] : nullptr; }

  void Refuse(const std::string& text) {
    if (ok_) napi_throw_type_error(env_, "ERR_INVALID_ARG", text.c_str());
    ok_ = false;
  }

  std::string Text(size_t at, const char* name) {
    size_t length = 0;
    if (!Has(at) || napi_get_value_string_utf8(env_, values_[at], nullptr, 0, &length) != napi_ok) return Bad(name, "a string"), "";
    std::string text(length + 1, '\0');
    napi_get_value_string_utf8(env_, values_[at], &text[0], length + 1, &length);
    text.resize(length);
    if (text.find('\0') != std::string::npos) Bad(name, "without NUL");
    return text;
  }

  double Number(size_t at, const char* name) {
    double number = 0;
    if (!Has(at) || napi_get_value_double(env_, values_[at], &number) != napi_ok) Bad(name, "a number");
    return number;
  }

  // max stays below 2^53.
  uint64_t Integer(size_t at, const char* name, uint64_t min, uint64_t max) { return IntegerOf(Has(at) ? values_[at] : nullptr, name, min, max); }

  uint64_t IntegerOf(napi_value value, const char* name, uint64_t min, uint64_t max) {
    double number = -1;
    if (value == nullptr || napi_get_value_double(env_, value, &number) != napi_ok || !(number >= static_cast<double>(min)) ||
        !(number <= static_cast<double>(max)) || number != static_cast<double>(static_cast<uint64_t>(number))) {
      Bad(name, ("an integer from " + std::to_string(min) + " to " + std::to_string(max)).c_str());
      return min;
    }
    return static_cast<uint64_t>(number);
  }

  template <class T>
  struct View {
    const T* data = nullptr;
    size_t length = 0;
  };

  View<float> Floats(napi_value value, const char* name) { return TypedArray<float>(value, name, napi_float32_array, "a Float32Array"); }
  View<uint32_t> Words(napi_value value, const char* name) { return TypedArray<uint32_t>(value, name, napi_uint32_array, "a Uint32Array"); }
  View<uint8_t> Bytes(napi_value value, const char* name) { return TypedArray<uint8_t>(value, name, napi_uint8_array, "a Uint8Array"); }

  // Length of an array; 0 after a refusal.
  uint32_t ArrayLength(size_t at, const char* name) {
    bool is_array = false;
    uint32_t length = 0;
    if (Has(at)) napi_is_array(env_, values_[at], &is_array);
    if (!is_array || napi_get_array_length(env_, values_[at], &length) != napi_ok) Bad(name, "an array");
    return length;
  }

  // Null where the element cannot be read.
  napi_value Element(size_t at, uint32_t index) {
    napi_value value = nullptr;
    return Has(at) && napi_get_element(env_, values_[at], index, &value) == napi_ok ? value : nullptr;
  }

  void Bad(const char* name, const char* wanted) { Refuse(std::string(name) + " must be " + wanted); }

 private:
  bool Has(size_t at) const { return ok_ && at < count_; }

  template <class T>
  View<T> TypedArray(napi_value value, const char* name, napi_typedarray_type wanted, const char* wanted_text) {
    View<T> view;
    napi_typedarray_type type;
    void* data = nullptr;
    bool is_typed = false;
    if (ok_ && value != nullptr) napi_is_typedarray(env_, value, &is_typed);
    if (!is_typed || napi_get_typedarray_info(env_, value, &type, &view.length, &data, nullptr, nullptr) != napi_ok || type != wanted) {
      Bad(name, wanted_text);
      return {};
    }
    view.data = static_cast<const T*>(data);
    return view;
  }

  const napi_env env_;
  napi_value values_[kMax];
  napi_value self_ = nullptr;
  size_t count_;
  bool ok_ = true;
};

}  // namespace nearkeep
