// Which kernels this CPU can run.
#pragma once
#include <string>
#include <vector>

#include "code-kernels.h"
#include "compact-kernels.h"
#include "kernels.h"

namespace nearkeep {

// Best first; the last is always scalar.
const std::vector<const Kernels*>& OfferedKernels();

// Null where the name is unknown or this CPU cannot run it.
const Kernels* FindKernels(const std::string& name);

// Integer kernels that this CPU can run, best first; the last is always scalar.
const std::vector<const CodeKernels*>& OfferedCodeKernels();

// Those that go with a table of float kernels.
const CodeKernels& CodeKernelsFor(const Kernels& kernels);

// Whether CompressSha may be called.
bool OffersSha();
// Kernels over product and binary codes that this CPU can run, best first; the last is always scalar.
const std::vector<const CompactKernels*>& OfferedCompactKernels();

// Those that go with a table of float kernels.
const CompactKernels& CompactKernelsFor(const Kernels& kernels);

}  // namespace nearkeep
