// Graphs as JavaScript sees them (src/vector/addon.ts holds the types).
//
// A graph is built, or its images are filled piece by piece from files and then checked; only after that it can be searched.
#include <algorithm>

#include "../core/bitmap.h"
#include "../core/hnsw-build.h"
#include "../core/hnsw-search.h"
#include "../core/walk-codes.h"
#include "graph-handle.h"

namespace nearkeep {
namespace {

constexpr uint32_t kCheckRows = 65536;
constexpr uint64_t kImageBytesMax = uint64_t{1} << 46;

napi_value MakeNumber(napi_env env, double number) {
  napi_value value;
  return napi_create_double(env, number, &value) == napi_ok ? value : nullptr;
}

napi_value MakeBuilt(napi_env env, const HnswBuildJob& job) {
  napi_value result, outcome;
  const char* const names[] = {"built", "unfit", "missed"};
  if (napi_create_object(env, &result) != napi_ok) return nullptr;
  napi_create_string_utf8(env, names[static_cast<size_t>(job.outcome())], NAPI_AUTO_LENGTH, &outcome);
  napi_set_named_property(env, result, "outcome", outcome);
  napi_set_named_property(env, result, "stranded", MakeNumber(env, job.stranded()));
  napi_set_named_property(env, result, "taken", MakeNumber(env, job.taken()));
  napi_set_named_property(env, result, "sampleRecall", MakeNumber(env, static_cast<double>(job.sample_recall())));
  if (job.outcome() != BuildOutcome::kBuilt) return result;
  auto handle = std::make_unique<GraphHandle>();
  handle->codes = job.codes();
  handle->graph = job.graph();
  handle->images[0] = job.codes()->bytes().image;
  if (job.graph() != nullptr) handle->images[1] = job.graph()->image();
  napi_value graph = Wrap(env, std::move(handle), kGraphTag);
  if (graph == nullptr) return nullptr;
  napi_set_named_property(env, result, "graph", graph);
  return result;
}

// Two numbers: kind of codes (0 internal, 1 scalar, 2 product, 3 binary) and its parameter: the quantile, the components of a part,
// or the encoding (0 one bit, 1 one and a half, 2 two).
CodesConfig CodesArguments(Arguments& arguments, size_t at) {
  CodesConfig config;
  config.kind = static_cast<CodesKind>(arguments.Integer(at, "codes", 0, 3));
  const double parameter = arguments.Number(at + 1, "parameter");
  const auto is_one_of = [parameter](std::initializer_list<double> allowed) { return std::find(allowed.begin(), allowed.end(), parameter) != allowed.end(); };
  const bool fits = config.kind == CodesKind::kInternal  ? parameter == 0
                    : config.kind == CodesKind::kScalar  ? parameter >= 0.5 && parameter <= 1
                    : config.kind == CodesKind::kProduct ? is_one_of({1, 2, 4, 8, 16})
                                                         : is_one_of({0, 1, 2});
  if (arguments.ok() && !fits) arguments.Bad("parameter", "one of these codes");
  if (!arguments.ok()) return {};
  if (config.kind == CodesKind::kScalar) config.quantile = static_cast<float>(parameter);
  else config.detail = static_cast<uint32_t>(parameter);
  return config;
}

// Three arguments: a graph, a bit for each of its rows that is one of `rows`, too, and which one the first of these is. Without a graph none.
GraphSeed SeedArguments(napi_env env, Arguments& arguments, size_t at, uint32_t m, uint32_t rows) {
  GraphSeed seed;
  napi_valuetype type = napi_undefined;
  if (arguments.Get(at) != nullptr) napi_typeof(env, arguments.Get(at), &type);
  if (!arguments.ok() || type == napi_undefined) return seed;
  GraphHandle* handle = OpenGraph(env, arguments, at);
  if (handle != nullptr && (handle->graph == nullptr || handle->graph->m() != m)) arguments.Bad("seed", "a graph with as many links");
  const auto live = arguments.Words(arguments.Get(at + 1), "live");
  seed.first = static_cast<uint32_t>(arguments.Integer(at + 2, "first", 0, rows));
  if (!arguments.ok()) return {};
  const size_t words = WordsFor(handle->graph->rows());
  if (live.length < words) return arguments.Bad("live", "as long as the seed's rows"), GraphSeed{};
  uint64_t count = 0;
  ForEachSet(live.data, 0, handle->graph->rows(), [&count](uint32_t) { ++count; });
  if (seed.first + count > rows) return arguments.Bad("live", "no more than the rows"), GraphSeed{};
  seed.graph = handle->graph;
  seed.live.assign(live.data, live.data + words);
  return seed;
}

// buildGraph(rows, m, efConstruct, codes, parameter, threadsMax, ticket, seed, live, first): m 0: codes alone.
// Promise<{ outcome, stranded, taken, sampleRecall, graph? }>
napi_value BuildGraph(napi_env env, Arguments& arguments) {
  RowsHandle* rows = OpenRows(env, arguments, 0);
  const auto m = static_cast<uint32_t>(arguments.Integer(1, "m", 0, kLinksMax / 2));
  if (arguments.ok() && m == 1) arguments.Bad("m", "0, or at least 2");
  const auto ef = static_cast<uint32_t>(arguments.Integer(2, "efConstruct", 1, kRowsMax));
  const CodesConfig codes = CodesArguments(arguments, 3);
  const auto threads_max = static_cast<size_t>(arguments.Integer(5, "threadsMax", 0, kRowsMax));
  const auto ticket = static_cast<uint32_t>(arguments.Integer(6, "ticket", 0, kRowsMax));
  GraphSeed seed = SeedArguments(env, arguments, 7, m, arguments.ok() ? rows->view().row_count : 0);
  if (!arguments.ok()) return nullptr;
  Environment& environment = Environment::Of(env);
  auto job = std::make_shared<HnswBuildJob>(rows->view(), HnswConfig{m, ef, codes}, environment.workers(), std::move(seed));
  return environment.StartBackground(job, job->blocks(), threads_max, ticket, [job](napi_env at, napi_value*) { return MakeBuilt(at, *job); });
}

// emptyGraph(codeBytes, graphBytes, blockBytes): a handle to fill; no codeBytes where checkGraph is to map them
napi_value EmptyGraph(napi_env env, Arguments& arguments) {
  const uint64_t code_bytes = arguments.Integer(0, "codeBytes", 0, kImageBytesMax);
  const uint64_t graph_bytes = arguments.Integer(1, "graphBytes", 0, kImageBytesMax);
  const uint64_t block_bytes = arguments.Integer(2, "blockBytes", 0, kImageBytesMax);
  if (!arguments.ok()) return nullptr;
  auto handle = std::make_unique<GraphHandle>();
  handle->images[0] = std::make_shared<Image>(code_bytes);
  if (graph_bytes > 0) handle->images[1] = std::make_shared<Image>(graph_bytes);
  if (block_bytes > 0) handle->images[2] = std::make_shared<Image>(block_bytes);
  return Wrap(env, std::move(handle), kGraphTag);
}

// The image that argument `at` names: 0 codes, 1 graph, 2 blocks. Null where there is none, too.
Image* ImageArgument(Arguments& arguments, size_t at, GraphHandle* handle) {
  const uint64_t part = arguments.Integer(at, "part", 0, kGraphParts - 1);
  return arguments.ok() ? handle->images[part].get() : nullptr;
}

uint64_t BytesOf(const Image* image) { return image == nullptr ? 0 : image->size_bytes(); }

// graphBytes(graph, part): number
napi_value GraphBytes(napi_env env, Arguments& arguments) {
  GraphHandle* handle = OpenGraph(env, arguments, 0);
  const Image* image = ImageArgument(arguments, 1, handle);
  return arguments.ok() ? MakeNumber(env, static_cast<double>(BytesOf(image))) : nullptr;
}

// graphFacts(graph): Float64Array, of a checked graph: its kind of codes (0 internal, 1 scalar, 2 product, 3 binary), bytes in memory,
// bytes of mapped codes, bytes of one record of the codes
napi_value GraphFacts(napi_env env, Arguments& arguments) {
  GraphHandle* handle = OpenGraph(env, arguments, 0);
  if (handle != nullptr && handle->codes == nullptr) arguments.Bad("graph", "a checked one");
  if (!arguments.ok()) return nullptr;
  size_t memory_bytes = handle->blocks == nullptr ? 0 : handle->blocks->IndexBytes();
  for (const auto& image : handle->images) memory_bytes += BytesOf(image.get());
  const double facts[] = {static_cast<double>(handle->codes->kind()), static_cast<double>(memory_bytes),
                          static_cast<double>(handle->codes->mapped_bytes()), static_cast<double>(handle->codes->bytes().header.stride)};
  return MakeTypedArray(env, napi_float64_array, facts, 4);
}

// readGraph(graph, part, offset, length): Uint8Array, a copy
napi_value ReadGraph(napi_env env, Arguments& arguments) {
  GraphHandle* handle = OpenGraph(env, arguments, 0);
  const Image* image = ImageArgument(arguments, 1, handle);
  const uint64_t offset = arguments.Integer(2, "offset", 0, BytesOf(image));
  const uint64_t length = arguments.Integer(3, "length", 0, BytesOf(image) - offset);
  if (arguments.ok() && image == nullptr) arguments.Bad("part", "of this graph");
  if (!arguments.ok()) return nullptr;
  return MakeTypedArray(env, napi_uint8_array, image->data() + offset, length);
}

// fillGraph(graph, part, offset, bytes)
napi_value FillGraph(napi_env env, Arguments& arguments) {
  GraphHandle* handle = OpenGraph(env, arguments, 0);
  if (handle != nullptr && handle->codes != nullptr) arguments.Refuse("the graph has been checked already");
  const Image* image = ImageArgument(arguments, 1, handle);
  const uint64_t offset = arguments.Integer(2, "offset", 0, BytesOf(image));
  const auto bytes = arguments.Bytes(arguments.Get(3), "bytes");
  if (arguments.ok() && bytes.length > BytesOf(image) - offset) arguments.Bad("bytes", "inside the image");
  if (!arguments.ok()) return nullptr;
  if (bytes.length > 0) memcpy(image->data() + offset, bytes.data, bytes.length);
  return nullptr;
}

// Codes that are to be mapped; without a path they are in memory.
struct CodeFile {
  std::string path;
  uint64_t offset, code_bytes, size_bytes;
};

// Proves that no search of the images can leave them.
class CheckJob : public Job {
 public:
  CheckJob(const RowsView& view, const GraphHandle& handle, CodeFile file)
      : spec_(view.spec), kernels_(*view.kernels), rows_(view.row_count), codes_image_(handle.images[0]), graph_image_(handle.images[1]), block_image_(handle.images[2]), file_(std::move(file)) {}

