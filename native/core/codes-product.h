// Product codes: a row is cut into parts of a few components, and a part is one byte, the nearest of 256 centroids.
//
// Image (header: code-image.h, detail = components of a part, the last part is padded with zeros):
//    64  centroids: by part: components of a part x 256 x f32, all first components first
//        rows x stride:  a byte for each part
//
// A query makes a table once: its distance to each centroid of each part. The distance to a row is the sum of one entry a part; the
// same for squared L2, L1 and products. Nothing has to be known about the rows' lengths.
#pragma once
#include "compact-kernels.h"
#include "walk-codes.h"

namespace nearkeep {

class ProductCodes : public WalkCodes {
 public:
  ProductCodes(const RowSpec& spec, const CompactKernels& kernels, CodeBytes bytes) : WalkCodes(spec, std::move(bytes)), kernels_(&kernels) {}
  std::unique_ptr<CodeQuery> Query(const float* query, QueryBits bits) const override;

 private:
  const CompactKernels* kernels_;
};

// Centroids are means: of a sample, in rounds. The same rows give the same centroids, whatever the threads.
std::unique_ptr<CodesMaker> NewProductMaker(const RowsView& view, uint32_t part_dims);

}  // namespace nearkeep
