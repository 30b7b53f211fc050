#include <base/descriptor_limit.hpp>
#include <base/json_log.hpp>
#include <base/log.hpp>
#include <base/replace_file.hpp>
#include <base/system_text.hpp>
#include <cli/daemon.hpp>
#include <common/async.hpp>

#include <boost/program_options.hpp>
#include <kj/async-unix.h>
#include <sodium/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <utility>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;

struct StopSignal {
  int number;
  const char* name;
};
constexpr std::array kStopSignals = {StopSignal{SIGTERM, "SIGTERM"}, StopSignal{SIGINT, "SIGINT"}};

constexpr unsigned kEventsBetweenLooks = 64;

constexpr std::array<std::string_view, 7> kLogLevels = {"",     "trace", "debug", "info",
                                                        "warn", "error", "off"};

Result<void> check_log_options(const Values& values) {
  const auto& format = values["log-format"].as<std::string>();
  if (format != "text" && format != "json") {
    return fail(ErrorKind::kInvalid, "--log-format is '" + format + "'; it must be text or json");
  }
  const auto& level = values["log-level"].as<std::string>();
  if (std::find(kLogLevels.begin(), kLogLevels.end(), level) != kLogLevels.end()) return {};
  return fail(ErrorKind::kInvalid,
              "--log-level is '" + level + "'; it must be trace, debug, info, warn, error or off");
}

/// The option, else what SUBLET_LOG says, else info.
void use_log_level(const Values& values) {
  std::string level = values["log-level"].as<std::string>();
  if (level.empty()) {
    const char* const named = std::getenv("SUBLET_LOG");
    level = named == nullptr ? "" : named;
  }
  if (!base::set_log_level(level)) (void)base::set_log_level("info");
}

kj::AsyncIoContext make_io() {
  base::raise_descriptor_limit();
  for (const StopSignal& signal : kStopSignals) kj::UnixEventPort::captureSignal(signal.number);
  kj::UnixEventPort::captureSignal(SIGHUP);
  // A log that has grown to the file size limit (ulimit -f) is no reason to end.
  ::signal(SIGXFSZ, SIG_IGN);
  return kj::setupAsyncIo();
}

}  // namespace

Daemon::Daemon() : io_(make_io()), tasks_(*this) {
  // Else one busy peer could keep the loop from looking at any other, and at the time.
  io_.waitScope.setBusyPollInterval(kEventsBetweenLooks);
}

Daemon::Daemon(Configuration& configuration) : Daemon() {
  configuration_ = &configuration;
  had_terminal_ = ::isatty(STDIN_FILENO) != 0;
}

/// Resolves when a SIGHUP ends the daemon.
kj::Promise<std::string> Daemon::hangup() {
  return io_.unixEventPort.onSignal(SIGHUP).then([this](siginfo_t) -> kj::Promise<std::string> {
    const bool terminal_gone = had_terminal_ && ::isatty(STDIN_FILENO) == 0;
    if (configuration_ == nullptr || terminal_gone) return std::string("SIGHUP");
    return hangup();
  });
}

void Daemon::serve(std::function<Result<void>(const Values&)> apply) {
  apply_ = std::move(apply);
  tasks_.add(notifier_.keep_watchdog(timer()));
  if (configuration_ != nullptr) tasks_.add(reload_loop());
  notifier_.ready();
}

kj::Promise<void> Daemon::reload_loop() {
  return io_.unixEventPort.onSignal(SIGHUP).then([this](siginfo_t) {
    reload();
    return reload_loop();
  });
}

void Daemon::reload() {
  notifier_.reloading();
  auto values = configuration_->read_again();
  std::string wrong = values ? "" : values.error().what();
  if (values) {
    if (auto ok = check_log_options(*values); !ok) wrong = ok.error().what();
  }
  if (wrong.empty()) {
    if (auto applied = apply_(*values); !applied) wrong = applied.error().what();
  }
  if (!wrong.empty()) {
    base::log().error("the configuration stays as it was; on SIGHUP something was wrong: {}",
                      wrong);
    notifier_.ready();
    return;
  }
  use_log_level(*values);
  std::string used;
  std::string kept;
  for (const Configuration::Change& change : configuration_->changes(*values)) {
    std::string& list = change.reloadable ? used : kept;
    list += (list.empty() ? "--" : ", --") + change.option;
  }
  base::log().info("read the configuration again on SIGHUP: {}",
                   used.empty() ? "nothing that can change while this runs is another" : used);
  if (!kept.empty()) {
    base::log().warn("has changed too, and holds until this is started again: {}", kept);
  }
  configuration_->use(*values);
  base::log().debug("the new configuration is in force");
  notifier_.ready();
}

void Daemon::taskFailed(kj::Exception&& exception) {
  base::log().error("waiting for signals: {}", manager::text_of(exception));
}

kj::Promise<std::string> Daemon::stop_signal() {
  kj::Promise<std::string> first = hangup();
  for (const StopSignal& signal : kStopSignals) {
    first = first.exclusiveJoin(
        io_.unixEventPort.onSignal(signal.number).then([name = signal.name](siginfo_t) {
          return std::string(name);
        }));
  }
  return first;
}

