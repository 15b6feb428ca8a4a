// Runs a job of a pool to its end.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>

// `submit` hands its argument to a pool as the call at the job's end.
template <class Submit>
void RunToEnd(Submit submit) {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  submit(std::function<void()>([&] {
    std::lock_guard<std::mutex> lock(mutex);
    done = true;
    changed.notify_all();
  }));
  std::unique_lock<std::mutex> lock(mutex);
  changed.wait(lock, [&] { return done; });
}
