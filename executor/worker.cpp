#include <base/system_text.hpp>
#include <executor/fatal.hpp>
#include <executor/worker.hpp>
#include <executor/worker_datapath.hpp>

#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <utility>

namespace sublet::executor {

Result<void> Worker::start(const WorkerMemory& memory, const Cores& cores) {
  state_.stack = memory.stack(state_.index);
  state_.stack_guard = memory.stack_guard();
  state_.scratch = memory.scratch(state_.index);
  handler_stack_ = memory.handler_stack(state_.index);
  cores_ = &cores;
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  ::pthread_attr_setstack(&attributes, memory.stack(state_.index), memory.stack_bytes());
  pthread_t thread;
  const int error = ::pthread_create(&thread, &attributes, &thread_main, this);
  ::pthread_attr_destroy(&attributes);
  if (error != 0) {
    return fail(ErrorKind::kOverloaded,
                "starting the thread of worker " + std::to_string(state_.index) + ": " +
                    base::start_text(error),
                error);
  }
  return {};
}

void Worker::serve(transport::AnyServerChannel channel) {
  {
    const std::lock_guard lock(mutex_);
    next_ = std::move(channel);
  }
  arrived_.notify_one();
}

void* Worker::thread_main(void* self) {
  static_cast<Worker*>(self)->run();
  return nullptr;
}

transport::AnyServerChannel Worker::next_channel() {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [this] { return next_.index() != 0; });
  return std::exchange(next_, transport::AnyServerChannel{});
}

void Worker::run() noexcept {
  const stack_t stack{handler_stack_, 0, kHandlerStack};
  ::sigaltstack(&stack, nullptr);
  state_.thread.store(::gettid(), std::memory_order_relaxed);
  set_this_worker(&state_);
  pin_this_thread(*cores_);
  for (;;) {
    const transport::AnyServerChannel channel = next_channel();
    std::visit(
        [this](const auto& held) {
          if constexpr (!std::is_same_v<std::decay_t<decltype(held)>, std::monostate>) {
            WorkerLoop(*held, state_).serve();
          }
        },
        channel);
  }
}

}  // namespace sublet::executor
