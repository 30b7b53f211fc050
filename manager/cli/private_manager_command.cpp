#include <base/descriptors.hpp>
#include <base/log.hpp>
#include <base/system_text.hpp>
#include <cli/command.hpp>
#include <cli/daemon.hpp>
#include <cli/executor_manager_options.hpp>
#include <cli/private_directory.hpp>
#include <common/async.hpp>
#include <common/rpc_listener.hpp>
#include <executor_manager/zygote_process.hpp>
#include <resource_manager/resource_manager_server.hpp>
#include <wire/convert.hpp>
#include <wire/limits.hpp>
#include <wire/manager_address.hpp>

#include <boost/program_options.hpp>
#include <fcntl.h>
#include <kj/async-unix.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <memory>
#include <optional>
#include <system_error>
#include <vector>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;
using manager::ListeningSocket;
using manager::ResourceManagerService;
using manager::RpcListener;

constexpr std::chrono::seconds kStartLimit{10};

/// Between two looks at whether the job has another manager, and at who still needs this one.
constexpr timespec kLook{0, 5'000'000};
constexpr kj::Duration kLookAtUsers = 5 * kj::MILLISECONDS;
constexpr kj::Duration kLookAtOtherUsers = 50 * kj::MILLISECONDS;

/// After the end of its starter: for that process's own connections to close.
constexpr kj::Duration kGoodbye = 100 * kj::MILLISECONDS;

}  // namespace

CommandLine private_manager_command_line() {
  CommandLine line;
  line.name = "private-manager";
  line.arguments = "--lifeline-fd FD --address-fd FD [OPTIONS]";
  line.about =
      "Both managers in one process for one application, started by it: writes its address to one\n"
      "descriptor once it is ready, and ends when the other has reached its end and no process of\n"
      "the job uses it. Where the job has a private manager already, writes that one's address.";
  line.options.add_options()("lifeline-fd", po::value<int>()->required(),
                             "end when this descriptor reaches its end")(
      "address-fd", po::value<int>()->required(),
      "write the address there, and close it at the end")(
      "parent", po::value<pid_t>()->default_value(0),
      "be no child of this process, and end when it does")(
      "job", po::value<std::string>()->default_value(""),
      "share the manager with all who give this name (default: with nobody)");
  add_node_options(line);
  add_isolation_options(line, "process");
  line.reads_environment = true;  // who starts an application cannot give it flags
  return line;
}