  void Run(size_t block, size_t) override {
    if (phase_ == 0) {
      const char* problem = nullptr;
      codes_ = OpenCodes(&problem);
      if (codes_ == nullptr) return Found("the codes' data", problem);
      if (graph_image_ != nullptr) graph_ = HnswGraph::Open(rows_, graph_image_, &problem);
      if (problem != nullptr) return Found("the graph's data", problem);
      if (block_image_ != nullptr) blocks_ = BlockGraphs::Open(rows_, block_image_, &problem);
      if (problem != nullptr) Found("the blocks' data", problem);
      return;
    }
    if (block >= WholeRuns()) {
      if (!blocks_->CheckLinks(block - WholeRuns())) leaves_ = true;
      return;
    }
    const auto from = static_cast<uint32_t>(block * kCheckRows);
    if (!graph_->Check(from, rows_ - from < kCheckRows ? rows_ : from + kCheckRows)) leaves_ = true;
  }

  size_t Advance() override {
    if (phase_++ > 0 || !problem_.empty()) {
      if (leaves_) Found("the graph's data", "has a link that leads outside");
      return 0;
    }
    return WholeRuns() + (blocks_ == nullptr ? 0 : blocks_->size());
  }

  const std::string& problem() const { return problem_; }
  const std::shared_ptr<const WalkCodes>& codes() const { return codes_; }
  const std::shared_ptr<const HnswGraph>& graph() const { return graph_; }
  const std::shared_ptr<const BlockGraphs>& blocks() const { return blocks_; }

