// Runs all tests, or those whose name contains the argument.
#include <cstring>

#include "check.h"

int main(int count, char** arguments) {
  int failed = 0, run = 0;
  for (const Test& test : AllTests()) {
    if (count > 1 && std::strstr(test.name, arguments[1]) == nullptr) continue;
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
