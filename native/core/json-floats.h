// Lifts vectors, big integers and payload objects out of a JSON body in one pass, so that only a small rest is parsed into objects.
// The rules for where are those of src/vector/json-places.ts, the form of the result is drawn in src/vector/json-extractor.ts;
// wasm/json-floats.ts is the same algorithm, and fuzz/ compares the three.
//
// The pass proves strict JSON. On anything else, and on what is merely unusual, it gives up: the caller then reads the body with
// its own parser, whose answer counts. It never guesses.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace nearkeep {

struct LiftedJson {
  std::string skeleton;
  std::vector<float> floats;
  std::vector<uint32_t> rows;   // pairs of from and to in floats
  std::vector<uint32_t> texts;  // pairs of from and to in the body
};

// False: given up, *lifted is then of no use. `bytes` is valid UTF-8. Throws std::bad_alloc.
bool LiftJson(const uint8_t* bytes, size_t length, LiftedJson* lifted);

}  // namespace nearkeep
