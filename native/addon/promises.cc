#include "promises.h"

#include <algorithm>
#include <string>
#include <thread>

namespace nearkeep {
namespace {

constexpr unsigned kThreadsMin = 2;
constexpr unsigned kReadThreads = 4;
// Where all cores are wanted, a thread that builds gets about a tenth of what another one gets.
constexpr int kBuildNiceness = 10;

size_t Cores() { return std::max(kThreadsMin, std::thread::hardware_concurrency()); }

napi_value FailureError(napi_env env, Failure failure) {
  switch (failure) {
    case Failure::kCancelled: return MakeError(env, "ERR_CANCELLED", "cancelled");
    case Failure::kUnreadable: return MakeError(env, "ERR_UNREADABLE", "a mapped file cannot be read or was cut");
    case Failure::kCodesUnreadable: return MakeError(env, "ERR_CODES_UNREADABLE", "a mapped file of codes cannot be read or was cut");
    case Failure::kNoMemory: return MakeError(env, "ERR_NO_MEMORY", "out of memory");
    case Failure::kNone:
    case Failure::kWouldWait: break;  // the latter only of jobs that have no promise
  }
  return nullptr;
}

}  // namespace

napi_value MakeError(napi_env env, const char* code, const std::string& message) {
  napi_value code_value, text, error;
  napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &code_value);
  napi_create_string_utf8(env, message.data(), message.size(), &text);
  napi_create_error(env, code_value, text, &error);
  return error;
}

bool Environment::Create(napi_env env) {
  auto self = std::unique_ptr<Environment>(new Environment(env));
  napi_value name;
  if (napi_create_string_utf8(env, "nearkeep", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, self.get(), OnWake, &self->wake_) != napi_ok ||
      napi_unref_threadsafe_function(env, self->wake_) != napi_ok ||
      napi_set_instance_data(env, self.get(), nullptr, nullptr) != napi_ok) {
    return false;
  }
  // Hooks run in reverse order: this one, which stops the threads, before the one that destroys what they call.
  napi_add_env_cleanup_hook(env, OnEnd, self.release());
  return true;
}

Environment& Environment::Of(napi_env env) {
  void* self = nullptr;
  napi_get_instance_data(env, &self);
  return *static_cast<Environment*>(self);
}

void Environment::OnEnd(void* data) {
  auto* self = static_cast<Environment*>(data);
  self->searchers_.reset();
  self->builders_.reset();
  self->inputs_.reset();
  self->readers_.reset();
  napi_release_threadsafe_function(self->wake_, napi_tsfn_abort);
  delete self;
}

Pool& Environment::searchers() {
  if (searchers_ == nullptr) searchers_ = std::make_unique<Pool>(Cores());
  return *searchers_;
}

Pool& Environment::builders() {
  if (builders_ == nullptr) builders_ = std::make_unique<Pool>(Cores(), kBuildNiceness);
  return *builders_;
}

Pool& Environment::inputs() {
  if (inputs_ == nullptr) inputs_ = std::make_unique<Pool>(Cores());
  return *inputs_;
}

Pool& Environment::readers() {
  if (readers_ == nullptr) readers_ = std::make_unique<Pool>(kReadThreads);
  return *readers_;
}

size_t Environment::workers() { return Cores(); }

std::shared_ptr<Environment::Pending> Environment::Promise(std::shared_ptr<Job> job, uint32_t ticket, MakeResult make_result, napi_value* promise) {
  auto pending = std::make_shared<Pending>();
  pending->job = job;
  pending->ticket = ticket;
  pending->make_result = std::move(make_result);
  if (napi_create_promise(env_, &pending->deferred, promise) != napi_ok) return nullptr;
  if (ticket != 0) by_ticket_[ticket] = job;
  if (unsettled_++ == 0) napi_ref_threadsafe_function(env_, wake_);
  return pending;
}

napi_value Environment::Start(std::shared_ptr<Job> job, size_t blocks, uint32_t ticket, MakeResult make_result) {
  Pool& threads = searchers();
  napi_value promise = nullptr;
  const auto pending = Promise(job, ticket, std::move(make_result), &promise);
  if (pending != nullptr) threads.Submit(std::move(job), blocks, [this, pending] { Ended(pending); });
  return promise;
}

napi_value Environment::StartBackground(std::shared_ptr<Job> job, size_t blocks, size_t threads_max, uint32_t ticket, MakeResult make_result) {
  Pool& threads = builders();
  napi_value promise = nullptr;
  const auto pending = Promise(job, ticket, std::move(make_result), &promise);
  if (pending != nullptr) threads.SubmitBackground(std::move(job), blocks, threads_max, [this, pending] { Ended(pending); });
  return promise;
}

napi_value Environment::StartInput(std::shared_ptr<Job> job, MakeResult make_result) {
  Pool& threads = inputs();
  napi_value promise = nullptr;
  const auto pending = Promise(job, 0, std::move(make_result), &promise);
  if (pending != nullptr) threads.Submit(std::move(job), 1, [this, pending] { Ended(pending); });
  return promise;
}

napi_value Environment::StartRead(std::shared_ptr<Job> job, MakeResult make_result) {
  Pool& threads = readers();
  napi_value promise = nullptr;
  const auto pending = Promise(job, 0, std::move(make_result), &promise);
  if (pending != nullptr) threads.Submit(std::move(job), 1, [this, pending] { Ended(pending); });
  return promise;
}

void Environment::Cancel(uint32_t ticket) {
  const auto found = by_ticket_.find(ticket);
  if (found == by_ticket_.end()) return;
  if (const std::shared_ptr<Job> job = found->second.lock()) job->Cancel();
}

napi_value Environment::RunHere(Job& job, size_t blocks, const MakeResult& make_result) {
  napi_value result = nullptr;
  if (job.RunHere(blocks)) {
    napi_value error = nullptr;
    result = make_result(env_, &error);
  } else {
    napi_get_undefined(env_, &result);
  }
  return result;
}

void Environment::Ended(std::shared_ptr<Pending> pending) {
  bool was_empty;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    was_empty = ended_.empty();
    ended_.push_back(std::move(pending));
  }
  if (was_empty) napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

void Environment::OnWake(napi_env env, napi_value, void* context, void*) {
  if (env != nullptr) static_cast<Environment*>(context)->SettleEnded();
}

void Environment::SettleEnded() {
  std::vector<std::shared_ptr<Pending>> ended;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ended.swap(ended_);
  }
  for (const auto& pending : ended) {
    napi_handle_scope scope;
    napi_open_handle_scope(env_, &scope);
    Settle(*pending);
    napi_close_handle_scope(env_, scope);
  }
}

void Environment::Settle(const Pending& pending) {
  if (pending.ticket != 0) by_ticket_.erase(pending.ticket);
  if (--unsettled_ == 0) napi_unref_threadsafe_function(env_, wake_);
  napi_value error = FailureError(env_, pending.job->failure());
  napi_value result = nullptr;
  if (error == nullptr) {
    result = pending.make_result(env_, &error);
    bool thrown = false;
    napi_is_exception_pending(env_, &thrown);
    if (thrown) napi_get_and_clear_last_exception(env_, &error);
    if (result == nullptr && error == nullptr) error = MakeError(env_, "ERR_NO_MEMORY", "no memory for the result");
  }
  if (error != nullptr) napi_reject_deferred(env_, pending.deferred, error);
  else napi_resolve_deferred(env_, pending.deferred, result);
}

}  // namespace nearkeep
