// What one JavaScript environment owns: thread pools, and the way back from their threads to promises.
//
// Searches, builds, input (request bodies, graphs that are opened) and reads of files have threads of their own, bounded and none of them
// libuv's, which are left to writes and syncs: no kind of work waits in the queue of another. Threads that build stand back where there are
// not enough cores, so that a build costs searches and the event loop little and still goes on under any load.
//
// Jobs end on pool threads. Each ended job goes to a list; only the one that finds the list empty wakes the event loop, and one
// wake-up settles all that have ended by then.
#pragma once
#include <node_api.h>

#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "../core/pool.h"

namespace nearkeep {

// Makes the value a promise resolves with, or sets *error to the value it rejects with. Runs on the environment's thread after the
// job has ended without a failure.
using MakeResult = std::function<napi_value(napi_env env, napi_value* error)>;

// All calls on the environment's thread, but Ended.
class Environment {
 public:
  // Creates it, with its clean-up when the environment ends; once per environment, when the addon is loaded.
  static bool Create(napi_env env);
  static Environment& Of(napi_env env);

  // Threads that search; as many build.
  size_t workers();
  // Starts a job and returns its promise. A job that failed rejects with an Error whose `code` is ERR_CANCELLED, ERR_UNREADABLE or
  // ERR_NO_MEMORY. `ticket` != 0 lets Cancel find it.
  napi_value Start(std::shared_ptr<Job> job, size_t blocks, uint32_t ticket, MakeResult make_result);
  // The same on the threads that build, on at most `threads_max` of them at a time; 0: on all.
  napi_value StartBackground(std::shared_ptr<Job> job, size_t blocks, size_t threads_max, uint32_t ticket, MakeResult make_result);
  // The same on the threads for input: jobs of one block that may take long, such as a large body.
  napi_value StartInput(std::shared_ptr<Job> job, MakeResult make_result);
  // The same on the threads that wait for the disk.
  napi_value StartRead(std::shared_ptr<Job> job, MakeResult make_result);
  void Cancel(uint32_t ticket);
  // The job on the calling thread, and its result; undefined where it failed or would wait for the disk: one like it is to be started then.
  napi_value RunHere(Job& job, size_t blocks, const MakeResult& make_result);

 private:
  struct Pending {
    std::shared_ptr<Job> job;
    napi_deferred deferred;
    uint32_t ticket;
    MakeResult make_result;
  };

  explicit Environment(napi_env env) : env_(env) {}
  std::shared_ptr<Pending> Promise(std::shared_ptr<Job> job, uint32_t ticket, MakeResult make_result, napi_value* promise);
  // Created when first used.
  Pool& searchers();
  Pool& builders();
  Pool& inputs();
  Pool& readers();
  void Ended(std::shared_ptr<Pending> pending);
  void SettleEnded();
  void Settle(const Pending& pending);
  static void OnWake(napi_env env, napi_value callback, void* context, void* data);
  static void OnEnd(void* self);

  const napi_env env_;
  napi_threadsafe_function wake_ = nullptr;
  size_t unsettled_ = 0;  // the event loop is kept alive while there are any
  std::unordered_map<uint32_t, std::weak_ptr<Job>> by_ticket_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Pending>> ended_;  // guarded by mutex_
  std::unique_ptr<Pool> searchers_, builders_, inputs_, readers_;  // last: their threads use the above
};

// For rejections: `code` is what callers look at, the message is for people.
napi_value MakeError(napi_env env, const char* code, const std::string& message);

}  // namespace nearkeep
