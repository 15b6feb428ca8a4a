// The addon as JavaScript sees it (src/vector/addon.ts holds the types): checks every argument, turns results into promises and
// errors into exceptions. No logic.
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>

#include "../core/cpu.h"
#include "handles.h"

#if defined(NEARKEEP_JSON_FLOATS)
void RegisterJsonFloats(napi_env env, napi_value exports);  // json-binding.cc
#endif

namespace nearkeep {

void RegisterGraphs(napi_env env, napi_value exports);  // graph-binding.cc
void RegisterSha(napi_env env, napi_value exports);     // sha-binding.cc

namespace {

constexpr napi_type_tag kLockTag = {0x6e6561726b656570, 0x6c6f636b};

GrowingRows* OpenGrowingRows(napi_env env, Arguments& arguments, size_t at) {
  RowsHandle* handle = OpenRows(env, arguments, at);
  if (handle != nullptr && !handle->growing) arguments.Bad("rows", "rows in memory");
  return arguments.ok() ? &*handle->growing : nullptr;
}

const Kernels* KernelsArgument(Arguments& arguments, size_t at) {
  const std::string name = arguments.Text(at, "kernel");
  const Kernels* kernels = FindKernels(name);
  if (arguments.ok() && kernels == nullptr) arguments.Refuse("no kernel '" + name + "' for this CPU");
  return kernels;
}

// Three arguments: size, distance, datatype.
RowSpec SpecArguments(Arguments& arguments, size_t at) {
  RowSpec spec = {};
  spec.dims = static_cast<uint32_t>(arguments.Integer(at, "size", 1, kDimsMax));
  const std::string distance = arguments.Text(at + 1, "distance");
  if (distance == "Cosine" || distance == "Dot") spec.metric = Metric::kDot;
  else if (distance == "Euclid") spec.metric = Metric::kSquaredL2;
  else if (distance == "Manhattan") spec.metric = Metric::kL1;
  else arguments.Bad("distance", "Cosine, Dot, Euclid or Manhattan");
  const std::string datatype = arguments.Text(at + 2, "datatype");
  if (datatype == "float32") spec.datatype = Datatype::kFloat32;
  else if (datatype == "float16") spec.datatype = Datatype::kFloat16;
  else if (datatype == "uint8") spec.datatype = Datatype::kUint8;
  else arguments.Bad("datatype", "float32, float16 or uint8");
  spec.divides_by_length = distance == "Cosine" && spec.datatype == Datatype::kUint8;
  return spec;
}

napi_value MakeSystemError(napi_env env, int number, const std::string& path) {
  const char* code = number == ENOENT    ? "ENOENT"
                     : number == EACCES  ? "EACCES"
                     : number == EMFILE  ? "EMFILE"
                     : number == ENFILE  ? "ENFILE"
                     : number == ENOMEM  ? "ENOMEM"
                     : number == ENOTDIR ? "ENOTDIR"
                     : number == EISDIR  ? "EISDIR"
                     : number == EROFS   ? "EROFS"
                     : number == ENOSPC  ? "ENOSPC"
                     : number == ENOLCK  ? "ENOLCK"
                                         : "EIO";
  return MakeError(env, code, std::string(code) + ": " + strerror(number) + ", '" + path + "'");
}

// growRows(kernel, size, distance, datatype)
napi_value GrowRows(napi_env env, Arguments& arguments) {
  const Kernels* kernels = KernelsArgument(arguments, 0);
  const RowSpec spec = SpecArguments(arguments, 1);
  if (!arguments.ok()) return nullptr;
  auto handle = std::make_unique<RowsHandle>();
  handle->growing.emplace(spec, kernels);
  return Wrap(env, std::move(handle), kRowsTag);
}

class MapJob : public Job {
 public:
  MapJob(std::string path, uint64_t size_bytes) : path_(std::move(path)), size_bytes_(size_bytes) {}
  void Run(size_t, size_t) override { file_ = MappedFile::Open(path_, size_bytes_, &error_number_, &found_bytes_); }
  size_t Advance() override { return 0; }

