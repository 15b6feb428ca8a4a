#include "hnsw-blocks.h"

#include <string.h>

#include <algorithm>

#include "bitmap.h"

namespace nearkeep {
namespace {

struct Header {
  uint32_t rows, blocks;
  uint8_t zeros[56];
};
static_assert(sizeof(Header) == 64);

struct Entry {
  uint64_t graph_bytes;
  uint32_t rows, zero;
};
static_assert(sizeof(Entry) == 16);

// Rows of a bitmap whose blocks are looked up, before blocks are read that may hold all of them.
constexpr uint32_t kProbedRows = 64;

constexpr uint64_t Padded(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

std::shared_ptr<BlockGraphs> BlockGraphs::Pack(uint32_t rows, const std::vector<Part>& parts) {
  uint64_t bytes = sizeof(Header) + Padded(parts.size() * sizeof(Entry));
  for (const Part& part : parts) bytes += Padded(part.rows->size() * 4) + Padded(part.graph->image()->size_bytes());
  auto image = std::make_shared<Image>(bytes);
  const Header header = {rows, static_cast<uint32_t>(parts.size()), {}};
  memcpy(image->data(), &header, sizeof header);
  uint8_t* entries = image->data() + sizeof header;
  uint8_t* place = entries + Padded(parts.size() * sizeof(Entry));
  for (size_t at = 0; at < parts.size(); ++at) {
    const Part& part = parts[at];
    const Image& graph = *part.graph->image();
    const Entry entry = {graph.size_bytes(), static_cast<uint32_t>(part.rows->size()), 0};
    memcpy(entries + at * sizeof entry, &entry, sizeof entry);
    memcpy(place, part.rows->data(), part.rows->size() * 4);
    place += Padded(part.rows->size() * 4);
    memcpy(place, graph.data(), graph.size_bytes());
    place += Padded(graph.size_bytes());
  }
  const char* problem = nullptr;
  return Open(rows, std::move(image), &problem);
}

std::shared_ptr<BlockGraphs> BlockGraphs::Open(uint32_t rows, std::shared_ptr<Image> image, const char** problem) {
  *problem = nullptr;
  const uint64_t size = image->size_bytes();
  if (size < sizeof(Header)) return *problem = "is too short for a header", nullptr;
  Header header;
  memcpy(&header, image->data(), sizeof header);
  if (header.rows != rows) return *problem = "is of other rows", nullptr;
  uint64_t offset = sizeof(Header) + Padded(uint64_t{header.blocks} * sizeof(Entry));
  if (offset > size) return *problem = "is too short for its blocks", nullptr;
  std::shared_ptr<BlockGraphs> graphs(new BlockGraphs(rows, image));
  graphs->blocks_.reserve(header.blocks);
  for (uint32_t at = 0; at < header.blocks; ++at) {
    Entry entry;
    memcpy(&entry, image->data() + sizeof(Header) + size_t{at} * sizeof entry, sizeof entry);
    const uint64_t rows_bytes = Padded(uint64_t{entry.rows} * 4);
    if (entry.rows == 0 || entry.rows > rows || rows_bytes > size - offset) return *problem = "has a block of a size that cannot be", nullptr;
    const auto* of_nodes = reinterpret_cast<const uint32_t*>(image->data() + offset);
    for (uint32_t node = 0; node < entry.rows; ++node) {
      if (of_nodes[node] >= rows || (node > 0 && of_nodes[node] <= of_nodes[node - 1])) return *problem = "has a block with rows that are not in order", nullptr;
    }
    offset += rows_bytes;
    if (entry.graph_bytes > size - offset || Padded(entry.graph_bytes) > size - offset) return *problem = "has a block of a size that cannot be", nullptr;
    auto graph = HnswGraph::Open(entry.rows, Image::Part(*image, offset, entry.graph_bytes), problem);
    if (graph == nullptr) return nullptr;
    graphs->blocks_.push_back({of_nodes, std::move(graph)});
    offset += Padded(entry.graph_bytes);
  }
  if (offset != size) return *problem = "has another size than its blocks need", nullptr;
  graphs->IndexRows();
  return graphs;
}

void BlockGraphs::IndexRows() {
  if (blocks_.empty()) return;
  first_.resize(size_t{rows_} + 1);
  for (const BlockGraph& block : blocks_) {
    for (uint32_t node = 0; node < block.graph->rows(); ++node) ++first_[block.rows[node] + 1];
  }
  for (uint32_t row = 0; row < rows_; ++row) first_[row + 1] += first_[row];
  of_rows_.resize(first_[rows_]);
  std::vector<uint32_t> next(first_.begin(), first_.end() - 1);
  for (uint32_t at = 0; at < blocks_.size(); ++at) {
    for (uint32_t node = 0; node < blocks_[at].graph->rows(); ++node) of_rows_[next[blocks_[at].rows[node]]++] = at;
  }
}

size_t BlockGraphs::FindCover(const uint32_t* allowed, uint32_t count) const {
  if (blocks_.empty() || count == 0) return size();
  const auto blocks_of = [this](uint32_t row) { return std::pair(of_rows_.begin() + first_[row], of_rows_.begin() + first_[row + 1]); };
  // Where rows lie in order of their values, few blocks hold the last one; and few of these hold some more rows and not all.
  uint32_t last = rows_ - 1;
  while (last > 0 && !IsSet(allowed, last)) --last;
  const auto [begin, end] = blocks_of(last);
  std::vector<uint32_t> left(begin, end);
  uint32_t probed = 0;
  for (uint32_t word = 0; word <= last / 32 && probed < kProbedRows && !left.empty(); ++word) {
    if (allowed[word] == 0) continue;
    ForEachSet(allowed, word * 32, std::min(last, word * 32 + 32), [&](uint32_t row) {
      const auto [from, to] = blocks_of(row);
      left.erase(std::remove_if(left.begin(), left.end(), [from = from, to = to](uint32_t at) { return std::find(from, to, at) == to; }), left.end());
      ++probed;
    });
  }
  std::sort(left.begin(), left.end(), [this](uint32_t a, uint32_t b) { return blocks_[a].graph->rows() < blocks_[b].graph->rows(); });
  const auto cover = std::find_if(left.begin(), left.end(), [&](uint32_t at) { return Covers(at, allowed, count); });
  return cover == left.end() ? size() : *cover;
}

// Whether so many of its rows are allowed: then no other row is.
bool BlockGraphs::Covers(size_t at, const uint32_t* allowed, uint32_t count) const {
  const BlockGraph& block = blocks_[at];
  const uint32_t rows = block.graph->rows();
  if (rows < count) return false;
  uint32_t others = 0;
  for (uint32_t node = 0; node < rows; ++node) {
    others += !IsSet(allowed, block.rows[node]);
    if (others > rows - count) return false;
  }
  return true;
}

BlockBuildJob::BlockBuildJob(RowsView view, const HnswConfig& config, size_t workers, const std::shared_ptr<const WalkCodes>& codes, std::vector<std::vector<uint32_t>> blocks)
    : view_(std::move(view)), config_(config), workers_(workers), codes_(InternalCodes(codes)), waiting_(std::move(blocks)) {
  std::reverse(waiting_.begin(), waiting_.end());
  BeginNext();
}

void BlockBuildJob::BeginNext() {
  current_.reset();
  if (waiting_.empty()) return;
  if (codes_ == nullptr) {
    current_ = std::make_unique<HnswBuildJob>(view_, HnswConfig{0, config_.ef_construct}, workers_);
    return;
  }
  current_ = std::make_unique<HnswBuildJob>(view_, config_, workers_, codes_, std::move(waiting_.back()));
  waiting_.pop_back();
}

void BlockBuildJob::Run(size_t block, size_t worker) {
  if (current_ == nullptr) return;
  current_->Run(block, worker);
  if (current_->Stopped()) Fail(current_->failure());
}

size_t BlockBuildJob::Advance() {
  if (Stopped()) return 0;
  if (current_ != nullptr) {
    const size_t blocks = current_->Advance();
    if (current_->Stopped()) return Fail(current_->failure()), 0;
    if (blocks > 0) return blocks;
    if (codes_ == nullptr) codes_ = InternalCodes(current_->codes());
    else if (current_->outcome() == BuildOutcome::kBuilt) built_.push_back({current_->rows(), current_->graph()});
    if (codes_ == nullptr) waiting_.clear();  // unfit
    BeginNext();
    if (current_ != nullptr) return current_->blocks();
  }
  std::vector<BlockGraphs::Part> parts;
  for (const Built& one : built_) parts.push_back({&one.rows, one.graph.get()});
  graphs_ = BlockGraphs::Pack(view_.row_count, parts);
  built_.clear();
  return 0;
}

}  // namespace nearkeep
