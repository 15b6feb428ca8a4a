// A table of tests in one program: TEST adds to it, CHECK ends the running test with its place and text.
#pragma once
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

struct Test {
  const char* name;
  void (*run)();
};

inline std::vector<Test>& AllTests() {
  static std::vector<Test> tests;
  return tests;
}

struct AddTest {
  AddTest(const char* name, void (*run)()) { AllTests().push_back({name, run}); }
};

#define TEST(name)                                \
  static void name();                             \
  static const AddTest name##_added(#name, name); \
  static void name()

#define CHECK(condition)                                                                                       \
  do {                                                                                                         \
    if (!(condition)) throw std::runtime_error(std::string(__FILE__) + ":" + std::to_string(__LINE__) + ": " #condition); \
  } while (false)
