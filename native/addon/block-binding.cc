// Blocks of a graph as JavaScript sees them (src/vector/addon.ts holds the types).
#include "graph-handle.h"

namespace nearkeep {
namespace {

// Lists of rows from one array: list i is rows[starts[i]] … rows[starts[i + 1] - 1].
std::vector<std::vector<uint32_t>> ListsArgument(Arguments& arguments, size_t at, uint32_t row_count) {
  const auto rows = arguments.Words(arguments.Get(at), "rows");
  const auto starts = arguments.Words(arguments.Get(at + 1), "starts");
  std::vector<std::vector<uint32_t>> lists;
  bool fits = arguments.ok() && starts.length > 0 && starts.data[0] == 0 && starts.data[starts.length - 1] == rows.length;
  for (size_t i = 0; fits && i + 1 < starts.length; ++i) {
    const uint32_t from = starts.data[i], to = starts.data[i + 1];
    fits = from < to && to <= rows.length;
    for (uint32_t place = from; fits && place < to; ++place) fits = rows.data[place] < row_count && (place == from || rows.data[place] > rows.data[place - 1]);
    if (fits) lists.emplace_back(rows.data + from, rows.data + to);
  }
  if (!fits) arguments.Bad("rows", "lists of ascending rows");
  return lists;
}

// buildBlocks(rows, graph, m, efConstruct, threadsMax, lists, starts, ticket): Promise of another handle with the codes and links of
// `graph`, and these blocks
napi_value BuildBlocks(napi_env env, Arguments& arguments) {
  RowsHandle* rows = OpenRows(env, arguments, 0);
  GraphHandle* handle = OpenGraph(env, arguments, 1);
  if (handle != nullptr && (handle->codes == nullptr || handle->codes->rows() != rows->view().row_count)) arguments.Bad("graph", "a checked graph of these rows");
  const auto m = static_cast<uint32_t>(arguments.Integer(2, "m", 2, kLinksMax / 2));
  const auto ef = static_cast<uint32_t>(arguments.Integer(3, "efConstruct", 1, kRowsMax));
  const auto threads_max = static_cast<size_t>(arguments.Integer(4, "threadsMax", 0, kRowsMax));
  const auto ticket = static_cast<uint32_t>(arguments.Integer(7, "ticket", 0, kRowsMax));
  if (!arguments.ok()) return nullptr;
  auto lists = ListsArgument(arguments, 5, rows->view().row_count);
  if (!arguments.ok()) return nullptr;
  Environment& environment = Environment::Of(env);
  auto job = std::make_shared<BlockBuildJob>(rows->view(), HnswConfig{m, ef}, environment.workers(), handle->codes, std::move(lists));
  GraphHandle base = *handle;
  return environment.StartBackground(job, job->blocks(), threads_max, ticket, [job, base](napi_env at, napi_value*) {
    auto built = std::make_unique<GraphHandle>(base);
    const bool any = job->graphs()->size() > 0;
    built->blocks = any ? job->graphs() : nullptr;
    built->images[2] = any ? job->graphs()->image() : nullptr;
    return Wrap(at, std::move(built), kGraphTag);
  });
}

// findBlock(graph, allowed, count): the smallest block that holds all allowed rows, which are `count`, as [place, rows]; undefined where there is
// none
napi_value FindBlock(napi_env env, Arguments& arguments) {
  GraphHandle* handle = OpenGraph(env, arguments, 0);
  const auto allowed = arguments.Words(arguments.Get(1), "allowed");
  if (!arguments.ok() || handle->blocks == nullptr) return nullptr;
  const uint32_t rows = handle->codes->rows();
  if (allowed.length < WordsFor(rows)) arguments.Bad("allowed", "as long as the rows");
  const auto count = static_cast<uint32_t>(arguments.Integer(2, "count", 0, rows));
  if (!arguments.ok()) return nullptr;
  const size_t at = handle->blocks->FindCover(allowed.data, count);
  if (at == handle->blocks->size()) return nullptr;
  const uint32_t found[] = {static_cast<uint32_t>(at), handle->blocks->block(at).graph->rows()};
  return MakeTypedArray(env, napi_uint32_array, found, 2);
}

}  // namespace

void RegisterBlocks(napi_env env, napi_value exports) {
  Export(env, exports, "buildBlocks", Call<BuildBlocks>);
  Export(env, exports, "findBlock", Call<FindBlock>);
}

}  // namespace nearkeep
