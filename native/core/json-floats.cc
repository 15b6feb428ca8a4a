#include "json-floats.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "decimal.h"

namespace nearkeep {
namespace {

// The limits of src/vector/json-places.ts.
constexpr size_t kNestingMax = 127;
constexpr size_t kLiftedCountMin = 16;
constexpr size_t kNumberBytesMax = 64 * 1024;
constexpr size_t kExactDigitsMax = 1024;  // of src/base/exact-json.ts
constexpr char kSafeInteger[] = "9007199254740991";

enum class Place : uint8_t { kPlain, kVector, kQuery, kExamples, kPayload, kPayloads, kNever };

struct Member {
  const char* key;
  Place place;
};

constexpr Member kPlainMembers[] = {
    {"vector", Place::kVector},         {"vectors", Place::kVector},    {"nearest", Place::kVector},   {"target", Place::kVector},
    {"query", Place::kQuery},           {"positive", Place::kExamples}, {"negative", Place::kExamples}, {"payload", Place::kPayload},
    {"payloads", Place::kPayloads},     {"filter", Place::kNever},      {"update_filter", Place::kNever}, {"corpus", Place::kNever},
    {"formula", Place::kNever},         {"metadata", Place::kNever},
};

bool Is(const char* key, const uint8_t* from, size_t length) { return strlen(key) == length && memcmp(key, from, length) == 0; }

Place PlainMember(const uint8_t* key, size_t length) {
  for (const Member& member : kPlainMembers) {
    if (Is(member.key, key, length)) return member.place;
  }
  return Place::kPlain;
}

Place MemberPlace(Place place, const uint8_t* key, size_t length) {
  switch (place) {
    case Place::kPlain: return PlainMember(key, length);
    case Place::kQuery:
      if (Is("values", key, length)) return Place::kVector;
      return Is("indices", key, length) ? Place::kNever : PlainMember(key, length);
    case Place::kVector:
    case Place::kExamples: return Is("indices", key, length) ? Place::kNever : Place::kVector;
    default: return Place::kNever;
  }
}

// A key with escapes, decoded as far as it can matter: every key of the table is plain ASCII and at most kKeyMax long.
class DecodedKey {
 public:
  DecodedKey(const uint8_t* key, size_t length) {
    for (size_t at = 0; at < length;) {
      int letter = key[at++];
      if (letter == '\\') {
        letter = key[at++];
        if (letter == 'u') letter = Hex(key + at), at += 4;
        else if (strchr("bfnrt", letter) != nullptr) letter = kNone;
      }
      if (letter >= 0x80 || count_ == kKeyMax) {  // some other key, like the empty one
        count_ = 0;
        return;
      }
      letters_[count_++] = static_cast<uint8_t>(letter);
    }
  }

  const uint8_t* letters() const { return letters_; }
  size_t count() const { return count_; }

 private:
  static constexpr size_t kKeyMax = 13;
  static constexpr int kNone = 0x80;

  static int Hex(const uint8_t* digits) {
    int value = 0;
    for (int at = 0; at < 4; at++) value = value * 16 + (digits[at] <= '9' ? digits[at] - '0' : (digits[at] | 0x20) - 'a' + 10);
    return value;
  }

  uint8_t letters_[kKeyMax];
  size_t count_ = 0;
};

Place ElementPlace(Place place) {
  switch (place) {
    case Place::kPlain: return Place::kPlain;
    case Place::kQuery:
    case Place::kVector:
    case Place::kExamples: return Place::kVector;
    case Place::kPayloads: return Place::kPayload;
    default: return Place::kNever;
  }
}

bool HoldsFloats(Place place) { return place == Place::kVector || place == Place::kQuery; }

bool IsDigit(uint8_t byte) { return static_cast<uint8_t>(byte - '0') < 10; }

bool IsHex(uint8_t byte) { return IsDigit(byte) || static_cast<uint8_t>((byte | 0x20) - 'a') < 6; }

struct Frame {
  Place place;         // of the container
  Place member_place;  // of the value under the last key read; objects only
  bool is_array;
};

class Lifter {
 public:
  Lifter(const uint8_t* bytes, size_t length, LiftedJson* lifted)
      : begin_(bytes), end_(bytes + length), at_(bytes), copied_(bytes), lifted_(*lifted) {}

  bool Run() {
    if (static_cast<uint64_t>(end_ - begin_) > std::numeric_limits<uint32_t>::max()) return false;
    if (!Value() || !AfterValue()) return false;
    while (depth_ > 0) {
      if (!Value() || !AfterValue()) return false;
    }
    if (at_ != end_) return false;
    CopyTo(end_);
    return true;
  }