 private:
  // Runs of nodes to check of the links over all rows.
  size_t WholeRuns() const { return graph_ == nullptr ? 0 : (size_t{rows_} + kCheckRows - 1) / kCheckRows; }

  std::shared_ptr<const WalkCodes> OpenCodes(const char** problem) const {
    CodeBytes bytes;
    if (file_.path.empty()) {
      bytes = CodeBytes::OfImage(spec_, rows_, codes_image_, problem);
    } else {
      int error_number = 0;
      uint64_t found_bytes = 0;
      auto mapped = MappedFile::Open(file_.path, file_.size_bytes, &error_number, &found_bytes);
      *problem = "cannot be mapped, or its file has another size";
      if (mapped == nullptr) return nullptr;
      bytes = CodeBytes::OfFile(spec_, rows_, std::move(mapped), file_.offset, file_.code_bytes, problem);
    }
    return bytes.image == nullptr ? nullptr : WalkCodes::Open(spec_, kernels_, bytes, problem);
  }

  void Found(const char* what, const char* problem) { problem_ = std::string(what) + " " + problem; }

  const RowSpec spec_;
  const Kernels& kernels_;
  const uint32_t rows_;
  const std::shared_ptr<Image> codes_image_, graph_image_, block_image_;
  const CodeFile file_;
  std::shared_ptr<const WalkCodes> codes_;
  std::shared_ptr<const HnswGraph> graph_;
  std::shared_ptr<const BlockGraphs> blocks_;
  size_t phase_ = 0;
  std::atomic<bool> leaves_{false};
  std::string problem_;
};

// checkGraph(rows, graph, path, dataOffset, codeBytes, sizeBytes): Promise; rejects with ERR_DAMAGED. With a path the codes are not
// those of the handle but `codeBytes` of that file from `dataOffset` on, and stay there.
napi_value CheckGraph(napi_env env, Arguments& arguments) {
  RowsHandle* rows = OpenRows(env, arguments, 0);
  GraphHandle* handle = OpenGraph(env, arguments, 1);
  CodeFile file = {arguments.Text(2, "path"), arguments.Integer(3, "dataOffset", 0, kSafeInteger), arguments.Integer(4, "codeBytes", 0, kImageBytesMax),
                   arguments.Integer(5, "sizeBytes", 0, kSafeInteger)};
  if (file.offset % 64 != 0) arguments.Bad("dataOffset", "a multiple of 64");
  if (handle != nullptr && handle->codes != nullptr) arguments.Refuse("the graph has been checked already");
  if (!arguments.ok()) return nullptr;
  auto job = std::make_shared<CheckJob>(rows->view(), *handle, std::move(file));
  napi_ref reference;  // the handle stays until the check has ended
  napi_create_reference(env, arguments.Get(1), 1, &reference);
  return Environment::Of(env).StartInput(job, [job, reference](napi_env at, napi_value* error) {
    napi_value object = nullptr;
    napi_get_reference_value(at, reference, &object);
    napi_delete_reference(at, reference);
    auto* checked = Unwrap<GraphHandle>(at, object, kGraphTag);
    if (!job->problem().empty()) {
      *error = MakeError(at, "ERR_DAMAGED", job->problem());
      return napi_value{nullptr};
    }
    checked->codes = job->codes();
    checked->images[0] = checked->codes->bytes().image;
    checked->graph = job->graph();
    checked->blocks = job->blocks();
    napi_value undefined;
    napi_get_undefined(at, &undefined);
    return undefined;
  });
}

constexpr size_t kSettings = 7;

// ef, rescored, filtering (0 none, 1 predicate, 2 two-hop, 3 no walk), whether distances are the rows' own, bits of a component of a
// query against binary codes (0 as stored, 4, 8), block (-1: none), whether true scores may end early.
GraphQuery QueryOf(Arguments& arguments, ScanQuery query, const GraphHandle& handle, const float* numbers) {
  GraphQuery one = {std::move(query), 0, 0, Filtering::kPlain, numbers[3] != 0};
  const bool counts = numbers[0] >= 0 && numbers[0] < 4.3e9f && numbers[1] >= 0 && numbers[1] < 4.3e9f;
  const bool known = numbers[2] == 0 || numbers[2] == 1 || numbers[2] == 2 || numbers[2] == 3;
  const bool bits = numbers[4] == 0 || numbers[4] == 4 || numbers[4] == 8;
  const size_t blocks = handle.blocks == nullptr ? 0 : handle.blocks->size();
  const bool placed = numbers[5] == -1 ? handle.graph != nullptr || numbers[2] == 3 : numbers[5] >= 0 && numbers[5] < static_cast<float>(blocks);
  if (!counts || !known || !bits || !placed) {
    arguments.Bad("settings", "ef, rescored, filtering, byRows, bits, block, early");
    return one;
  }
  one.ef = std::max<size_t>(static_cast<size_t>(numbers[0]), one.query.k);
  one.rescored = std::max<size_t>(static_cast<size_t>(numbers[1]), one.query.k);
  one.filtering = static_cast<Filtering>(static_cast<uint8_t>(numbers[2]));
  one.bits = numbers[4] == 0 ? QueryBits::kAsStored : numbers[4] == 4 ? QueryBits::kFour : QueryBits::kEight;
  if (numbers[5] >= 0) one.block = static_cast<uint32_t>(numbers[5]);
  one.early = numbers[6] != 0;
  return one;
}

// All answers in one buffer, which costs a search less than an object of arrays: words of four bytes, how many hits, evaluations and true
// scores each query has, then the rows of all queries and their scores.
napi_value MakeAnswers(napi_env env, const GraphSearchJob& job) {
  const std::vector<Hits>& hits = job.hits();
  size_t found = 0;
  for (const Hits& one : hits) found += one.rows.size();
  void* data = nullptr;
  napi_value buffer;
  if (napi_create_arraybuffer(env, (3 * hits.size() + 2 * found) * sizeof(uint32_t), &data, &buffer) != napi_ok) return nullptr;
  auto* const words = static_cast<uint32_t*>(data);
  uint32_t* rows = words + 3 * hits.size();
  uint32_t* scores = rows + found;
  for (size_t at = 0; at < hits.size(); ++at) {
    const Hits& one = hits[at];
    words[at] = static_cast<uint32_t>(one.rows.size());
    words[hits.size() + at] = job.evaluations()[at];
    words[2 * hits.size() + at] = job.rescored()[at];
    rows = std::copy(one.rows.begin(), one.rows.end(), rows);
    if (!one.scores.empty()) memcpy(scores, one.scores.data(), one.scores.size() * sizeof(float));
    scores += one.scores.size();
  }
  return buffer;
}

// The search of (rows, graph, vectors, ks, bitmaps, settings); settings: a Float32Array, seven numbers for each query. Null where they are
// refused.
std::shared_ptr<GraphSearchJob> GraphSearchOf(napi_env env, Arguments& arguments) {
  RowsHandle* rows = OpenRows(env, arguments, 0);
  GraphHandle* handle = OpenGraph(env, arguments, 1);
  if (handle != nullptr && (handle->codes == nullptr || handle->codes->rows() != rows->view().row_count)) arguments.Bad("graph", "a checked graph of these rows");
  const uint32_t count = arguments.ArrayLength(2, "vectors");
  const auto settings = arguments.Floats(arguments.Get(5), "settings");
  if (arguments.ok() && (arguments.ArrayLength(3, "ks") != count || arguments.ArrayLength(4, "bitmaps") != count || settings.length != size_t{count} * kSettings)) {
    arguments.Refuse("vectors, ks, bitmaps and settings must have one length");
  }
  std::vector<GraphQuery> queries;
  BitmapCopies bitmaps;
  for (uint32_t at = 0; at < count && arguments.ok(); ++at) {
    const RowsView& view = rows->view();
    ScanQuery query;
    query.vector = QueryArgument(arguments, arguments.Element(2, at), view.spec);
    query.k = static_cast<uint32_t>(arguments.IntegerOf(arguments.Element(3, at), "k", 0, kRowsMax));
    const auto allowed = arguments.Words(arguments.Element(4, at), "bitmap");
    const size_t words = WordsFor(view.row_count);
    if (arguments.ok() && allowed.length < words) arguments.Bad("bitmap", "as long as the rows");
    if (arguments.ok() && settings.data[at * kSettings + 2] != 0) query.allowed = bitmaps.Copy(allowed.data, words);
    if (arguments.ok()) queries.push_back(QueryOf(arguments, std::move(query), *handle, settings.data + at * kSettings));
  }
  if (!arguments.ok()) return nullptr;
  return std::make_shared<GraphSearchJob>(rows->view(), handle->codes, handle->graph, std::move(queries), handle->blocks);
}

// searchGraph(rows, graph, vectors, ks, bitmaps, settings, ticket): Promise<ArrayBuffer>
napi_value SearchGraph(napi_env env, Arguments& arguments) {
  const auto ticket = static_cast<uint32_t>(arguments.Integer(6, "ticket", 0, kRowsMax));
  const auto job = GraphSearchOf(env, arguments);
  if (job == nullptr) return nullptr;
  return Environment::Of(env).Start(job, job->blocks(), ticket, [job](napi_env at, napi_value*) { return MakeAnswers(at, *job); });
}

// searchGraphHere(rows, graph, vectors, ks, bitmaps, settings): ArrayBuffer or undefined
napi_value SearchGraphHere(napi_env env, Arguments& arguments) {
  const auto job = GraphSearchOf(env, arguments);
  if (job == nullptr) return nullptr;
  return Environment::Of(env).RunHere(*job, job->blocks(), [&job](napi_env at, napi_value*) { return MakeAnswers(at, *job); });
}

// closeGraph(graph): no call with the handle afterwards; searches under way keep what they read
napi_value CloseGraph(napi_env env, Arguments& arguments) {
  GraphHandle* handle = OpenGraph(env, arguments, 0);
  if (handle == nullptr) return nullptr;
  *handle = GraphHandle{};
  handle->closed = true;
  return nullptr;
}

}  // namespace

void RegisterGraphs(napi_env env, napi_value exports) {
  Export(env, exports, "buildGraph", Call<BuildGraph>);
  Export(env, exports, "emptyGraph", Call<EmptyGraph>);
  Export(env, exports, "graphBytes", Call<GraphBytes>);
  Export(env, exports, "graphFacts", Call<GraphFacts>);
  Export(env, exports, "readGraph", Call<ReadGraph>);
  Export(env, exports, "fillGraph", Call<FillGraph>);
  Export(env, exports, "checkGraph", Call<CheckGraph>);
  Export(env, exports, "searchGraph", Call<SearchGraph>);
  Export(env, exports, "searchGraphHere", Call<SearchGraphHere>);
  Export(env, exports, "closeGraph", Call<CloseGraph>);
  RegisterBlocks(env, exports);
}

}  // namespace nearkeep
