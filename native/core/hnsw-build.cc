#include "hnsw-build.h"

#include <thread>

#include "hnsw-search.h"

namespace nearkeep {
namespace {

constexpr uint32_t kFirstPoints = 256;
// What a thread does before it looks for searches: a few milliseconds at most.
constexpr uint32_t kInsertRows = 16;
constexpr uint32_t kTakeRows = 32;
constexpr uint32_t kSamples = 64;
constexpr uint32_t kSampleK = 10;
constexpr uint32_t kSampleEf = 64;
constexpr float kSampleRecallMin = 0.95f;
constexpr uint64_t kNoEntry = ~uint64_t{0};
constexpr uint32_t kSpins = 64;

class NodeLock {
 public:
  explicit NodeLock(std::atomic<uint8_t>* byte) : byte_(byte) {
    // Yielding: with more threads than cores a pure spin may wait for a thread that cannot run.
    for (uint32_t spin = 0; byte_->exchange(1, std::memory_order_acquire) != 0; ++spin) {
      if (spin >= kSpins) std::this_thread::yield();
    }
  }
  ~NodeLock() { byte_->store(0, std::memory_order_release); }
  NodeLock(const NodeLock&) = delete;
  NodeLock& operator=(const NodeLock&) = delete;

 private:
  std::atomic<uint8_t>* const byte_;
};

struct BuildScorer {
  const NodeCodes& points;
  CodedPoint point;
  bool operator()(const uint32_t* nodes, size_t count, float* distances) const {
    points.Distances(point, nodes, count, distances);
    return true;
  }
  void Prefetch(uint32_t node) const { points.Prefetch(node); }
};

}  // namespace

HnswBuildJob::HnswBuildJob(RowsView view, const HnswConfig& config, size_t workers, GraphSeed seed)
    : view_(std::move(view)),
      config_(config),
      nodes_(view_.row_count),
      seed_(std::move(seed)),
      codes_(CodeTable::New(view_, 0)),
      writer_(codes_.get(), 0),
      points_(*codes_, nullptr),
      scratch_(workers),
      locks_(new std::atomic<uint8_t>[config.m == 0 ? 0 : nodes_]()) {}

HnswBuildJob::HnswBuildJob(RowsView view, const HnswConfig& config, size_t workers, std::shared_ptr<const CodeTable> codes, std::vector<uint32_t> rows)
    : view_(std::move(view)),
      config_(config),
      rows_(std::move(rows)),
      nodes_(static_cast<uint32_t>(rows_.size())),
      codes_(std::const_pointer_cast<CodeTable>(std::move(codes))),  // only read: the phases that write are passed over
      writer_(codes_.get(), 0),
      points_(*codes_, rows_.data()),
      graph_(std::make_shared<HnswGraph>(nodes_, config.m)),
      scratch_(workers),
      locks_(new std::atomic<uint8_t>[nodes_]()),
      phase_(Phase::kFirst) {}

size_t HnswBuildJob::BlocksOfSize(uint32_t size) const { return (size_t{nodes_} + size - 1) / size; }

void HnswBuildJob::Run(size_t block, size_t worker) {
  const auto at = static_cast<uint32_t>(block);
  switch (phase_) {
    case Phase::kPrepare:
      if (!writer_.Prepare(view_)) Fail(Failure::kUnreadable);
      if (config_.m != 0) Lay();
      return;
    case Phase::kEncode:
      if (!writer_.Encode(view_, at * kEncodeRows, std::min(nodes_, (at + 1) * kEncodeRows))) Fail(Failure::kUnreadable);
      return;
    case Phase::kFirst:
      for (uint32_t node = 0; node < std::min(nodes_, kFirstPoints); ++node) Insert(node, worker);
      return;
    case Phase::kTake:
      for (uint32_t old = at * kTakeRows; old < std::min(seed_.graph->rows(), (at + 1) * kTakeRows); ++old) Take(old);
      return;
    case Phase::kInsert:
      for (uint32_t i = at * kInsertRows; i < std::min(to_insert_, (at + 1) * kInsertRows) && !Stopped(); ++i) Insert(ToInsert(i), worker);
      return;
    case Phase::kReach: return Reach();
    case Phase::kSample: return Sample(block, worker);
    case Phase::kRecode:
      if (!maker_->Run(block)) Fail(Failure::kUnreadable);
      return;
  }
}

size_t HnswBuildJob::Advance() {
  if (!Stopped() && view_.file != nullptr && !view_.file->Intact()) Fail(Failure::kUnreadable);
  if (Stopped()) return 0;
  switch (phase_) {
    case Phase::kPrepare: {
      phase_ = Phase::kEncode;
      const size_t blocks = BlocksOfSize(kEncodeRows);
      if (blocks > 0) return blocks;
    }
      [[fallthrough]];
    case Phase::kEncode:
      if (writer_.unfit()) {
        outcome_ = BuildOutcome::kUnfit;
        return 0;
      }
      writer_.Finish();
      if (graph_ == nullptr) return Recode();
      phase_ = seed_.graph == nullptr ? Phase::kFirst : Phase::kTake;
      return seed_.graph == nullptr ? 1 : (size_t{seed_.graph->rows()} + kTakeRows - 1) / kTakeRows;
    case Phase::kFirst:
    case Phase::kTake: {
      const size_t blocks = BeginInsert();
      if (blocks > 0) return blocks;
    }
      [[fallthrough]];
    case Phase::kInsert: {
      const uint64_t entry = entry_.load();
      if (entry != kNoEntry) graph_->SetEntry(static_cast<uint32_t>(entry), static_cast<uint32_t>(entry >> 32));
      phase_ = Phase::kReach;
      return 1;
    }
    case Phase::kReach:
      if (!codes_->product()) return Recode();
      phase_ = Phase::kSample;
      sample_hits_.resize(std::min(kSamples, nodes_));
      return sample_hits_.size();
    case Phase::kSample:
      JudgeSample();
      return Recode();
    case Phase::kRecode: {
      const size_t blocks = maker_->Advance();
      if (blocks > 0) return blocks;
      walked_ = maker_->codes();
      maker_.reset();
      codes_.reset();
      return 0;
    }
  }
  return 0;
}

// The graph without links.
void HnswBuildJob::Lay() {
  if (seed_.graph != nullptr) seed_nodes_ = SeedNodes(seed_);
  if (seed_nodes_.count() >= kFirstPoints) {
    graph_ = std::make_shared<HnswGraph>(config_.m, seed_nodes_.Levels(seed_, nodes_, config_.m));
    return;
  }
  seed_ = {};  // too few to begin with
  seed_nodes_ = {};
  graph_ = std::make_shared<HnswGraph>(nodes_, config_.m);
}

// The lists of a node of the seed, as far as what they lead to is here. Writes no other node's.
void HnswBuildJob::Take(uint32_t old) {
  const uint32_t node = seed_nodes_.NodeOf(old);
  if (node == SeedNodes::kGone) return;
  SeedNodes::Links links;
  std::vector<Near> chosen;
  std::vector<float> distances;
  for (uint32_t level = 0; level <= graph_->Level(node); ++level) {
    seed_nodes_.Take(seed_, old, level, &links);
    if (links.holed) {
      links.kept.insert(links.kept.end(), links.beyond.begin(), links.beyond.end());
      distances.resize(links.kept.size());
      points_.Distances(points_.Point(node), links.kept.data(), links.kept.size(), distances.data());
      chosen.clear();
      for (size_t at = 0; at < links.kept.size(); ++at) chosen.push_back({distances[at], links.kept[at]});
      Choose(&chosen, graph_->Capacity(level));
      links.kept.clear();
      for (const Near& near : chosen) links.kept.push_back(near.node);
    }
    HnswGraph::Write(graph_->List(node, level), links.kept.data(), static_cast<uint32_t>(links.kept.size()));
  }
}

// Blocks of what is not linked yet.
size_t HnswBuildJob::BeginInsert() {
  phase_ = Phase::kInsert;
  if (seed_.graph == nullptr) {
    to_insert_ = nodes_ - std::min(nodes_, kFirstPoints);
  } else {
    to_insert_ = nodes_ - seed_nodes_.count();
    const uint32_t entry = seed_nodes_.Entry(seed_);
    entry_.store(uint64_t{graph_->Level(entry)} << 32 | entry);
  }
  return (size_t{to_insert_} + kInsertRows - 1) / kInsertRows;
}

uint32_t HnswBuildJob::ToInsert(uint32_t at) const {
  if (seed_.graph == nullptr) return kFirstPoints + at;
  return at < seed_.first ? at : at + seed_nodes_.count();
}

void HnswBuildJob::Insert(uint32_t node, size_t worker) {
  WalkScratch& scratch = scratch_[worker];
  const uint32_t level = graph_->Level(node);
  std::unique_lock<std::mutex> growing;
  uint64_t entry = entry_.load(std::memory_order_acquire);
  if (entry == kNoEntry || level > entry >> 32) {
    growing = std::unique_lock<std::mutex>(growing_);
    entry = entry_.load(std::memory_order_acquire);
    if (entry == kNoEntry) return entry_.store(uint64_t{level} << 32 | node, std::memory_order_release);
    if (level <= entry >> 32) growing.unlock();
  }
  const auto top = static_cast<uint32_t>(entry >> 32);
  BuildScorer scorer = {points_, points_.Point(node)};
  Near start = {0, static_cast<uint32_t>(entry)};
  scorer(&start.node, 1, &start.distance);
  const uint32_t first_level = std::min(level, top);
  Descend(*graph_, scorer, &start, top, first_level, &scratch);

  std::vector<std::vector<Near>> chosen(first_level + 1);
  std::vector<Near> starts = {start};
  for (uint32_t at = first_level + 1; at-- > 0;) {
    Walk<Filtering::kPlain>(*graph_, scorer, at, starts, config_.ef_construct, nullptr, [] { return false; }, &scratch);
    starts = scratch.found;
    chosen[at] = starts;
    chosen[at].erase(std::remove_if(chosen[at].begin(), chosen[at].end(), [node](const Near& near) { return near.node == node; }), chosen[at].end());
    LinkForward(node, at, &chosen[at], &scratch);
  }
  for (uint32_t at = first_level + 1; at-- > 0;) LinkBack(node, at, chosen[at]);
  if (growing.owns_lock()) entry_.store(uint64_t{level} << 32 | node, std::memory_order_release);
}

// Keeps at most `most`, nearest first; of two in one direction only the nearer: one is dropped that lies nearer to a kept one than to
// the point itself.
void HnswBuildJob::Choose(std::vector<Near>* candidates, size_t most) const {
  std::sort(candidates->begin(), candidates->end());
  if (candidates->size() <= 1) return;
  std::vector<uint32_t> kept;
  std::vector<float> distances(most);
  size_t count = 0;
  for (const Near candidate : *candidates) {
    if (count == most) break;
    points_.Distances(points_.Point(candidate.node), kept.data(), kept.size(), distances.data());
    if (std::any_of(distances.begin(), distances.begin() + static_cast<ptrdiff_t>(count), [&](float other) { return other < candidate.distance; })) continue;
    (*candidates)[count++] = candidate;
    kept.push_back(candidate.node);
  }
  candidates->resize(count);
}

void HnswBuildJob::LinkForward(uint32_t node, uint32_t level, std::vector<Near>* chosen, WalkScratch* scratch) {
  Choose(chosen, config_.m);
  uint32_t* list = graph_->List(node, level);
  const NodeLock lock(&locks_[node]);
  scratch->next.clear();
  for (const Near& near : *chosen) scratch->next.push_back(near.node);
  const uint32_t count = HnswGraph::Count(list);
  for (uint32_t at = 0; at < count; ++at) {  // another thread has linked to this point already
    const uint32_t other = HnswGraph::Link(list, at);
    if (std::find(scratch->next.begin(), scratch->next.end(), other) == scratch->next.end()) scratch->next.push_back(other);
  }
  const size_t kept = std::min<size_t>(scratch->next.size(), graph_->Capacity(level));
  HnswGraph::Write(list, scratch->next.data(), static_cast<uint32_t>(kept));
}

void HnswBuildJob::LinkBack(uint32_t node, uint32_t level, const std::vector<Near>& chosen) {
  const uint32_t capacity = graph_->Capacity(level);
  std::vector<Near> candidates;
  std::vector<uint32_t> nodes;
  std::vector<float> distances;
  for (const Near& near : chosen) {
    uint32_t* list = graph_->List(near.node, level);
    const NodeLock lock(&locks_[near.node]);
    const uint32_t count = HnswGraph::Count(list);
    nodes.clear();
    for (uint32_t at = 0; at < count; ++at) nodes.push_back(HnswGraph::Link(list, at));
    if (std::find(nodes.begin(), nodes.end(), node) != nodes.end()) continue;
    if (count < capacity) {
      HnswGraph::Append(list, node);
      continue;
    }
    distances.resize(count);
    points_.Distances(points_.Point(near.node), nodes.data(), count, distances.data());
    candidates.clear();
    candidates.push_back({near.distance, node});
    for (uint32_t at = 0; at < count; ++at) candidates.push_back({distances[at], nodes[at]});
    Choose(&candidates, capacity);
    nodes.clear();
    for (const Near& kept : candidates) nodes.push_back(kept.node);
    HnswGraph::Write(list, nodes.data(), static_cast<uint32_t>(nodes.size()));
  }
}

namespace {

// The tree of a walk along level 0: parents_[node] is where a node was first found from. Links that are not in it may go without
// anything being lost.
class ReachTree {
 public:
  explicit ReachTree(const HnswGraph& graph) : graph_(graph), parents_(graph.rows(), kUnseen) {
    if (graph.rows() == 0) return;
    parents_[graph.entry()] = graph.entry();
    Spread(graph.entry());
  }

