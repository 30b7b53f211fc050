#include <base/system_text.hpp>
#include <common/listening_socket.hpp>

#include <fcntl.h>
#include <ledger/state_directory.hpp>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace sublet::manager {
namespace {

/// "process 4711 on host n1", as the manager that has the lock has written it.
std::string read_holder(int lock) {
  std::array<char, 512> text{};
  const ssize_t size = ::pread(lock, text.data(), text.size() - 1, 0);
  return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : "a process unknown";
}

std::string this_holder() {
  std::array<char, 256> host{};
  const bool known = ::gethostname(host.data(), host.size() - 1) == 0;
  return "process " + std::to_string(::getpid()) + " on host " + (known ? host.data() : "unknown");
}

}  // namespace

Result<StateDirectory> StateDirectory::open(const std::string& path) {
  if (auto made = make_private_directory(path); !made) {
    return tl::unexpected<Error>(std::move(made.error()));
  }
  StateDirectory directory;
  directory.path_ = path;
  const std::string file = path + "/lock";
  directory.lock_.reset(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  const int lock = directory.lock_.get();
  if (lock < 0) {
    const int error = errno;
    return fail(
        ErrorKind::kInvalid,
        "opening " + file + ": " + base::system_text(error) + "; --state-dir must be writable",
        error);
  }
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    if (error != EWOULDBLOCK) {
      return fail(ErrorKind::kInvalid, "locking " + file + ": " + base::system_text(error), error);
    }
    return fail(ErrorKind::kInvalid, "another resource manager, " + read_holder(lock) +
                                         ", keeps its state in " + path +
                                         "; stop it first, or give this one another --state-dir");
  }
  const std::string holder = this_holder();
  // For people alone: the lock holds without it, on a full disk too.
  if (::ftruncate(lock, 0) == 0) {
    [[maybe_unused]] const ssize_t written = ::pwrite(lock, holder.data(), holder.size(), 0);
  }
  return directory;
}

}  // namespace sublet::manager