 private:
  // Each step answers false to give up. Value reads a scalar, a whole lifted array, or opens containers down to the first scalar.
  bool Value() {
    for (;;) {
      SkipSpace();
      if (at_ == end_) return false;
      switch (*at_) {
        case '"': return StringValue();
        case 't': return Literal("true");
        case 'f': return Literal("false");
        case 'n': return Literal("null");
        case '[':
        case '{':
          if (!Open()) return false;
          if (closed_) return true;  // lifted whole, or empty
          continue;
        default: return NumberValue();
      }
    }
  }

  // Closes containers and stops before the next value, or at the end of the document.
  bool AfterValue() {
    for (;;) {
      SkipSpace();
      if (depth_ == 0) return true;
      if (at_ == end_) return false;
      const uint8_t byte = *at_++;
      const bool is_array = frames_[depth_].is_array;
      if (byte == ',') return is_array || Key();
      if (byte != (is_array ? ']' : '}')) return false;
      Close();
    }
  }

  void SkipSpace() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) at_++;
  }

  // ---- containers

  Place PlaceHere() const {
    if (depth_ == 0) return Place::kPlain;
    const Frame& frame = frames_[depth_];
    return frame.is_array ? ElementPlace(frame.place) : frame.member_place;
  }

  bool Open() {
    if (depth_ == kNestingMax) return false;
    const bool is_array = *at_ == '[';
    const Place place = PlaceHere();
    closed_ = false;
    if (is_array && HoldsFloats(place)) {
      const Numbers numbers = TakeNumbers();
      if (numbers != Numbers::kMixed) {
        closed_ = true;
        return numbers == Numbers::kDone;
      }
    }
    if (place == Place::kPayload && !is_array) {
      payload_depth_ = depth_ + 1;
      payload_start_ = at_;
    }
    frames_[++depth_] = {payload_depth_ != 0 ? Place::kNever : place, Place::kNever, is_array};
    at_++;
    SkipSpace();
    if (at_ != end_ && *at_ == (is_array ? ']' : '}')) {
      at_++;
      Close();
      closed_ = true;
      return true;
    }
    return is_array || Key();
  }

  void Close() {
    if (depth_-- == payload_depth_) {
      payload_depth_ = 0;
      LiftText('p', payload_start_);
    }
  }

  bool Key() {
    SkipSpace();
    if (at_ == end_ || *at_ != '"') return false;
    const uint8_t* const start = at_ + 1;
    bool escaped = false;
    if (!SkipString(&escaped)) return false;
    const size_t length = static_cast<size_t>(at_ - 1 - start);
    Frame& frame = frames_[depth_];
    if (frame.place == Place::kNever) {  // and so is all below
    } else if (escaped) {
      const DecodedKey key(start, length);
      frame.member_place = MemberPlace(frame.place, key.letters(), key.count());
    } else {
      frame.member_place = MemberPlace(frame.place, start, length);
    }
    SkipSpace();
    if (at_ == end_ || *at_ != ':') return false;
    at_++;
    return true;
  }

  // ---- scalars

  bool Literal(const char* word) {
    const size_t length = strlen(word);
    if (static_cast<size_t>(end_ - at_) < length || memcmp(at_, word, length) != 0) return false;
    at_ += length;
    return true;
  }

  bool StringValue() {
    const uint8_t* const start = at_ + 1;
    bool escaped = false;
    if (!SkipString(&escaped)) return false;
    if (!escaped || payload_depth_ != 0) return true;
    // A string that would read as a marker.
    return memcmp(start, "\\b", 2) != 0 && !(at_ - 1 - start >= 6 && memcmp(start, "\\u0008", 6) == 0);
  }

  // at_ moves from the opening quote to behind the closing one.
  bool SkipString(bool* escaped) {
    const uint8_t* at = at_ + 1;
    for (;;) {
      if (at == end_) return false;
      const uint8_t byte = *at++;
      if (byte == '"') break;
      if (byte < 0x20) return false;
      if (byte != '\\') continue;
      *escaped = true;
      if (at == end_) return false;
      const uint8_t kind = *at++;
      if (kind == 'u') {
        if (end_ - at < 4 || !IsHex(at[0]) || !IsHex(at[1]) || !IsHex(at[2]) || !IsHex(at[3])) return false;
        at += 4;
      } else if (kind == 0 || strchr("\"\\/bfnrt", kind) == nullptr) {
        return false;
      }
    }
    at_ = at;
    return true;
  }