  bool Has(uint32_t node) const { return parents_[node] != kUnseen; }

  // Makes `node` a child of `parent`, where the parent's list has room or a link to spare.
  bool Adopt(uint32_t parent, uint32_t node) {
    uint32_t* list = graph_.List(parent, 0);
    const uint32_t count = HnswGraph::Count(list);
    if (count < graph_.Capacity(0)) {
      HnswGraph::Append(list, node);
    } else {
      uint32_t spare = count;
      while (spare > 0 && IsTreeLink(parent, HnswGraph::Link(list, spare - 1))) --spare;  // from the farthest on
      if (spare == 0) return false;
      __atomic_store_n(list + spare, node, __ATOMIC_RELAXED);
    }
    parents_[node] = parent;
    Spread(node);
    return true;
  }

 private:
  static constexpr uint32_t kUnseen = ~uint32_t{0};

  bool IsTreeLink(uint32_t parent, uint32_t node) const { return parents_[node] == parent; }

  void Spread(uint32_t from) {
    std::vector<uint32_t> waiting = {from};
    while (!waiting.empty()) {
      const uint32_t node = waiting.back();
      waiting.pop_back();
      const uint32_t* list = graph_.List(node, 0);
      for (uint32_t at = 0; at < HnswGraph::Count(list); ++at) {
        const uint32_t next = HnswGraph::Link(list, at);
        if (parents_[next] != kUnseen) continue;
        parents_[next] = node;
        waiting.push_back(next);
      }
    }
  }

