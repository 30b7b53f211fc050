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
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
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
      "address-fd", po::value<int>()->required(), "write the address there");
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

Result<void> announce(base::Fd fd, const std::string& address) {
  const std::string line = address + "\n";
  // Shorter than PIPE_BUF: written whole or not at all.
  if (::write(fd.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    return fail(ErrorKind::kDisconnected,
                std::string("telling the application the address: ") + std::strerror(errno), errno);
  }
  return {};
}

Result<void> run_managers(const Values& values, const base::Fd& lifeline, base::Fd& address_fd) {
  auto options = node_options(values);
  if (!options) return tl::unexpected<Error>(options.error());
  options->shares_cores = true;
  // Before any thread or event loop: what it forks inherits the process as it is now.
  auto zygote = manager::start_zygote();
  if (!zygote) return tl::unexpected<Error>(zygote.error());
  auto directory = PrivateDirectory::make();
  if (!directory) return tl::unexpected<Error>(directory.error());
  Daemon daemon;
  const auto address = wire::Address::parse("unix:" + directory->path() + "/manager.sock");
  if (!address) return tl::unexpected<Error>(address.error());
  auto socket = ListeningSocket::open(*address, "private manager");
  if (!socket) return tl::unexpected<Error>(socket.error());

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
  if (auto told = announce(std::move(address_fd), listener.address().to_string()); !told) {
    return told;
  }
  auto stream = daemon.io().lowLevelProvider->wrapInputFd(lifeline.get());
  auto end = end_of(*stream, std::make_shared<char>());
  const std::string why = end.exclusiveJoin(daemon.stop_signal()).wait(daemon.wait_scope());
  base::log().info("ending on {}", why);
  (*started)->stop("the private manager ends").wait(daemon.wait_scope());
  return {};
}

/// The application is told too why there is no manager: its stderr may be nobody's.
Result<void> serve(const Values& values) {
  const auto lifeline = inherited(values, "lifeline-fd");
  if (!lifeline) return tl::unexpected<Error>(lifeline.error());
  auto address_fd = inherited(values, "address-fd");
  if (!address_fd) return tl::unexpected<Error>(address_fd.error());
  Result<void> served;
  try {
    served = run_managers(values, *lifeline, *address_fd);
  } catch (const kj::Exception& exception) {
    served = fail(ErrorKind::kInternal, manager::text_of(exception));
  } catch (const std::system_error& error) {
    served =
        fail(ErrorKind::kInternal, "starting a thread: " + base::start_text(error.code().value()));
  } catch (const std::exception& exception) {  // no memory
    served = fail(ErrorKind::kInternal, exception.what());
  }
  if (!served && address_fd->valid()) {
    std::string text =
        wire::kPrivateManagerFailed + wire::cut_text(served.error().what(), wire::kMaxText);
    std::replace(text.begin(), text.end(), '\n', ' ');
    (void)announce(std::move(*address_fd), text);
  }
  return served;
}

}  // namespace

int private_manager_command(const std::vector<std::string>& words) {
  return daemon_command(command_line(), words, serve);
}

}  // namespace sublet::cli