  napi_value Result(napi_env env, const RowSpec& spec, const Kernels* kernels, uint64_t offset, uint32_t rows, napi_value* error) const {
    if (file_ == nullptr) {
      *error = error_number_ != 0 ? MakeSystemError(env, error_number_, path_)
                                  : MakeError(env, "ERR_SIZE", "has " + std::to_string(found_bytes_) + " bytes instead of " + std::to_string(size_bytes_));
      return nullptr;
    }
    auto handle = std::make_unique<RowsHandle>();
    handle->file = ViewOfFile(spec, kernels, file_, offset, rows);
    return Wrap(env, std::move(handle), kRowsTag);
  }

 private:
  const std::string path_;
  const uint64_t size_bytes_;
  std::shared_ptr<MappedFile> file_;
  int error_number_ = 0;
  uint64_t found_bytes_ = 0;
};

// mapRows(kernel, size, distance, datatype, path, dataOffset, rowCount, sizeBytes): Promise
napi_value MapRows(napi_env env, Arguments& arguments) {
  const Kernels* kernels = KernelsArgument(arguments, 0);
  const RowSpec spec = SpecArguments(arguments, 1);
  const std::string path = arguments.Text(4, "path");
  const uint64_t offset = arguments.Integer(5, "dataOffset", 0, kSafeInteger);
  const auto rows = static_cast<uint32_t>(arguments.Integer(6, "rowCount", 0, kRowsMax));
  const uint64_t size_bytes = arguments.Integer(7, "sizeBytes", 0, kSafeInteger);
  if (arguments.ok() && (offset > size_bytes || (size_bytes - offset) / spec.StrideBytes() < rows)) arguments.Refuse("the rows do not lie inside the file");
  if (!arguments.ok()) return nullptr;
  auto job = std::make_shared<MapJob>(path, size_bytes);
  return Environment::Of(env).StartRead(job, [=](napi_env at, napi_value* error) {
    return job->Result(at, spec, kernels, offset, rows, error);
  });
}

class ReadJob : public Job {
 public:
  ReadJob(int descriptor, uint8_t* target, size_t length, uint64_t offset) : descriptor_(descriptor), target_(target), length_(length), offset_(offset) {}
  void Run(size_t, size_t) override {
    while (done_ < length_) {
      const ssize_t got = pread(descriptor_, target_ + done_, std::min(length_ - done_, kReadBytesMax), static_cast<off_t>(offset_ + done_));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) error_number_ = errno;
      if (got <= 0) return;
      done_ += static_cast<size_t>(got);
    }
  }
  size_t Advance() override { return 0; }

  napi_value Result(napi_env env, napi_value* error) const {
    napi_value result = nullptr;
    if (error_number_ != 0) *error = MakeSystemError(env, error_number_, "read");
    else napi_create_double(env, static_cast<double>(done_), &result);
    return result;
  }

