// Searches on the calling thread: the same answers as on the threads of a pool, and no wait for the disk.
#include "graph-cases.h"
#include "temporary-file.h"

namespace {

using namespace graph_cases;

constexpr uint32_t kRows = 3000;
constexpr size_t kRowsOffset = 4096;

struct Searched {
  Pool pool{2};
  SpecCase one = AllSpecs(96)[0];
  Clusters clusters{83, 96, 20};
  GrowingRows rows = DrawRows(one, clusters, kRows);
  std::shared_ptr<HnswBuildJob> built = Build(pool, rows.view());
  std::vector<GraphQuery> queries;
  size_t file_bytes = kRowsOffset + kRows * one.spec.StrideBytes();

  Searched() {
    for (int i = 0; i < 20; ++i) queries.push_back({{DrawQuery(one, clusters), 10, nullptr}, 40, 40, Filtering::kPlain, false});
  }
  std::shared_ptr<GraphSearchJob> Job(const RowsView& view) { return std::make_shared<GraphSearchJob>(view, built->codes(), built->graph(), queries); }
  void RunOnPool(const std::shared_ptr<GraphSearchJob>& job) {
    RunToEnd([&](auto done) { pool.Submit(job, job->blocks(), done); });
  }
  bool AnswersOf(const GraphSearchJob& job, const std::vector<Hits>& wanted) {
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (job.hits()[i].rows != wanted[i].rows || job.hits()[i].scores != wanted[i].scores || job.evaluations()[i] == 0 || job.rescored()[i] < 10) return false;
    }
    return job.failure() == Failure::kNone && !wanted.empty();
  }
  void Fill(TemporaryFile* file) {
    std::vector<uint8_t> bytes(kRows * one.spec.StrideBytes());
    rows.view().Copy(0, kRows, bytes.data());
    file->Write(bytes.data(), bytes.size(), kRowsOffset);
  }
  RowsView ViewOf(const TemporaryFile& file) { return ViewOfFile(one.spec, OfferedKernels().front(), file.Map(file_bytes), kRowsOffset, kRows); }
};

TEST(a_search_here_answers_as_on_the_pool) {
  Searched searched;
  const auto wanted = Search(searched.pool, searched.rows.view(), *searched.built, searched.queries);
  const auto in_memory = searched.Job(searched.rows.view());
  CHECK(in_memory->RunHere(searched.queries.size()) && searched.AnswersOf(*in_memory, wanted));
  TemporaryFile file;
  searched.Fill(&file);
  const auto cached = searched.Job(searched.ViewOf(file));  // what has just been written is in memory
  CHECK(cached->RunHere(searched.queries.size()) && searched.AnswersOf(*cached, wanted));
}

TEST(a_search_that_would_wait_for_the_disk_is_not_done_here) {
  Searched searched;
  const auto wanted = Search(searched.pool, searched.rows.view(), *searched.built, searched.queries);
  TemporaryFile file;
  searched.Fill(&file);
  const bool evicted = file.Evict();
  const RowsView view = searched.ViewOf(file);
  if (evicted) {
    CHECK(!view.file->Resident(view.Row(kRows / 2), searched.one.spec.StrideBytes()));
    const auto job = searched.Job(view);
    CHECK(!job->RunHere(searched.queries.size()) && job->failure() == Failure::kWouldWait);
    CHECK(!view.file->Resident(view.Row(kRows / 2), searched.one.spec.StrideBytes()));
  }
  const auto on_pool = searched.Job(view);
  searched.RunOnPool(on_pool);
  CHECK(searched.AnswersOf(*on_pool, wanted));
  const auto again = searched.Job(view);
  CHECK(again->RunHere(searched.queries.size()) && searched.AnswersOf(*again, wanted));
}

TEST(a_search_here_leaves_walks_by_mapped_bytes_and_cut_files_to_the_pool) {
  Searched searched;
  TemporaryFile file;
  searched.Fill(&file);
  const RowsView view = searched.ViewOf(file);
  searched.queries[7].by_rows = true;
  const auto by_rows = searched.Job(view);
  CHECK(!by_rows->RunHere(searched.queries.size()) && by_rows->failure() == Failure::kWouldWait);
  const auto in_memory = searched.Job(searched.rows.view());
  CHECK(in_memory->RunHere(searched.queries.size()));
  searched.queries[7].by_rows = false;

  const std::shared_ptr<Image> image = searched.built->codes()->bytes().image;
  TemporaryFile code_file;
  code_file.Write(image->data(), image->size_bytes(), 0);
  const char* problem = nullptr;
  const CodeBytes bytes = CodeBytes::OfFile(view.spec, kRows, code_file.Map(image->size_bytes()), 0, image->size_bytes(), &problem);
  const auto codes = WalkCodes::Open(view.spec, *view.kernels, bytes, &problem);
  CHECK(codes != nullptr);
  GraphSearchJob mapped(view, codes, searched.built->graph(), searched.queries);
  CHECK(!mapped.RunHere(searched.queries.size()) && mapped.failure() == Failure::kWouldWait);

  file.Cut(kRowsOffset);
  const auto cut = searched.Job(view);
  CHECK(!cut->RunHere(searched.queries.size()));
  const auto on_pool = searched.Job(view);
  searched.RunOnPool(on_pool);
  CHECK(on_pool->failure() == Failure::kUnreadable);
}

TEST(a_scan_here_answers_as_on_the_pool_and_does_not_wait_for_the_disk) {
  Searched searched;
  TemporaryFile file;
  searched.Fill(&file);
  const bool evicted = file.Evict();
  const RowsView view = searched.ViewOf(file);
  auto some = std::make_shared<std::vector<uint32_t>>(WordsFor(kRows));
  for (uint32_t row = 0; row < kRows; row += 7) (*some)[row / 32] |= uint32_t{1} << (row & 31);
  const auto scan_of = [&](const RowsView& of, size_t workers) {
    return std::make_shared<ScanJob>(of, std::vector<ScanQuery>{{searched.queries[0].query.vector, 10, some}, {searched.queries[1].query.vector, 3, some}}, workers);
  };
  const auto in_memory = scan_of(searched.rows.view(), 1);
  CHECK(in_memory->RunHere(in_memory->blocks()) && in_memory->hits()[0].rows.size() == 10 && in_memory->hits()[1].rows.size() == 3);
  const auto cold = scan_of(view, 1);
  CHECK(!evicted || (!cold->RunHere(cold->blocks()) && cold->failure() == Failure::kWouldWait));
  const auto same = [&](const ScanJob& job) { return job.hits()[0].rows == in_memory->hits()[0].rows && job.hits()[1].scores == in_memory->hits()[1].scores; };
  const auto on_pool = scan_of(view, searched.pool.threads());
  RunToEnd([&](auto done) { searched.pool.Submit(on_pool, on_pool->blocks(), done); });
  CHECK(on_pool->failure() == Failure::kNone && same(*on_pool));
  const auto warm = scan_of(view, 1);
  CHECK(warm->RunHere(warm->blocks()) && same(*warm));
}

}  // namespace
