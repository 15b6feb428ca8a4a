// The JSON extractor as JavaScript sees it (src/vector/json-extractor.ts holds the types):
//   liftJsonSync(body: Uint8Array): Parts | undefined        on the calling thread, for small bodies
//   liftJson(body: Uint8Array): Promise<Parts | undefined>   on a thread for input; the body must not change until it settles
// Parts: { skeleton, floats, rows, texts }, an ArrayBuffer each. undefined: given up.
#include <string.h>

#include <memory>
#include <new>

#include "../core/json-floats.h"
#include "arguments.h"
#include "promises.h"

namespace nearkeep {
namespace {

// Larger parts are handed over as they are; smaller ones are copied, which costs less than a finalizer.
constexpr size_t kCopiedBytesMax = 64 * 1024;

// Null where the body was given up on, or where memory did not suffice: the plain parser needs less.
std::shared_ptr<LiftedJson> Lift(const uint8_t* bytes, size_t length) {
  try {
    auto lifted = std::make_shared<LiftedJson>();
    return LiftJson(bytes, length, lifted.get()) ? lifted : nullptr;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

napi_value PartOf(napi_env env, const std::shared_ptr<LiftedJson>& owner, const void* data, size_t size_bytes) {
  napi_value buffer = nullptr;
  if (size_bytes > kCopiedBytesMax) {
    auto* const keep = new std::shared_ptr<LiftedJson>(owner);
    const auto release = [](napi_env, void*, void* hint) { delete static_cast<std::shared_ptr<LiftedJson>*>(hint); };
    if (napi_create_external_arraybuffer(env, const_cast<void*>(data), size_bytes, release, keep, &buffer) == napi_ok) return buffer;
    delete keep;  // a runtime that allows no foreign memory
  }
  void* copy = nullptr;
  if (napi_create_arraybuffer(env, size_bytes, &copy, &buffer) != napi_ok) return nullptr;
  if (size_bytes > 0) memcpy(copy, data, size_bytes);
  return buffer;
}

template <class T>
napi_value VectorPart(napi_env env, const std::shared_ptr<LiftedJson>& owner, const std::vector<T>& values) {
  return PartOf(env, owner, values.data(), values.size() * sizeof(T));
}

napi_value ResultOf(napi_env env, const std::shared_ptr<LiftedJson>& lifted) {
  napi_value result = nullptr;
  if (lifted == nullptr) {
    napi_get_undefined(env, &result);
    return result;
  }
  const struct {
    const char* name;
    napi_value value;
  } parts[] = {
      {"skeleton", PartOf(env, lifted, lifted->skeleton.data(), lifted->skeleton.size())},
      {"floats", VectorPart(env, lifted, lifted->floats)},
      {"rows", VectorPart(env, lifted, lifted->rows)},
      {"texts", VectorPart(env, lifted, lifted->texts)},
  };
  if (napi_create_object(env, &result) != napi_ok) return nullptr;
  for (const auto& part : parts) {
    if (part.value == nullptr || napi_set_named_property(env, result, part.name, part.value) != napi_ok) return nullptr;
  }
  return result;
}

class LiftJob : public Job {
 public:
  LiftJob(const uint8_t* bytes, size_t length) : bytes_(bytes), length_(length) {}
  void Run(size_t, size_t) override { lifted = Lift(bytes_, length_); }
  size_t Advance() override { return 0; }

  std::shared_ptr<LiftedJson> lifted;

 private:
  const uint8_t* const bytes_;
  const size_t length_;
};

napi_value LiftSync(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto body = arguments.Bytes(arguments.Get(0), "body");
  return arguments.ok() ? ResultOf(env, Lift(body.data, body.length)) : nullptr;
}

napi_value LiftAsync(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto body = arguments.Bytes(arguments.Get(0), "body");
  napi_ref keep;  // the body's memory, until the job has ended
  if (!arguments.ok() || napi_create_reference(env, arguments.Get(0), 1, &keep) != napi_ok) return nullptr;
  auto job = std::make_shared<LiftJob>(body.data, body.length);
  return Environment::Of(env).StartInput(job, [job, keep](napi_env settling, napi_value*) {
    napi_delete_reference(settling, keep);
    return ResultOf(settling, job->lifted);
  });
}

void Export(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

}  // namespace
}  // namespace nearkeep

void RegisterJsonFloats(napi_env env, napi_value exports) {
  nearkeep::Export(env, exports, "liftJsonSync", nearkeep::LiftSync);
  nearkeep::Export(env, exports, "liftJson", nearkeep::LiftAsync);
}
