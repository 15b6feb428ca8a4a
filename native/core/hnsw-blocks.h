// Graphs over blocks of rows: the rows that share a value of a payload field. Where all rows that a filter allows lie in one block, a
// walk through the block's graph meets no other rows, so it stays connected and short however few of all rows they are.
//
// Which value a block stands for is nobody's business here: a block serves every set of rows that it holds, whatever the reason that
// they are allowed.
//
// Image, little-endian, which is also the data of a `block` file:
//     0  u32 rows (of the code table), u32 blocks; 56 bytes zero
//    64  blocks x (u64 bytes of the graph, u32 rows, u32 zero), zero-padded to a multiple of 64
//        for each block: rows x u32, ascending, node n is the n-th; zero-padded to a multiple of 64
//                        an image of hnsw-graph.h over so many rows; zero-padded to a multiple of 64
#pragma once
#include <vector>

#include "hnsw-build.h"

namespace nearkeep {

struct BlockGraph {
  const uint32_t* rows;  // by node
  std::shared_ptr<const HnswGraph> graph;
};

// Never changes.
class BlockGraphs {
 public:
  struct Part {
    const std::vector<uint32_t>* rows;  // ascending
    const HnswGraph* graph;
  };
  // Copies the parts into one image. `rows`: of the code table.
  static std::shared_ptr<BlockGraphs> Pack(uint32_t rows, const std::vector<Part>& parts);
  // Takes an image read from a file; call CheckLinks for every block, and only then search. Null, with *problem, where it does not fit
  // `rows` or is no such image.
  static std::shared_ptr<BlockGraphs> Open(uint32_t rows, std::shared_ptr<Image> image, const char** problem);
  // Whether all links of a block lead to its nodes.
  bool CheckLinks(size_t at) const { return blocks_[at].graph->Check(0, blocks_[at].graph->rows()); }

  size_t size() const { return blocks_.size(); }
  const BlockGraph& block(size_t at) const { return blocks_[at]; }
  // The smallest block that holds all rows of the bitmap; size() where there is none, or no row. The bitmap has a bit for each row, of which
  // `count` are set.
  size_t FindCover(const uint32_t* allowed, uint32_t count) const;
  const std::shared_ptr<Image>& image() const { return image_; }
  // Memory beside the image.
  size_t IndexBytes() const { return (first_.capacity() + of_rows_.capacity()) * sizeof(uint32_t) + blocks_.capacity() * sizeof(BlockGraph); }

 private:
  BlockGraphs(uint32_t rows, std::shared_ptr<Image> image) : rows_(rows), image_(std::move(image)) {}
  void IndexRows();
  bool Covers(size_t at, const uint32_t* allowed, uint32_t count) const;

  const uint32_t rows_;
  const std::shared_ptr<Image> image_;
  std::vector<BlockGraph> blocks_;
  // Which blocks hold row r: the places in of_rows_ from first_[r] to before first_[r + 1].
  std::vector<uint32_t> first_, of_rows_;
};

// Builds one block after another, each on all threads. Like every graph they are built by internal codes; where those of the rows are
// others, internal ones are made again first.
class BlockBuildJob : public Job {
 public:
  // `codes`: by which the blocks will be walked. `blocks`: lists of rows, ascending, at least one row each.
  BlockBuildJob(RowsView view, const HnswConfig& config, size_t workers, const std::shared_ptr<const WalkCodes>& codes, std::vector<std::vector<uint32_t>> blocks);
  size_t blocks() const { return 1; }
  void Run(size_t block, size_t worker) override;
  size_t Advance() override;

  // Once the job has ended without a failure. Blocks whose walks miss too much are not among them.
  const std::shared_ptr<BlockGraphs>& graphs() const { return graphs_; }

 private:
  void BeginNext();

  const RowsView view_;
  const HnswConfig config_;
  const size_t workers_;
  std::shared_ptr<const CodeTable> codes_;      // internal; null until they are made
  std::vector<std::vector<uint32_t>> waiting_;  // the next one last
  std::unique_ptr<HnswBuildJob> current_;       // a block, or codes alone; null behind the last
  struct Built {
    std::vector<uint32_t> rows;
    std::shared_ptr<const HnswGraph> graph;
  };
  std::vector<Built> built_;
  std::shared_ptr<BlockGraphs> graphs_;
};

}  // namespace nearkeep
