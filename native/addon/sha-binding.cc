// compressSha, where this CPU has the instructions for it.
#include <node_api.h>

#include "../core/cpu.h"
#include "../core/sha256.h"
#include "handles.h"

namespace nearkeep {
#if defined(__x86_64__)
namespace {

constexpr size_t kStateWords = 8;

// compressSha(first, second | undefined, bytes)
napi_value Compress(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  napi_valuetype type = napi_undefined;
  if (arguments.Get(1) != nullptr) napi_typeof(env, arguments.Get(1), &type);
  const auto first = arguments.Words(arguments.Get(0), "first");
  const auto second = type == napi_undefined ? Arguments::View<uint32_t>{} : arguments.Words(arguments.Get(1), "second");
  const auto bytes = arguments.Bytes(arguments.Get(2), "bytes");
  if (arguments.ok() && (first.length != kStateWords || (type != napi_undefined && second.length != kStateWords))) arguments.Refuse("a state has 8 words");
  if (arguments.ok() && bytes.length % kShaBlockBytes != 0) arguments.Bad("bytes", "whole blocks");
  if (!arguments.ok()) return nullptr;
  CompressSha(const_cast<uint32_t*>(first.data), const_cast<uint32_t*>(second.data), bytes.data, bytes.length / kShaBlockBytes);
  return nullptr;
}

}  // namespace
#endif

void RegisterSha(napi_env env, napi_value exports) {
#if defined(__x86_64__)
  if (OffersSha()) Export(env, exports, "compressSha", Compress);
#else
  (void)env, (void)exports;
#endif
}

}  // namespace nearkeep
