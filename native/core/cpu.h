// Which kernels this CPU can run.
#pragma once
#include <string>
#include <vector>

#include "kernels.h"

namespace nearkeep {

// Best first; the last is always scalar.
const std::vector<const Kernels*>& OfferedKernels();

// Null where the name is unknown or this CPU cannot run it.
const Kernels* FindKernels(const std::string& name);

}  // namespace nearkeep
