#include <cli/daemon.hpp>

#include <kj/async-unix.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>

namespace sublet::cli {
namespace {

struct StopSignal {
  int number;
  const char* name;
};
constexpr std::array kStopSignals = {StopSignal{SIGTERM, "SIGTERM"}, StopSignal{SIGINT, "SIGINT"},
                                     StopSignal{SIGHUP, "SIGHUP"}};

kj::AsyncIoContext make_io() {
  for (const StopSignal& signal : kStopSignals) kj::UnixEventPort::captureSignal(signal.number);
  return kj::setupAsyncIo();
}

}  // namespace

Daemon::Daemon() : io_(make_io()) {}

kj::Promise<std::string> Daemon::stop_signal() {
  kj::Promise<std::string> first = kj::NEVER_DONE;
  for (const StopSignal& signal : kStopSignals) {
    first = first.exclusiveJoin(
        io_.unixEventPort.onSignal(signal.number).then([name = signal.name](siginfo_t) {
          return std::string(name);
        }));
  }
  return first;
}

Result<AddressFile> AddressFile::write(const std::string& path,
                                       const std::vector<std::string>& addresses) {
  const std::string draft = path + "." + std::to_string(::getpid());
  {
    std::ofstream file(draft, std::ios::trunc);
    for (const std::string& address : addresses) file << address << "\n";
    file.close();
    if (!file) {
      return fail(ErrorKind::kInvalid,
                  "writing address file '" + draft + "': " + std::strerror(errno), errno);
    }
  }
  if (::rename(draft.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(draft.c_str());
    return fail(ErrorKind::kInvalid, "writing address file '" + path + "': " + std::strerror(error),
                error);
  }
  AddressFile file;
  file.path_ = path;
  return file;
}

AddressFile::~AddressFile() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

}  // namespace sublet::cli
