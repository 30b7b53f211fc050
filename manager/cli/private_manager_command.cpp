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
#include <cstring>
#include <optional>
#include <system_error>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;
using manager::ListeningSocket;
using manager::ResourceManagerService;
using manager::RpcListener;

constexpr std::chrono::seconds kStartLimit{10};

CommandLine command_line() {
  CommandLine line;
  line.name = "private-manager";
  line.arguments = "--lifeline-fd FD --address-fd FD [OPTIONS]";
  line.about =
      "Both managers in one process for one application, started by it: writes its address to one\n"
      "descriptor once it is ready, and ends when the other reaches its end.";
  line.options.add_options()("lifeline-fd", po::value<int>()->required(),
                             "end when this descriptor reaches its end")(
      "address-fd", po::value<int>()->required(),
      "write the address there, and close it at the end")(
      "parent", po::value<pid_t>()->default_value(0),
      "be no child of this process, and end when it does");
  add_node_options(line);
  return line;
}

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
    return fail(ErrorKind::kInternal, std::string("forking: ") + std::strerror(errno), errno);
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

Result<void> announce(int fd, const std::string& address) {
  const std::string line = address + "\n";
  // Shorter than PIPE_BUF: written whole or not at all.
  if (::write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    return fail(ErrorKind::kDisconnected,
                std::string("telling the application the address: ") + std::strerror(errno), errno);
  }
  return {};
}

Result<void> run_managers(const Values& values, const base::Fd& lifeline,
                          const base::Fd& address_fd, const base::Fd& application) {
  auto options = node_options(values);
  if (!options) return tl::unexpected<Error>(options.error());
  options->shares_cores = true;
  // Before any thread or event loop: what it forks inherits the process as it is now.
  auto zygote = manager::start_zygote();
  if (!zygote) return tl::unexpected<Error>(zygote.error());
  const mode_t applications = ::umask(077);
  auto directory = PrivateDirectory::make();
  if (!directory) return tl::unexpected<Error>(directory.error());
  Daemon daemon;
  const auto address = wire::Address::parse("unix:" + directory->path() + "/manager.sock");
  if (!address) return tl::unexpected<Error>(address.error());
  auto socket = ListeningSocket::open(*address, "private manager");
  if (!socket) return tl::unexpected<Error>(socket.error());
  ::umask(applications);

  manager::ServedConnections connections(25);
  auto service = kj::refcounted<ResourceManagerService>(daemon.timer());
  RpcListener listener(
      *daemon.io().lowLevelProvider, std::move(*socket),
      [&service](std::shared_ptr<manager::Peer> peer) -> capnp::Capability::Client {
        return manager::make_resource_manager(kj::addRef(*service), std::move(peer));
      },
      connections);
  options->manager = listener.address().to_string();
  auto started = manager::ExecutorManager::start(daemon.io(), std::move(*zygote), *options);
  if (!started) return tl::unexpected<Error>(started.error());
  // The first lease must find the node.
  manager::within(daemon.timer(), kStartLimit, (*started)->registered(),
                  "the executor manager's registration")
      .wait(daemon.wait_scope());
  if (auto told = announce(address_fd.get(), listener.address().to_string()); !told) {
    return told;
  }
  auto stream = daemon.io().lowLevelProvider->wrapInputFd(lifeline.get());
  auto end = end_of(*stream, std::make_shared<char>());
  std::optional<kj::UnixEventPort::FdObserver> observer;
  if (application.valid()) {  // kernels before 5.3 have the lifeline alone
    observer.emplace(daemon.io().unixEventPort, application.get(),
                     kj::UnixEventPort::FdObserver::OBSERVE_READ);
    end = end.exclusiveJoin(end_of_process(*observer));
  }
  const std::string why = end.exclusiveJoin(daemon.stop_signal()).wait(daemon.wait_scope());
  base::log().info("ending on {}", why);
  (*started)->stop("the private manager ends").wait(daemon.wait_scope());
  return {};
}

/// The application is told too why there is no manager: its stderr may be nobody's.
Result<void> serve(const Values& values) {
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
    (void)announce(address_fd->get(), text);
  }
  return served;
}

}  // namespace

int private_manager_command(const std::vector<std::string>& words) {
  return daemon_command(command_line(), words, serve);
}

}  // namespace sublet::cli
