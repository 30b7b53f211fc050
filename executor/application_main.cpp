// libsublet_application.so: what an executor loads before an application's own program, so that the
// program becomes the executor. main() never runs there: a program that does other things before
// sublet::init, or forgets it, is not run a second time.

#include <base/asymmetric_fence.hpp>
#include <base/clock.hpp>
#include <base/shared_memory.hpp>
#include <executor/application_functions.hpp>
#include <executor/backtrace.hpp>
#include <executor/become.hpp>
#include <executor/executor_process.hpp>
#include <executor/fatal.hpp>
#include <executor/processors.hpp>
#include <executor/sandbox.hpp>
#include <wire/executor_packets.hpp>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace sublet::executor {
namespace {

/// No executor is to come of this process, nor a second run of the application.
[[noreturn]] void give_up(const char* why) {
  std::fprintf(stderr, "sublet-executor: an application is not run: %s\n", why);
  ::_exit(EXIT_FAILURE);
}

/// A descriptor that is there, no standard one; closed by the next exec.
bool take(int fd) {
  return fd > STDERR_FILENO && ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

/// The order in the descriptor that the environment names; checked, since any process may set a
/// variable.
std::unique_ptr<const ApplicationOrder> read_order(const char* variable) {
  int fd = -1;
  const char* end = variable + std::strlen(variable);
  const auto [rest, error] = std::from_chars(variable, end, fd);
  if (error != std::errc() || rest != end || !take(fd)) give_up("its order is no descriptor");
  constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
  struct stat info {};
  if (const int seals = ::fcntl(fd, F_GET_SEALS); seals < 0 || (seals & kSeals) != kSeals) {
    give_up("its order is not sealed");
  }
  auto order = std::make_unique<ApplicationOrder>();
  if (::fstat(fd, &info) != 0 || info.st_size != static_cast<off_t>(sizeof(*order)) ||
      ::pread(fd, order.get(), sizeof(*order), 0) != static_cast<ssize_t>(sizeof(*order)) ||
      order->magic != ApplicationOrder::kMagic || order->size != sizeof(*order)) {
    give_up("its order is of another version of Sublet");
  }
  ::close(fd);
  for (const int part :
       {order->control, order->data, order->accounting, order->surroundings, order->preloaded}) {
    if (!take(part)) give_up("a descriptor of its order is missing");
  }
  ::close(order->preloaded);
  return order;
}

template <std::size_t N>
void restore(const char* variable, const std::array<char, N>& before) {
  const std::string value(wire::text_of(before));
  if (value.empty()) {
    ::unsetenv(variable);
  } else {
    ::setenv(variable, value.c_str(), 1);
  }
}

/// A child that a function starts is an ordinary program.
void forget_variables(const ApplicationOrder& order) {
  ::unsetenv(wire::kOrderVariable);
  restore("LD_PRELOAD", order.preload);
  restore("LD_LIBRARY_PATH", order.library_path);
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> part{};
  while (const ssize_t size =
             ::pread(fd, part.data(), part.size(), static_cast<off_t>(text.size()))) {
    if (size < 0 || text.size() > wire::kMaxSurroundings) break;
    text.append(part.data(), static_cast<std::size_t>(size));
  }
  ::close(fd);
  return text;
}

const sublet_function_record* find_records(const std::string& name) {
  using Records = const sublet_function_record* (*)();
  auto* const records =
      reinterpret_cast<Records>(::dlsym(RTLD_DEFAULT, "sublet_application_records"));
  if (records == nullptr) {
    die_before_start(
        "the program '" + name + "' is no application of Sublet: it is not linked to libsublet",
        ErrorKind::kNoApplication);
  }
  const auto* first = records();
  if (auto checked = base::check_records(first); !checked) {
    die_before_start(checked.error().what(), checked.error().kind());
  }
  return first;
}

/// In place of the program's main().
int run_executor(int, char**, char**) {
  static const std::unique_ptr<const ApplicationOrder> order =
      read_order(std::getenv(wire::kOrderVariable));
  forget_variables(*order);
  const wire::Spawn& spawn = order->spawn;
  const std::string name(wire::text_of(order->become.name));
  hide_from_others(spawn.hidden != 0);
  base::TickRate::set(order->ticks_per_ns);
  install_fatal_handlers();
  note_loaded_libraries(name);
  arm_fatal_reports(order->control);
  register_exit_handlers();
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);

  static FunctionTable functions;
  static const ApplicationFunctions own(
      order->become.sha256, find_records(name),
      wire::ApplicationSurroundings::from_text(read_all(order->surroundings)));
  if (spawn.hot_timeout_ms != 0) base::register_asymmetric_fence();
  auto process = ExecutorProcess::start({.order = spawn,
                                         .functions = functions,
                                         .control = order->control,
                                         .data = base::Fd(order->data),
                                         .accounting = base::Fd(order->accounting),
                                         .application = &own});
  if (!process) die_before_start(process.error().what());
  (void)wire::send_message(order->control, wire::MessageType::kBecame, wire::Ready{spawn.workers});
  const auto limit = MemoryLimit::above_now(spawn.memory_bytes);
  if (!limit) die_before_start(limit.error().what());
  const std::string title = "sublet-" + std::to_string(spawn.lease_id);
  ::prctl(PR_SET_NAME, title.c_str(), 0, 0, 0);
  (*process)->run(*limit);
}

}  // namespace
}  // namespace sublet::executor

/// For libsublet in the program: executors are in charge here.
extern "C" [[gnu::visibility("default")]] const char sublet_application_preloaded = 1;

using Main = int (*)(int, char**, char**);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-declarations"
// NOLINTBEGIN(bugprone-reserved-identifier): it is the C library's name.
/// The C library's, which runs the program's constructors and then `main`: the linker finds this
/// one first.
extern "C" [[gnu::visibility("default")]] int __libc_start_main(Main main, int argc, char** argv,
                                                                void (*init)(), void (*fini)(),
                                                                void (*linker_fini)(),
                                                                void* stack_end);
int __libc_start_main(Main main, int argc, char** argv, void (*init)(), void (*fini)(),
                      void (*linker_fini)(), void* stack_end) {
  const auto next =
      reinterpret_cast<decltype(&__libc_start_main)>(::dlsym(RTLD_NEXT, "__libc_start_main"));
  if (next == nullptr) sublet::executor::give_up("the C library has no __libc_start_main");
  // What the program and its libraries count are the worker's cores.
  if (std::getenv(sublet::wire::kOrderVariable) != nullptr) {
    sublet::executor::count_own_processors();
  }
  // A child that a function starts before the variables are gone is no executor.
  Main chosen =
      std::getenv(sublet::wire::kOrderVariable) == nullptr ? main : &sublet::executor::run_executor;
  return next(chosen, argc, argv, init, fini, linker_fini, stack_end);
}
#pragma GCC diagnostic pop
// NOLINTEND(bugprone-reserved-identifier)
