// Filter bits: row r is bit r & 31 of word r >> 5.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace nearkeep {

constexpr size_t WordsFor(size_t rows) { return (rows + 31) / 32; }

// Calls visit(row) for the set rows of [from, to), ascending. The bitmap has at least `to` bits.
template <class Visit>
void ForEachSet(const uint32_t* words, uint32_t from, uint32_t to, Visit visit) {
  if (from >= to) return;
  const uint32_t last = (to - 1) / 32;
  for (uint32_t at = from / 32; at <= last; ++at) {
    uint32_t word = words[at];
    if (at == from / 32) word &= ~uint32_t{0} << (from & 31);
    if (at == last) word &= ~uint32_t{0} >> (31 - ((to - 1) & 31));
    for (; word != 0; word &= word - 1) visit(at * 32 + static_cast<uint32_t>(__builtin_ctz(word)));
  }
}

}  // namespace nearkeep