 private:
  static constexpr size_t kReadBytesMax = size_t{1} << 30;
  const int descriptor_;
  uint8_t* const target_;
  const size_t length_;
  const uint64_t offset_;
  size_t done_ = 0;
  int error_number_ = 0;
};

// readAt(descriptor, target, offset): Promise<number>; fewer bytes than the target has where the file ends. Neither may the file be closed
// nor the target be used before it settles.
napi_value ReadAt(napi_env env, Arguments& arguments) {
  const auto descriptor = static_cast<int>(arguments.Integer(0, "descriptor", 0, std::numeric_limits<int>::max()));
  const auto target = arguments.Bytes(arguments.Get(1), "target");
  const uint64_t offset = arguments.Integer(2, "offset", 0, kSafeInteger);
  napi_ref keep = nullptr;  // the target's memory
  if (!arguments.ok() || napi_create_reference(env, arguments.Get(1), 1, &keep) != napi_ok) return nullptr;
  auto job = std::make_shared<ReadJob>(descriptor, const_cast<uint8_t*>(target.data), target.length, offset);
  return Environment::Of(env).StartRead(job, [job, keep](napi_env at, napi_value* error) {
    napi_delete_reference(at, keep);
    return job->Result(at, error);
  });
}

// appendRows(rows, bytes): number of rows now
napi_value AppendRows(napi_env env, Arguments& arguments) {
  GrowingRows* growing = OpenGrowingRows(env, arguments, 0);
  const auto bytes = arguments.Bytes(arguments.Get(1), "bytes");
  if (!arguments.ok()) return nullptr;
  const size_t stride = growing->view().spec.StrideBytes();
  if (bytes.length % stride != 0) arguments.Bad("bytes", "whole rows");
  if (bytes.length / stride > kRowsMax - growing->view().row_count) arguments.Refuse("more than 2^32 - 1 rows");
  if (!arguments.ok()) return nullptr;
  growing->Append(bytes.data, static_cast<uint32_t>(bytes.length / stride));
  napi_value result;
  return napi_create_uint32(env, growing->view().row_count, &result) == napi_ok ? result : nullptr;
}

// copyRow(rows, row): Uint8Array
napi_value CopyRow(napi_env env, Arguments& arguments) {
  GrowingRows* growing = OpenGrowingRows(env, arguments, 0);
  if (growing == nullptr) return nullptr;
  const RowsView& view = growing->view();
  if (view.row_count == 0) arguments.Refuse("there are no rows");
  const auto row = static_cast<uint32_t>(arguments.Integer(1, "row", 0, view.row_count == 0 ? 0 : view.row_count - 1));
  if (!arguments.ok()) return nullptr;
  return MakeTypedArray(env, napi_uint8_array, view.Row(row), view.spec.StrideBytes());
}

// readRows(rows, first, target): fills target with whole rows from `first` on
napi_value ReadRows(napi_env env, Arguments& arguments) {
  GrowingRows* growing = OpenGrowingRows(env, arguments, 0);
  if (growing == nullptr) return nullptr;
  const RowsView& view = growing->view();
  const auto first = static_cast<uint32_t>(arguments.Integer(1, "first", 0, view.row_count));
  const auto target = arguments.Bytes(arguments.Get(2), "target");
  if (!arguments.ok()) return nullptr;
  const size_t stride = view.spec.StrideBytes();
  if (target.length % stride != 0) arguments.Bad("target", "whole rows");
  if (target.length / stride > view.row_count - first) arguments.Refuse("fewer rows than asked for");
  if (!arguments.ok()) return nullptr;
  view.Copy(first, static_cast<uint32_t>(target.length / stride), const_cast<uint8_t*>(target.data));
  return nullptr;
}

// memoryBytes(rows): number
napi_value MemoryBytes(napi_env env, Arguments& arguments) {
  GrowingRows* growing = OpenGrowingRows(env, arguments, 0);
  if (growing == nullptr) return nullptr;
  napi_value result;
  napi_create_double(env, static_cast<double>(growing->MemoryBytes()), &result);
  return result;
}

// closeRows(rows): no call with the handle afterwards
napi_value CloseRows(napi_env env, Arguments& arguments) {
  RowsHandle* handle = OpenRows(env, arguments, 0);
  if (handle == nullptr) return nullptr;
  handle->closed = true;
  handle->growing.reset();
  handle->file.reset();
  return nullptr;
}

// The scan of (rows, vectors, ks, bitmaps). Null where they are refused.
std::shared_ptr<ScanJob> ScanOf(napi_env env, Arguments& arguments, size_t workers) {
  RowsHandle* handle = OpenRows(env, arguments, 0);
  const uint32_t count = arguments.ArrayLength(1, "vectors");
  if (arguments.ok() && (arguments.ArrayLength(2, "ks") != count || arguments.ArrayLength(3, "bitmaps") != count)) arguments.Refuse("vectors, ks and bitmaps must have one length");
  std::vector<ScanQuery> queries;
  BitmapCopies bitmaps;
  for (uint32_t at = 0; at < count && arguments.ok(); ++at) {
    const RowsView& view = handle->view();
    ScanQuery query;
    query.vector = QueryArgument(arguments, arguments.Element(1, at), view.spec);
    query.k = static_cast<uint32_t>(arguments.IntegerOf(arguments.Element(2, at), "k", 0, kRowsMax));
    const auto allowed = arguments.Words(arguments.Element(3, at), "bitmap");
    const size_t words = WordsFor(view.row_count);
    if (arguments.ok() && allowed.length < words) arguments.Bad("bitmap", "as long as the rows");
    if (arguments.ok()) query.allowed = bitmaps.Copy(allowed.data, words);
    queries.push_back(std::move(query));
  }
  if (!arguments.ok()) return nullptr;
  return std::make_shared<ScanJob>(handle->view(), std::move(queries), workers);
}

// searchRows(rows, vectors, ks, bitmaps, ticket): Promise
napi_value SearchRows(napi_env env, Arguments& arguments) {
  const auto ticket = static_cast<uint32_t>(arguments.Integer(4, "ticket", 0, kRowsMax));
  Environment& environment = Environment::Of(env);
  const auto job = ScanOf(env, arguments, environment.workers());
  if (job == nullptr) return nullptr;
  return environment.Start(job, job->blocks(), ticket, [job](napi_env at, napi_value*) { return MakeHits(at, job->hits()); });
}

// searchRowsHere(rows, vectors, ks, bitmaps): hits or undefined
napi_value SearchRowsHere(napi_env env, Arguments& arguments) {
  const auto job = ScanOf(env, arguments, 1);
  if (job == nullptr) return nullptr;
  return Environment::Of(env).RunHere(*job, job->blocks(), [&job](napi_env at, napi_value*) { return MakeHits(at, job->hits()); });
}

// scoreRows(rows, vector, list): Promise<Float32Array>
napi_value ScoreRows(napi_env env, Arguments& arguments) {
  RowsHandle* handle = OpenRows(env, arguments, 0);
  if (handle == nullptr) return nullptr;
  std::vector<float> query = QueryArgument(arguments, arguments.Get(1), handle->view().spec);
  const auto list = arguments.Words(arguments.Get(2), "list");
  for (size_t i = 0; arguments.ok() && i < list.length; ++i) {
    if (list.data[i] >= handle->view().row_count) arguments.Bad("list", "of existing rows");
  }
  if (!arguments.ok()) return nullptr;
  auto job = std::make_shared<ScoreJob>(handle->view(), std::move(query), std::vector<uint32_t>(list.data, list.data + list.length));
  return Environment::Of(env).Start(job, job->blocks(), 0, [job](napi_env at, napi_value*) { return MakeFloats(at, job->scores()); });
}

// cancel(ticket)
napi_value Cancel(napi_env env, Arguments& arguments) {
  const auto ticket = static_cast<uint32_t>(arguments.Integer(0, "ticket", 1, kRowsMax));
  if (arguments.ok()) Environment::Of(env).Cancel(ticket);
  return nullptr;
}

// Pointers to the rows of packed bytes.
std::vector<const uint8_t*> PackedRows(Arguments& arguments, size_t at, const RowSpec& spec) {
  const auto bytes = arguments.Bytes(arguments.Get(at), "rows");
  if (!arguments.ok()) return {};
  if (bytes.length % spec.StrideBytes() != 0) arguments.Bad("rows", "whole rows");
  std::vector<const uint8_t*> rows;
  for (size_t from = 0; arguments.ok() && from < bytes.length; from += spec.StrideBytes()) rows.push_back(bytes.data + from);
  return rows;
}

// approximate(kernel, size, distance, datatype, vector, rows): { sums, norms }, on the calling thread
napi_value Approximate(napi_env env, Arguments& arguments) {
  const Kernels* kernels = KernelsArgument(arguments, 0);
  const RowSpec spec = SpecArguments(arguments, 1);
  const std::vector<float> query = QueryArgument(arguments, arguments.Get(4), spec);
  const std::vector<const uint8_t*> rows = PackedRows(arguments, 5, spec);
  if (!arguments.ok()) return nullptr;
  std::vector<float> sums(rows.size()), norms(rows.size());
  ApproximateScores(spec, *kernels, query.data(), rows.data(), rows.size(), sums.data(), norms.data());
  napi_value result;
  napi_create_object(env, &result);
  napi_set_named_property(env, result, "sums", MakeFloats(env, sums));
  napi_set_named_property(env, result, "norms", MakeFloats(env, norms));
  return result;
}

// exact(size, distance, datatype, vector, rows): Float32Array, on the calling thread
napi_value Exact(napi_env env, Arguments& arguments) {
  const RowSpec spec = SpecArguments(arguments, 0);
  const std::vector<float> query = QueryArgument(arguments, arguments.Get(3), spec);
  const std::vector<const uint8_t*> rows = PackedRows(arguments, 4, spec);
  if (!arguments.ok()) return nullptr;
  std::vector<float> scores(rows.size());
  ExactScores(spec, query.data(), rows.data(), rows.size(), scores.data());
  return MakeFloats(env, scores);
}

struct LockHandle {
  std::unique_ptr<FileLock> lock;
};

napi_value ReleaseLock(napi_env env, Arguments& arguments) {
  auto* handle = Unwrap<LockHandle>(env, arguments.self(), kLockTag);
  if (handle == nullptr) arguments.Bad("this", "a lock");
  else handle->lock.reset();
  return nullptr;
}

// lockFile(path): { release() } | undefined
napi_value LockFile(napi_env env, Arguments& arguments) {
  const std::string path = arguments.Text(0, "path");
  if (!arguments.ok()) return nullptr;
  int error_number = 0;
  auto lock = FileLock::Take(path, &error_number);
  if (lock == nullptr) {
    if (error_number != 0) napi_throw(env, MakeSystemError(env, error_number, path));
    return nullptr;
  }
  auto handle = std::make_unique<LockHandle>();
  handle->lock = std::move(lock);
  napi_value object = Wrap(env, std::move(handle), kLockTag), release;
  if (object == nullptr) return nullptr;
  napi_create_function(env, "release", NAPI_AUTO_LENGTH, Call<ReleaseLock>, nullptr, &release);
  napi_set_named_property(env, object, "release", release);
  return object;
}

void ExportKernels(napi_env env, napi_value exports) {
  napi_value list;
  napi_create_array(env, &list);
  uint32_t at = 0;
  for (const Kernels* kernels : OfferedKernels()) {
    napi_value entry, name, lanes;
    napi_create_object(env, &entry);
    napi_create_string_utf8(env, kernels->name, NAPI_AUTO_LENGTH, &name);
    napi_create_uint32(env, static_cast<uint32_t>(kernels->lanes), &lanes);
    napi_set_named_property(env, entry, "name", name);
    napi_set_named_property(env, entry, "lanes", lanes);
    napi_set_element(env, list, at++, entry);
  }
  napi_set_named_property(env, exports, "kernels", list);
}

}  // namespace
}  // namespace nearkeep

