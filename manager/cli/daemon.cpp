#include <base/descriptor_limit.hpp>
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
#include <system_error>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;

struct StopSignal {
  int number;
  const char* name;
};
constexpr std::array kStopSignals = {StopSignal{SIGTERM, "SIGTERM"}, StopSignal{SIGINT, "SIGINT"},
                                     StopSignal{SIGHUP, "SIGHUP"}};

constexpr unsigned kEventsBetweenLooks = 64;

kj::AsyncIoContext make_io() {
  base::raise_descriptor_limit();
  for (const StopSignal& signal : kStopSignals) kj::UnixEventPort::captureSignal(signal.number);
  // A log that has grown to the file size limit (ulimit -f) is no reason to end.
  ::signal(SIGXFSZ, SIG_IGN);
  return kj::setupAsyncIo();
}

}  // namespace

Daemon::Daemon() : io_(make_io()) {
  // Else one busy peer could keep the loop from looking at any other, and at the time.
  io_.waitScope.setBusyPollInterval(kEventsBetweenLooks);
}

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
      "config", po::value<std::string>(), "read this configuration file");
  line.lists = {"listen"};
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