  const HnswGraph& graph_;
  std::vector<uint32_t> parents_;
};

}  // namespace

std::vector<uint32_t> FindStranded(const HnswGraph& graph) {
  const ReachTree tree(graph);
  std::vector<uint32_t> stranded;
  for (uint32_t node = 0; node < graph.rows(); ++node) {
    if (!tree.Has(node)) stranded.push_back(node);
  }
  return stranded;
}

// Links what cannot be reached to the nearest points that can.
void HnswBuildJob::Reach() {
  ReachTree tree(*graph_);
  WalkScratch& scratch = scratch_[0];
  for (uint32_t node = 0; node < nodes_ && !Stopped(); ++node) {
    if (tree.Has(node)) continue;
    ++stranded_;
    BuildScorer scorer = {points_, points_.Point(node)};
    Near start = {0, graph_->entry()};
    scorer(&start.node, 1, &start.distance);
    Walk<Filtering::kPlain>(*graph_, scorer, 0, {start}, std::max<size_t>(config_.ef_construct, 64), nullptr, [] { return false; }, &scratch);
    std::sort(scratch.found.begin(), scratch.found.end());
    bool adopted = false;
    for (size_t at = 0; at < scratch.found.size() && !adopted; ++at) adopted = tree.Adopt(scratch.found[at].node, node);
    // All near lists are full of links that others need; there is always one farther away, for lists hold far more than one link a point.
    for (uint32_t parent = 0; parent < nodes_ && !adopted; ++parent) adopted = tree.Has(parent) && tree.Adopt(parent, node);
  }
}

// All links are there: from now on the graph needs only the codes by which it is walked.
size_t HnswBuildJob::Recode() {
  if (outcome_ != BuildOutcome::kBuilt || config_.codes.kind == CodesKind::kInternal) {
    walked_ = codes_;
    return 0;
  }
  maker_ = NewCodesMaker(view_, config_.codes, codes_->product());
  phase_ = Phase::kRecode;
  return maker_->Begin();
}

void HnswBuildJob::Sample(size_t at, size_t worker) {
  const auto row = static_cast<uint32_t>(uint64_t{at} * nodes_ / sample_hits_.size());
  sample_hits_[at] = CountSampleHits(view_, *codes_, {graph_.get(), rows_.empty() ? nullptr : rows_.data(), view_.row_count}, row, kSampleK, kSampleEf, *this, &scratch_[worker]);
}

void HnswBuildJob::JudgeSample() {
  uint64_t hits = 0;
  for (const uint32_t one : sample_hits_) hits += one;
  const uint64_t wanted = uint64_t{std::min(kSampleK, nodes_)} * sample_hits_.size();
  sample_recall_ = wanted == 0 ? 1 : static_cast<float>(hits) / static_cast<float>(wanted);
  if (sample_recall_ < kSampleRecallMin) outcome_ = BuildOutcome::kMissed;
}

}  // namespace nearkeep
