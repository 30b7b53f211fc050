#include <base/clock.hpp>
#include <base/shared_memory.hpp>
#include <base/system_text.hpp>
#include <executor/become.hpp>
#include <executor/library/elf_functions.hpp>
#include <wire/application_text.hpp>
#include <wire/executor_packets.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

extern char** environ;

namespace sublet::executor {
namespace {

constexpr const char* kPreloaded = "libsublet_application.so";

Error failed(const std::string& attempted) {
  const int number = errno;
  return Error(ErrorKind::kInternal, attempted + ": " + base::system_text(number), number);
}

/// Beside this program, or where libraries lie then.
Result<base::Fd> open_preloaded() {
  std::error_code error;
  const auto here = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (const char* folder : {"", "../lib", "../../lib"}) {
    const std::string path = (here / folder / kPreloaded).lexically_normal().string();
    base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd.valid()) return fd;
  }
  return fail(ErrorKind::kUnsupported, std::string(kPreloaded) + " is not beside " + here.string() +
                                           "/sublet-executor: install all of Sublet");
}

Result<std::string> read_text(int memory) {
  struct stat info {};
  if (::fstat(memory, &info) != 0 || info.st_size < 0 ||
      static_cast<std::size_t>(info.st_size) > wire::kMaxSurroundings) {
    return fail(ErrorKind::kInvalid, "the surroundings of an application are too long");
  }
  std::string text(static_cast<std::size_t>(info.st_size), '\0');
  const ssize_t size = ::pread(memory, text.data(), text.size(), 0);
  if (size < 0) return tl::unexpected<Error>(failed("reading an application's surroundings"));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

/// Puts `first` in front of what the variable has; remembers that in `before`.
void prepend(const char* variable, const std::string& first,
             std::array<char, ApplicationOrder::kMostText>& before) {
  const char* value = std::getenv(variable);
  const std::string old = value == nullptr ? "" : value;
  wire::set_text(before, old);
  if (!first.empty()) ::setenv(variable, (old.empty() ? first : first + ":" + old).c_str(), 1);
}

/// Where the client's copy of the program finds its shared objects: $ORIGIN is not that of a memory
/// file.
std::string search_path(const wire::ApplicationSurroundings& surroundings) {
  std::string path;
  for (const std::string& directory : surroundings.directories) {
    if (directory.find(':') != std::string::npos) continue;
    path += (path.empty() ? "" : ":") + directory;
  }
  return path;
}

/// The run-time libraries of sanitizers that the program is built with, each with ':' behind it:
/// they end a process where they are not the first of its libraries.
std::string sanitizers(const wire::ApplicationSurroundings& surroundings) {
  std::string names;
  for (const base::SharedObject& object : surroundings.objects) {
    if (sanitizer_flag(object.name()) != nullptr) names += object.name() + ":";
  }
  return names;
}

}  // namespace

Error run_application(const wire::Become& become, int program, int surroundings,
                      const Place& place) {
  const std::string name(wire::text_of(become.name));
  auto text = read_text(surroundings);
  if (!text) return text.error();
  auto preloaded = open_preloaded();
  if (!preloaded) return preloaded.error();

  ApplicationOrder order;
  order.spawn = place.order;
  order.become = become;
  order.ticks_per_ns = base::TickRate::get().ticks_per_ns();
  order.control = place.control;
  order.data = place.data;
  order.accounting = place.accounting;
  order.surroundings = surroundings;
  order.preloaded = preloaded->get();
  const auto around = wire::ApplicationSurroundings::from_text(*text);
  // Not the name that the loader has for a library in the descriptor of that number later: it would
  // take that for the same one.
  prepend("LD_PRELOAD", sanitizers(around) + "/proc/self//fd/" + std::to_string(preloaded->get()),
          order.preload);
  prepend("LD_LIBRARY_PATH", search_path(around), order.library_path);
  auto memory =
      base::SharedMemory::sealed_copy("sublet-order", std::as_bytes(std::span(&order, 1)));
  if (!memory) return memory.error();
  ::setenv(wire::kOrderVariable, std::to_string(memory->get()).c_str(), 1);
  for (const int fd : {order.control, order.data, order.accounting, order.surroundings,
                       order.preloaded, memory->get()}) {
    if (::fcntl(fd, F_SETFD, 0) != 0) return failed("leaving a descriptor to the application");
  }
  std::string argument = name;
  char* argv[] = {argument.data(), nullptr};
  ::execveat(program, "", argv, environ, AT_EMPTY_PATH);
  return failed("running the application '" + name + "' from memory");
}

}  // namespace sublet::executor
