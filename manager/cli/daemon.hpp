#pragma once

#include <cli/configuration.hpp>
#include <cli/run_command.hpp>
#include <cli/service_notifier.hpp>
#include <sublet/result.hpp>
#include <wire/trust.hpp>

#include <kj/async-io.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sublet::cli {

/// The event loop of a daemon, and the signals that it obeys: SIGTERM and SIGINT end it. SIGHUP has
/// it read its configuration again, or ends it too: where it has none, and where the terminal that
/// it was started from has gone. Raises the limit of open descriptors.
///
/// Owner: the command's function; made before the process has a second thread, after the zygote has
/// been forked (which must not inherit the blocked signals). One per process.
class Daemon final : private kj::TaskSet::ErrorHandler {
 public:
  Daemon();
  /// For a daemon that people start, with a configuration that outlives it.
  explicit Daemon(Configuration& configuration);
  KJ_DISALLOW_COPY(Daemon);

  [[nodiscard]] kj::AsyncIoContext& io() { return io_; }
  [[nodiscard]] kj::Timer& timer() { return io_.provider->getTimer(); }
  [[nodiscard]] kj::WaitScope& wait_scope() { return io_.waitScope; }

  /// Resolves with the name of the first signal that asks the daemon to end.
  kj::Promise<std::string> stop_signal();

  /// It serves: tells the service manager, and on each SIGHUP reads the configuration again.
  /// `apply` takes what can change while it runs (CommandLine::reloadable) or says what is wrong,
  /// and then nothing is changed. Once.
  void serve(std::function<Result<void>(const Values&)> apply);
  /// It ends, and may take so long.
  void stopping(std::chrono::milliseconds most) { notifier_.stopping(most); }

 private:
  kj::Promise<std::string> hangup();
  kj::Promise<void> reload_loop();
  void reload();
  void taskFailed(kj::Exception&& exception) override;

  kj::AsyncIoContext io_;
  Configuration* configuration_ = nullptr;
  bool had_terminal_ = false;
  ServiceNotifier notifier_;
  std::function<Result<void>(const Values&)> apply_;
  kj::TaskSet tasks_;
};

/// The skeleton of a command that serves until it is told to end: run_command, with what KJ throws
/// told as an error too. Nothing has been started when `body` is called: no thread, no event loop.
int daemon_command(const CommandLine& line, const std::vector<std::string>& words,
                   const std::function<Result<void>(const Values&)>& body);
/// The same, of a daemon that people start: with --log-format and --log-level, and what it needs to
/// read its options again.
int daemon_command(const CommandLine& line, const std::vector<std::string>& words,
                   const std::function<Result<void>(Configuration&)>& body);

/// --listen, --address-file, --config, --log-format and --log-level, of daemons that people start.
/// `default_listen`: where it listens when nothing is said, for --help.
void add_daemon_options(CommandLine& line, const std::string& default_listen);

/// --key-file, --manager-user and --insecure.
void add_trust_options(CommandLine& line);

/// What they name, for a daemon that uses `addresses`. kDenied when one of these is on a network
/// and there is nothing to prove or check identities with. Says in the log by what.
Result<std::shared_ptr<const wire::Trust>> daemon_trust(const Values& values,
                                                        const std::vector<std::string>& addresses);

/// A file that names where a daemon listens, one address per line; complete from its first moment,
/// and removed with this object.
class AddressFile {
 public:
  /// The file that --address-file, or `option`, names, if it does.
  static Result<AddressFile> write(const Values& values, const std::vector<std::string>& addresses,
                                   const std::string& option = "address-file");
  AddressFile() = default;
  AddressFile(AddressFile&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  AddressFile& operator=(AddressFile&& other) noexcept {
    path_.swap(other.path_);
    return *this;
  }
  AddressFile(const AddressFile&) = delete;
  AddressFile& operator=(const AddressFile&) = delete;
  ~AddressFile();

 private:
  std::string path_;
};

}  // namespace sublet::cli