namespace {

Result<base::Fd> inherited(const po::variables_map& values, const char* option) {
  const int fd = values[option].as<int>();
  if (fd <= STDERR_FILENO || ::fcntl(fd, F_GETFD) < 0) {
    return fail(ErrorKind::kInvalid,
                std::string("--") + option + " " + std::to_string(fd) + " is no open descriptor");
  }
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return base::Fd(fd);
}

/// Goes on in a process that is nobody's child.
Result<void> leave_parent() {
  const pid_t pid = ::fork();
  if (pid < 0) {
    return fail(ErrorKind::kInternal, std::string("forking: ") + base::system_text(errno), errno);
  }
  if (pid > 0) ::_exit(0);
  return {};
}

/// Resolves when the process behind `pidfd` has ended. Copies of the lifeline that its children
/// have do not matter to it.
kj::Promise<std::string> end_of_process(kj::UnixEventPort::FdObserver& observer) {
  return observer.whenBecomesReadable().then(
      [] { return std::string("the death of its application"); });
}

/// The application is gone, or does not want the manager any more.
kj::Promise<std::string> end_of(kj::AsyncInputStream& lifeline,
                                const std::shared_ptr<char>& buffer) {
  return lifeline.tryRead(buffer.get(), 1, 1)
      .then(
          [&lifeline, buffer](std::size_t size) -> kj::Promise<std::string> {
            if (size > 0) return end_of(lifeline, buffer);
            return std::string("the end of its application");
          },
          [](kj::Exception&&) -> kj::Promise<std::string> {
            return std::string("the end of its application");
          });
}

Result<void> tell(const base::Fd& fd, const std::string& text) {
  const std::string line = text + "\n";
  // Shorter than PIPE_BUF: written whole or not at all.
  if (::write(fd.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    return fail(ErrorKind::kDisconnected,
                std::string("telling the application the address: ") + base::system_text(errno),
                errno);
  }
  return {};
}

/// The directory of the job's manager, or the address of the one that has it.
struct Place {
  PrivateDirectory directory;
  std::string taken_by;
};

Result<Place> take_place(const std::string& job) {
  const auto deadline = std::chrono::steady_clock::now() + kStartLimit;
  for (;;) {
    auto directory = PrivateDirectory::make(job);
    if (directory) return Place{std::move(*directory), ""};
    if (directory.error().kind() != ErrorKind::kOverloaded) {
      return tl::unexpected<Error>(directory.error());
    }
    if (auto address = PrivateDirectory::announced(job); !address.empty()) {
      return Place{{}, std::move(address)};
    }
    if (std::chrono::steady_clock::now() > deadline) {
      return fail(ErrorKind::kDisconnected,
                  "another process starts or ends a private manager of this job, and has not come "
                  "to an end of it within 10 s: " +
                      std::string(directory.error().what()));
    }
    ::nanosleep(&kLook, nullptr);
  }
}

/// Who uses the managers beside the process that has started them: other sessions' connections, and
/// leases, whose clients know the executor manager alone.
class Users {
 public:
  explicit Users(kj::Timer& timer) : timer_(timer) {}

  void add(const std::shared_ptr<manager::Peer>& peer) {
    std::erase_if(peers_, [](const auto& known) { return known.expired(); });
    peers_.push_back(peer);
  }
  /// Those who came until now are of this process.
  void forget() { peers_.clear(); }

  [[nodiscard]] bool any(manager::ExecutorManager& manager) const {
    for (const auto& peer : peers_) {
      if (!peer.expired()) return true;
    }
    for (const manager::HeldGrant* grant : manager.held()) {
      if (grant->state() == manager::HeldGrant::State::kClaimed) return true;
    }
    return false;
  }

  /// True once there were none: whoever comes now comes too late, and asks for another manager.
  [[nodiscard]] bool have_ended() const noexcept { return ended_; }

  /// Resolves with false once there are none, with true when there are some after `limit`.
  kj::Promise<bool> remain(manager::ExecutorManager& manager, kj::TimePoint limit,
                           kj::Duration look) {
    ended_ = !any(manager);
    if (ended_) return false;
    if (timer_.now() >= limit) return true;
    return timer_.afterDelay(look).then(
        [this, &manager, limit, look] { return remain(manager, limit, look); });
  }

 private:
  kj::Timer& timer_;
  std::vector<std::weak_ptr<manager::Peer>> peers_;
  bool ended_ = false;
};

/// The starter needs the managers no more; the others of its job may.
kj::Promise<std::string> end_of_users(std::string why, Users& users, kj::Timer& timer,
                                      manager::ExecutorManager& manager, const base::Fd& address) {
  return users.remain(manager, timer.now() + kGoodbye, kLookAtUsers)
      .then([why = std::move(why), &users, &manager,
             &address](bool others) mutable -> kj::Promise<std::string> {
        if (!others) return std::move(why);
        base::log().info("staying for other processes of the job after {}", why);
        (void)tell(address, "staying");  // it does not wait for us then
        return users.remain(manager, kj::maxValue, kLookAtOtherUsers).then([](bool) {
          return std::string("the end of the last process of its job");
        });
      });
}

Result<void> run_managers(const Values& values, const base::Fd& lifeline,
                          const base::Fd& address_fd, const base::Fd& application) {
  auto options = node_options(values);
  if (!options) return tl::unexpected<Error>(options.error());
  options->shares_cores = true;
  options->takes_orders_to_leave = false;
  options->hide_executors = false;
  const mode_t applications = ::umask(077);
  auto place = take_place(values["job"].as<std::string>());
  ::umask(applications);
  if (!place) return tl::unexpected<Error>(place.error());
  if (!place->taken_by.empty()) return tell(address_fd, place->taken_by);
  PrivateDirectory& directory = place->directory;
  auto isolated = isolation_of(values);
  if (!isolated) return tl::unexpected<Error>(isolated.error());
  options->images = std::move(isolated->images);
  // Before any thread or event loop: what it forks inherits the process as it is now.
  auto zygote = manager::start_zygote(manager::ZygoteFor::kApplication, isolated->isolation);
  if (!zygote) return tl::unexpected<Error>(zygote.error());
  Daemon daemon;
  ::umask(077);
  const auto address = wire::Address::parse("unix:" + directory.path() + "/manager.sock");
  if (!address) return tl::unexpected<Error>(address.error());
  auto socket = ListeningSocket::open(*address, "private manager");
  if (!socket) return tl::unexpected<Error>(socket.error());
  ::umask(applications);

  const auto connections = std::make_shared<manager::ServedConnections>(25, wire::Trust::load({}));
  const auto operators = manager::Operators::of_this_process();
  if (!operators) return tl::unexpected<Error>(operators.error());
  auto service = kj::refcounted<ResourceManagerService>(daemon.timer(), *operators);
  Users users(daemon.timer());
  RpcListener listener(
      *daemon.io().lowLevelProvider, std::move(*socket),
      [&service, &users](std::shared_ptr<manager::Peer> peer) -> capnp::Capability::Client {
        if (users.have_ended()) return KJ_EXCEPTION(DISCONNECTED, "the private manager ends");
        users.add(peer);
        return manager::make_resource_manager(kj::addRef(*service), std::move(peer));
      },
      connections);
  options->manager = listener.address().to_string();
  auto started = manager::ExecutorManager::start(daemon.io(), std::move(*zygote), *options,
                                                 std::move(isolated->containers));
  if (!started) return tl::unexpected<Error>(started.error());
  // The first lease must find the node.
  manager::within(daemon.timer(), kStartLimit, (*started)->registered(),
                  "the executor manager's registration")
      .wait(daemon.wait_scope());
  users.forget();
  const std::string here = listener.address().to_string();
  if (auto announced = directory.announce(here); !announced) return announced;
  if (auto told = tell(address_fd, here); !told) return told;
  auto stream = daemon.io().lowLevelProvider->wrapInputFd(lifeline.get());
  auto end = end_of(*stream, std::make_shared<char>());
  std::optional<kj::UnixEventPort::FdObserver> observer;
  if (application.valid()) {  // kernels before 5.3 have the lifeline alone
    observer.emplace(daemon.io().unixEventPort, application.get(),
                     kj::UnixEventPort::FdObserver::OBSERVE_READ);
    end = end.exclusiveJoin(end_of_process(*observer));
  }
  end = end.then([&](std::string why) {
    return end_of_users(std::move(why), users, daemon.timer(), **started, address_fd);
  });
  const std::string why = end.exclusiveJoin(daemon.stop_signal()).wait(daemon.wait_scope());
  base::log().info("ending on {}", why);
  directory.withdraw();
  (*started)->stop("the private manager ends").wait(daemon.wait_scope());
  return {};
}

/// The application is told too why there is no manager: its stderr may be nobody's.
Result<void> serve_private_manager(const Values& values) {
  const auto lifeline = inherited(values, "lifeline-fd");
  if (!lifeline) return tl::unexpected<Error>(lifeline.error());
  const auto address_fd = inherited(values, "address-fd");
  if (!address_fd) return tl::unexpected<Error>(address_fd.error());
  // Of the application nothing but its output: who waits for the end of a pipe or for a port of it
  // does not wait for this process, and what is typed for it is not read here.
  base::close_all_but(std::array{lifeline->get(), address_fd->get()});
  base::read_nothing();
  const pid_t parent = values["parent"].as<pid_t>();
  if (parent != 0) {
    if (auto left = leave_parent(); !left) return left;
  }
  const base::Fd application(static_cast<int>(::syscall(SYS_pidfd_open, parent, 0)));
  Result<void> served;
  try {
    served = run_managers(values, *lifeline, *address_fd, application);
  } catch (const kj::Exception& exception) {
    served = fail(ErrorKind::kInternal, manager::text_of(exception));
  } catch (const std::system_error& error) {
    served =
        fail(ErrorKind::kInternal, "starting a thread: " + base::start_text(error.code().value()));
  } catch (const std::exception& exception) {  // no memory
    served = fail(ErrorKind::kInternal, exception.what());
  }
  if (!served) {
    std::string text =
        wire::kPrivateManagerFailed + wire::cut_text(served.error().what(), wire::kMaxText);
    std::replace(text.begin(), text.end(), '\n', ' ');
    (void)tell(*address_fd, text);
  }
  return served;
}

}  // namespace

int private_manager_command(const std::vector<std::string>& words) {
  return daemon_command(private_manager_command_line(), words, serve_private_manager);
}

}  // namespace sublet::cli