int daemon_command(const CommandLine& line, const std::vector<std::string>& words,
                   const std::function<Result<void>(Configuration&)>& body) {
  const std::function<Result<void>(const Values&)> configured =
      [&](const Values& values) -> Result<void> {
    if (auto ok = check_log_options(values); !ok) return ok;
    if (values["log-format"].as<std::string>() == "json") base::log_as_json();
    use_log_level(values);
    Configuration configuration(line, words, values);
    return body(configuration);
  };
  return daemon_command(line, words, configured);
}

int daemon_command(const CommandLine& line, const std::vector<std::string>& words,
                   const std::function<Result<void>(const Values&)>& body) {
  return run_command(line, words, [&body](const Values& values) -> Result<void> {
    ::signal(SIGCHLD, SIG_DFL);  // a parent that ignores it would have us never see a child's end
    if (::sodium_init() < 0) return fail(ErrorKind::kInternal, "libsodium does not start");
    try {
      return body(values);
    } catch (const kj::Exception& exception) {
      return fail(ErrorKind::kInternal, manager::text_of(exception));
    } catch (const std::system_error& error) {
      return fail(ErrorKind::kInternal,
                  "starting a thread: " + base::start_text(error.code().value()));
    }
  });
}

void add_daemon_options(CommandLine& line, const std::string& default_listen) {
  line.options.add_options()(
      "listen", po::value<std::vector<std::string>>(),
      ("address to listen at, unix:PATH or tcp:HOST:PORT (port 0: any free one); may be repeated; "
       "by default " +
       default_listen)
          .c_str())("address-file", po::value<std::string>(),
                    "write the addresses to this file once the manager listens, one per line")(
      "config", po::value<std::string>(), "read this configuration file")(
      "log-format", po::value<std::string>()->default_value("text"),
      "text, or json for programs: an object a line")(
      "log-level", po::value<std::string>()->default_value(""),
      "trace, debug, info, warn, error or off (default: $SUBLET_LOG, else info)");
  line.lists = {"listen"};
  line.choices["log-format"] = {"text", "json"};
  line.choices["log-level"] = {"trace", "debug", "info", "warn", "error", "off"};
  line.reloadable = {"log-level"};
  line.configurable = true;
  line.logs_info = true;
}

void add_trust_options(CommandLine& line) {
  line.options.add_options()(
      "key-file", po::value<std::vector<std::string>>(),
      "file with a key that other nodes and clients share (see `sublet key`); may be repeated: who "
      "has the key is taken for the file's owner (default: sublet/key in the configuration "
      "directory, else /etc/sublet/key)")(
      "manager-user", po::value<std::string>()->default_value(""),
      "user whose managers are believed beside root's and this user's own")(
      "insecure", po::bool_switch(),
      "over a network believe whoever comes, and let him do everything");
  line.lists.emplace_back("key-file");
}

namespace {

/// The first manager of a user who has nothing to prove himself with over a network makes the key
/// that the others, and clients, find where they share the directory.
void make_first_key() {
  const std::string path = wire::default_key_files().front();
  if (const auto made = wire::Key::make(path); !made) {
    base::log().warn("there is no key to prove who asks, and none can be made: {}",
                     made.error().what());
    return;
  }
  base::log().warn(
      "made {}: who can read it is this user for all managers here. Nodes and clients that do not "
      "share its directory need a copy of it, or munged",
      path);
}

}  // namespace

Result<std::shared_ptr<const wire::Trust>> daemon_trust(const Values& values,
                                                        const std::vector<std::string>& addresses) {
  wire::TrustOptions options;
  if (values.count("key-file") != 0) {
    options.key_files = values["key-file"].as<std::vector<std::string>>();
  }
  options.manager_user = values["manager-user"].as<std::string>();
  options.insecure = values["insecure"].as<bool>();
  auto trust = wire::Trust::load(options);
  const bool network = std::any_of(addresses.begin(), addresses.end(), [](const std::string& text) {
    return text.starts_with("tcp:");
  });
  if (!network) {
    if (auto problem = trust->problem(); !problem) {
      return tl::unexpected<Error>(std::move(problem.error()));
    }
    return trust;
  }
  const bool names_keys = !options.key_files.empty() || ::getenv("SUBLET_KEY_FILE") != nullptr;
  if (!names_keys && trust->problem() && !trust->can_prove()) {
    make_first_key();
    trust = wire::Trust::load(options);
  }
  if (auto able = trust->can_prove(); !able) return tl::unexpected<Error>(std::move(able.error()));
  if (trust->insecure()) {
    base::log().warn("--insecure: whoever reaches this over the network may do everything");
  } else {
    base::log().info("over a network others prove who they are by {}", trust->to_string());
  }
  return trust;
}

Result<AddressFile> AddressFile::write(const Values& values,
                                       const std::vector<std::string>& addresses,
                                       const std::string& option) {
  AddressFile file;
  if (values.count(option) == 0) return file;
  std::string text;
  for (const std::string& address : addresses) text += address + "\n";
  const auto& path = values[option].as<std::string>();
  if (auto written = base::replace_file(path, text, "writing address file"); !written) {
    return tl::unexpected<Error>(written.error());
  }
  file.path_ = path;
  return file;
}

AddressFile::~AddressFile() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

}  // namespace sublet::cli