  bool NumberValue() {
    const uint8_t* const start = at_;
    Decimal decimal;
    if (!ReadNumber(&decimal)) return false;
    if (!decimal.is_integer || payload_depth_ != 0) return true;
    if (depth_ > 0 && frames_[depth_].is_array && HoldsFloats(frames_[depth_].place)) return true;
    if (NeedsBigInt(start)) LiftText('i', start);
    return true;
  }

  // Whether the integer from `start` to at_ leaves ±(2^53-1).
  bool NeedsBigInt(const uint8_t* start) const {
    const uint8_t* const digits = *start == '-' ? start + 1 : start;
    const size_t count = static_cast<size_t>(at_ - digits);
    constexpr size_t kSafeDigits = sizeof kSafeInteger - 1;
    if (count > kSafeDigits) return count <= kExactDigitsMax;
    return count == kSafeDigits && memcmp(digits, kSafeInteger, kSafeDigits) > 0;
  }

  bool ReadNumber(Decimal* decimal) {
    const uint8_t* const after = ReadDecimal(at_, end_, decimal);
    if (after == nullptr || static_cast<size_t>(after - at_) > kNumberBytesMax) return false;
    at_ = after;
    return true;
  }

  // ---- lifting

  enum class Numbers { kDone, kMixed, kGiveUp };

  // at_ is at the bracket of an array that may hold floats. kDone: at_ is behind it, lifted or not; kMixed: at_ has not moved.
  Numbers TakeNumbers() {
    const uint8_t* const start = at_;
    const size_t from = lifted_.floats.size();
    bool finite = true;
    do {
      at_++;  // the bracket, then the commas
      SkipSpace();
      if (at_ == end_) return Numbers::kGiveUp;
      if (*at_ != '-' && !IsDigit(*at_)) {
        at_ = start;
        lifted_.floats.resize(from);
        return Numbers::kMixed;
      }
      const uint8_t* const number = at_;
      Decimal decimal;
      if (!ReadNumber(&decimal)) return Numbers::kGiveUp;
      float value;
      if (!NearestFloat(decimal, &value)) value = ExactFloat(number, static_cast<size_t>(at_ - number));
      finite = finite && std::isfinite(value);
      lifted_.floats.push_back(value);
      SkipSpace();
      if (at_ == end_) return Numbers::kGiveUp;
    } while (*at_ == ',');
    if (*at_++ != ']') return Numbers::kGiveUp;
    const size_t to = lifted_.floats.size();
    if (!finite || to - from < kLiftedCountMin) {
      lifted_.floats.resize(from);
      return Numbers::kDone;
    }
    Mark('f', lifted_.rows.size() / 2, start);
    lifted_.rows.push_back(static_cast<uint32_t>(from));
    lifted_.rows.push_back(static_cast<uint32_t>(to));
    return Numbers::kDone;
  }

  void LiftText(char kind, const uint8_t* start) {
    Mark(kind, lifted_.texts.size() / 2, start);
    lifted_.texts.push_back(static_cast<uint32_t>(start - begin_));
    lifted_.texts.push_back(static_cast<uint32_t>(at_ - begin_));
  }

  // Puts a marker in the place of the text from `start` to at_.
  void Mark(char kind, size_t index, const uint8_t* start) {
    CopyTo(start);
    lifted_.skeleton.append("\"\\b").append(1, kind).append(std::to_string(index)).append(1, '"');
    copied_ = at_;
  }

  void CopyTo(const uint8_t* to) {
    lifted_.skeleton.append(reinterpret_cast<const char*>(copied_), static_cast<size_t>(to - copied_));
    copied_ = to;
  }

  const uint8_t* const begin_;
  const uint8_t* const end_;
  const uint8_t* at_;
  const uint8_t* copied_;  // everything before it is in the skeleton, as it was or as markers
  LiftedJson& lifted_;
  bool closed_ = false;  // Open has read a whole container
  size_t depth_ = 0;
  size_t payload_depth_ = 0;  // depth of the payload in progress, 0 outside payloads
  const uint8_t* payload_start_ = nullptr;
  Frame frames_[kNestingMax + 1];  // from 1
};

}  // namespace

bool LiftJson(const uint8_t* bytes, size_t length, LiftedJson* lifted) { return Lifter(bytes, length, lifted).Run(); }

}  // namespace nearkeep