NAPI_MODULE_INIT() {
  using namespace nearkeep;
  if (!Environment::Create(env)) {
    napi_throw_error(env, "ERR_NATIVE", "the addon cannot be set up");
    return nullptr;
  }
  ExportKernels(env, exports);
  Export(env, exports, "growRows", Call<GrowRows>);
  Export(env, exports, "mapRows", Call<MapRows>);
  Export(env, exports, "readAt", Call<ReadAt>);
  Export(env, exports, "appendRows", Call<AppendRows>);
  Export(env, exports, "copyRow", Call<CopyRow>);
  Export(env, exports, "readRows", Call<ReadRows>);
  Export(env, exports, "memoryBytes", Call<MemoryBytes>);
  Export(env, exports, "closeRows", Call<CloseRows>);
  Export(env, exports, "searchRows", Call<SearchRows>);
  Export(env, exports, "searchRowsHere", Call<SearchRowsHere>);
  Export(env, exports, "scoreRows", Call<ScoreRows>);
  Export(env, exports, "cancel", Call<Cancel>);
  Export(env, exports, "approximate", Call<Approximate>);
  Export(env, exports, "exact", Call<Exact>);
  Export(env, exports, "lockFile", Call<LockFile>);
  RegisterGraphs(env, exports);
  RegisterSha(env, exports);
#if defined(NEARKEEP_JSON_FLOATS)
  RegisterJsonFloats(env, exports);
#endif
  return exports;
}
