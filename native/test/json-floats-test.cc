// The JSON extractor, for sanitizers above all: cut, mutated and deeply nested bodies, each in a heap block of its exact size so
// that one byte read too far is seen; and numbers against strtod.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "../core/decimal.h"
#include "../core/json-floats.h"
#include "check.h"

namespace {

using nearkeep::LiftedJson;

void Check(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

uint64_t random_state = 88172645463325252u;

uint64_t Random() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

// Checks what must hold of any result, and answers whether there is one.
bool Lift(const std::string& text, LiftedJson* lifted) {
  const std::unique_ptr<uint8_t[]> exact(new uint8_t[text.size()]);
  memcpy(exact.get(), text.data(), text.size());
  *lifted = LiftedJson();
  if (!nearkeep::LiftJson(exact.get(), text.size(), lifted)) return false;
  const std::string body = text.substr(0, 200);
  Check(lifted->rows.size() % 2 == 0 && lifted->texts.size() % 2 == 0, "spans are pairs: " + body);
  uint32_t end = 0;
  for (size_t at = 0; at < lifted->rows.size(); at += 2) {
    Check(lifted->rows[at] == end && lifted->rows[at + 1] >= end + 16, "rows follow one another: " + body);
    end = lifted->rows[at + 1];
  }
  Check(end == lifted->floats.size(), "rows cover the floats: " + body);
  bool finite = true;
  for (const float value : lifted->floats) finite = finite && std::isfinite(value);
  Check(finite, "only finite values are lifted: " + body);
  for (size_t at = 0; at < lifted->texts.size(); at += 2) {
    Check(lifted->texts[at] < lifted->texts[at + 1] && lifted->texts[at + 1] <= text.size(), "texts lie in the body: " + body);
  }
  return true;
}

std::string Repeated(const std::string& text, size_t count) {
  std::string result;
  for (size_t at = 0; at < count; at++) result += text;
  return result;
}

std::string Numbers(size_t count) {
  std::string result = "-0.5e-1";
  for (size_t at = 1; at < count; at++) result += ", " + std::to_string(at) + ".25";
  return result;
}

const std::string& Sample() {
  static const std::string sample =
      "{\"points\":[ {\"id\":18446744073709551615,\"vector\":[" + Numbers(20) + "],\"payload\":{\"a\\u00e9\\\"\":[1,2,{\"b\":null}],\"c\":\"\\\\\"}},\n"
      "{\"id\":\"x\\ud83d\\ude00\",\"vector\":{\"sparse\":{\"indices\":[1,2],\"values\":[" + Numbers(16) + "]},\"multi\":[[" + Numbers(17) + "],[true]]},"
      "\"payload\":{}}],\"filter\":{\"must\":[{\"has_id\":[-9007199254740993,1]}]},\"batch\":{\"payloads\":[{},null]},\"query\":{\"nearest\":[" +
      Numbers(33) + "]}}";
  return sample;
}

}  // namespace

TEST(json_lifts_a_sample) {
  LiftedJson lifted;
  Check(Lift(Sample(), &lifted), "the sample is lifted");
  const std::string wanted =
      "{\"points\":[ {\"id\":\"\\bi0\",\"vector\":\"\\bf0\",\"payload\":\"\\bp1\"},\n"
      "{\"id\":\"x\\ud83d\\ude00\",\"vector\":{\"sparse\":{\"indices\":[1,2],\"values\":\"\\bf1\"},\"multi\":[\"\\bf2\",[true]]},"
      "\"payload\":\"\\bp2\"}],\"filter\":{\"must\":[{\"has_id\":[\"\\bi3\",1]}]},\"batch\":{\"payloads\":[\"\\bp4\",null]},\"query\":{\"nearest\":\"\\bf3\"}}";
  Check(lifted.skeleton == wanted, "the skeleton is\n" + wanted + "\nnot\n" + lifted.skeleton);
  Check(lifted.floats.size() == 20 + 16 + 17 + 33 && lifted.floats[0] == -0.05f && lifted.floats[19] == 19.25f, "the floats are the numbers");
  const size_t payload = lifted.texts[2];
  Check(Sample().substr(payload, 5) == "{\"a\\u" && Sample()[lifted.texts[3] - 1] == '}', "the payload's text is its own");
}

// Only the whole document is JSON, whatever is missing at its end.
TEST(json_gives_up_on_every_truncation) {
  LiftedJson lifted;
  for (size_t length = 0; length < Sample().size(); length++) {
    Check(!Lift(Sample().substr(0, length), &lifted), "cut at " + std::to_string(length));
  }
  for (const char* text : {"\"\\", "\"\\u", "\"\\u123", "\"\\u12", "\"abc", "[1.", "[1e", "[1e+", "[-", "tru", "nul", "{\"a\"", "{\"a\":", "[\"\\b", "\"\\u000"}) {
    Check(!Lift(text, &lifted), text);
  }
}

TEST(json_survives_mutations) {
  LiftedJson lifted;
  const std::string bytes = "\"\\{}[],:0123456789.-+eEutfn \n\t\x01\xff";
  for (int round = 0; round < 60000; round++) {
    std::string text = Sample();
    for (uint64_t changes = 1 + Random() % 3; changes > 0; changes--) {
      const size_t at = Random() % text.size();
      switch (Random() % 3) {
        case 0: text[at] = bytes[Random() % bytes.size()]; break;
        case 1: text.erase(at, 1 + Random() % 8); break;
        default: text.insert(at, 1, bytes[Random() % bytes.size()]);
      }
      if (text.empty()) text = " ";
    }
    Lift(text, &lifted);
  }
}

TEST(json_keeps_its_limits) {
  LiftedJson lifted;
  Check(Lift(Repeated("[", 127) + Repeated("]", 127), &lifted), "127 levels are read");
  Check(!Lift(Repeated("[", 128) + Repeated("]", 128), &lifted), "128 levels are not");
  Check(!Lift(Repeated("[", 1000000), &lifted), "a million brackets are not");
  Check(!Lift("{\"payload\":" + Repeated("{\"a\":", 127) + "1" + Repeated("}", 128), &lifted), "payloads count");
  Check(Lift(std::string(64 * 1024, '7'), &lifted), "a number of 64 KiB is read");
  Check(!Lift(std::string(64 * 1024 + 1, '7'), &lifted), "a longer one is not");
  Check(Lift("{\"vector\":[" + Numbers(15) + "]}", &lifted) && lifted.rows.empty(), "15 numbers stay");
  Check(Lift("{\"vector\":[" + Numbers(16) + ",1e39]}", &lifted) && lifted.rows.empty(), "numbers without a finite f32 stay");
  Check(Lift("{\"vector\":[" + Repeated("1,", 2000000) + "1]}", &lifted) && lifted.rows.size() == 2 && lifted.rows[1] == 2000001, "two million values");
  for (const char* text : {"", " ", "+1", ".5", "1.", "01", "-01", "NaN", "[1,]", "{\"a\":1,}", "[1 2]", "{a:1}", "1 2", "\"\x01\"", "\"\\x\"", "\"\\u00g0\"", "\xef\xbb\xbf{}"}) {
    Check(!Lift(text, &lifted), text);
  }
  for (const char* text : {"[\"\\bf0\"]", "[\"\\u0008f0\"]"}) Check(!Lift(text, &lifted), text);
  for (const char* key : {"vec\\u0074or", "\\u0076\\u0065\\u0063\\u0074\\u006F\\u0072"}) {
    Check(Lift(std::string("{\"") + key + "\":[" + Numbers(16) + "]}", &lifted) && lifted.rows.size() == 2, key);
  }
  for (const char* key : {"vec\\u0174or", "vecto\\r", "vector\\u0000", "\\\"vector", "vector\\u0074or_and_more_than_any"}) {
    Check(Lift(std::string("{\"") + key + "\":[" + Numbers(16) + "]}", &lifted) && lifted.rows.empty(), key);
  }
  Check(Lift("{\"payload\":{\"a\":\"\\bf0\"}}", &lifted), "text like a marker within a payload does no harm");
}

namespace {

uint32_t BitsOf(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

void CheckNumber(const std::string& text) {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(text.data());
  nearkeep::Decimal decimal;
  Check(nearkeep::ReadDecimal(bytes, bytes + text.size(), &decimal) == bytes + text.size(), "reads " + text);
  const float wanted = static_cast<float>(strtod(text.c_str(), nullptr));
  float fast = wanted;
  nearkeep::NearestFloat(decimal, &fast);
  Check(BitsOf(fast) == BitsOf(wanted), "the fast way of " + text);
  Check(BitsOf(nearkeep::ExactFloat(bytes, text.size())) == BitsOf(wanted), "the exact way of " + text);
}

std::string Printed(const char* format, int digits, double value) {
  char text[1200];
  snprintf(text, sizeof text, format, digits, value);
  return text;
}

}  // namespace

// Around midpoints of f32 values and of the f64 values next to them, where roundings differ.
TEST(json_rounds_like_two_roundings) {
  for (const char* text : {"0", "-0", "0.0e5", "1e400", "-1e400", "1e-400", "3.4028235677973366e38", "3.4028235677973362e38", "7.006492321624085e-46",
                           "7.006492321624086e-46", "1.1754943508222875e-38", "16777217", "16777217.0000000000000000000000001", "9007199254740993",
                           "1.00000017881393432617187499", "1.00000017881393432617187500", "1.00000017881393432617187501", "0.000000000000000000000000000000000000000000001"}) {
    CheckNumber(text);
  }
  for (int round = 0; round < 40000; round++) {
    const uint32_t bits = static_cast<uint32_t>(Random()) & 0x7fffffff;
    if (bits >= 0x7f7fffff) continue;
    float low, high;
    const uint32_t next = bits + 1;
    memcpy(&low, &bits, sizeof low);
    memcpy(&high, &next, sizeof high);
    double middle = (static_cast<double>(low) + static_cast<double>(high)) / 2;
    CheckNumber(Printed("%.*e", static_cast<int>(Random() % 900), middle));
    uint64_t near_bits;
    memcpy(&near_bits, &middle, sizeof near_bits);
    near_bits += Random() % 5 - 2;
    memcpy(&middle, &near_bits, sizeof middle);
    CheckNumber(Printed("%.*g", 17, middle));
    CheckNumber(Printed("%.*g", 9, -low));
    CheckNumber(std::to_string(Random() >> (Random() % 64)) + "." + std::to_string(Random()) + "e" + std::to_string(static_cast<int>(Random() % 90) - 60));
    std::string longer = Printed("%.*e", 40, middle);
    longer.insert(longer.find('e'), std::string(Random() % 1500, '0') + "1");
    CheckNumber(longer);
  }
}
