// Runs all tests, or those whose name contains one of the arguments.
#include <cstring>

#include "check.h"

static bool IsWanted(const char* name, int count, char** arguments) {
  for (int at = 1; at < count; ++at) {
    if (std::strstr(name, arguments[at]) != nullptr) return true;
  }
  return count == 1;
}

int main(int count, char** arguments) {
  int failed = 0, run = 0;
  for (const Test& test : AllTests()) {
    if (!IsWanted(test.name, count, arguments)) continue;
    ++run;
    try {
      test.run();
      std::printf("ok   %s\n", test.name);
    } catch (const std::exception& error) {
      ++failed;
      std::printf("FAIL %s: %s\n", test.name, error.what());
    }
    std::fflush(stdout);
  }
  std::printf("%d of %d passed\n", run - failed, run);
  return failed == 0 && run > 0 ? 0 : 1;
}
