// The handle of a graph that JavaScript holds: codes of the rows of one file, links between all of them, and blocks of them with links
// of their own. Either kind of links may be missing.
#pragma once
#include "../core/hnsw-blocks.h"
#include "handles.h"

namespace nearkeep {

constexpr napi_type_tag kGraphTag = {0x6e6561726b656570, 0x6772617068};
constexpr size_t kGraphParts = 3;

struct GraphHandle {
  std::shared_ptr<const WalkCodes> codes;  // null until checked
  std::shared_ptr<const HnswGraph> graph;
  std::shared_ptr<const BlockGraphs> blocks;
  std::shared_ptr<Image> images[kGraphParts];  // codes (of mapped ones what lies before the records), graph, blocks; null where there is none
  bool closed = false;
};

inline GraphHandle* OpenGraph(napi_env env, Arguments& arguments, size_t at) {
  auto* handle = arguments.ok() ? Unwrap<GraphHandle>(env, arguments.Get(at), kGraphTag) : nullptr;
  if (handle == nullptr || handle->closed) arguments.Bad("graph", "an open handle of this addon");
  return arguments.ok() ? handle : nullptr;
}

void RegisterBlocks(napi_env env, napi_value exports);

}  // namespace nearkeep
