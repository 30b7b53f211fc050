#include <base/log.hpp>
#include <base/node_identity.hpp>
#include <cli/command.hpp>
#include <cli/daemon.hpp>
#include <cli/manager_address_keeper.hpp>
#include <cli/resource_manager_options.hpp>
#include <common/alarms.hpp>
#include <common/async.hpp>
#include <common/host_addresses.hpp>
#include <common/rpc_listener.hpp>
#include <resource_manager/resource_manager_server.hpp>
#include <wire/side_thread.hpp>
#include <wire/signing_key.hpp>

#include <boost/program_options.hpp>
#include <ledger/ledger.hpp>
#include <sodium.h>
#include <web/web_server.hpp>

#include <functional>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;
using manager::ListeningSocket;
using manager::ResourceManagerService;
using manager::RpcListener;

constexpr kj::Duration kLookAtAddress = 1 * kj::SECONDS;

}  // namespace

CommandLine resource_manager_command_line() {
  CommandLine line;
  line.name = "resource-manager";
  line.arguments = "[OPTIONS]";
  line.about =
      "Knows all nodes and grants leases on them. Executor managers register with it; it can be\n"
      "stopped and started again while leases are in use. Ends on SIGTERM or SIGINT.";
  add_daemon_options(line, "this user's own socket, where clients look for it");
  add_trust_options(line);
  line.options.add_options()(
      "address-dir", po::value<std::string>(),
      "keep the address in this directory, which all nodes share, as long as the manager runs: "
      "where "
      "$SUBLET_MANAGER_DIR or --manager-dir names it, it is found; listens at tcp:*:0 when no "
      "--listen is given")("advertise", po::value<std::vector<std::string>>(),
                           "host name or address by which other nodes reach this one, for "
                           "--address-dir where the manager "
                           "listens at every interface (default: the host name)")(
      "state-dir", po::value<std::string>(),
      "keep the ledger in this directory, so that leases and what they have used outlive the "
      "manager; "
      "made when it is not there, on a local disk. Without it all is kept in memory")(
      "price-core-hour", po::value<double>()->default_value(0),
      "what `sublet ledger` shows as the cost of holding a core for an hour")(
      "price-memory-gib-hour", po::value<double>()->default_value(0),
      "the same for a GiB of memory")("price-gpu-hour", po::value<double>()->default_value(0),
                                      "the same for a GPU")(
      "price-hot-poll-hour", po::value<double>()->default_value(0),
      "the same for an hour in which a worker polls, on top of its cores")(
      "price-compute-hour", po::value<double>()->default_value(0),
      "the same for an hour in which a worker computes, on top of its cores");
  line.options.add_options()(
      "quota-cores", po::value<std::string>()->default_value("none"),
      "how many cores each user may hold at one time who has no quota of his own and is no "
      "operator; "
      "`sublet quota` sets others, which count for more, and with --state-dir stay")(
      "quota-core-seconds", po::value<std::string>()->default_value("none"),
      "the same for the core-seconds that he may use in a day (UTC)")(
      "wait-aging", po::value<std::string>()->default_value("2min"),
      "a request that waits, and has been the first of its user's for so long, rises by one in "
      "priority, and what comes free is kept for it")(
      "clock-tolerance", po::value<std::string>()->default_value("30s"),
      "refuse nodes whose clock is further than this from this one's, for instance 500ms or 5min")(
      "http", po::value<std::string>()->default_value(""),
      "serve the page, metrics and the API over HTTP at this address, for instance "
      "127.0.0.1:8080 (port 0: any free one) or unix:PATH")(
      "http-token-file", po::value<std::vector<std::string>>(),
      "file with a token (32 bytes in base64, nothing else); who sends it may do over HTTP what "
      "the file's owner may; may be repeated. Needed for an --http that other nodes reach, and by "
      "whoever changes something")("http-host", po::value<std::vector<std::string>>(),
                                   "a name by which browsers reach this node, beside its own")(
      "http-address-file", po::value<std::string>(),
      "write the address of the page to this file once it is served")(
      "operators", po::value<std::string>()->default_value(""),
      "group whose members may do what root and this manager's user may: "
      "register and drain nodes, see and end everybody's leases");
  for (const char* const list : {"advertise", "http-token-file", "http-host"}) {
    line.lists.emplace_back(list);
  }
  line.reloadable.insert(
      line.reloadable.end(),
      {"price-core-hour", "price-memory-gib-hour", "price-gpu-hour", "price-hot-poll-hour",
       "price-compute-hour", "quota-cores", "quota-core-seconds", "wait-aging", "clock-tolerance"});
  return line;
}

namespace {

/// The default socket's directory belongs to this user alone, whatever made it.
Result<std::vector<std::string>> listen_addresses(const po::variables_map& values) {
  if (values.count("listen") != 0) return values["listen"].as<std::vector<std::string>>();
  if (values.count("address-dir") != 0) return std::vector<std::string>{"tcp:*:0"};
  const std::string directory = base::runtime_directory();
  if (auto made = manager::make_private_directory(directory); !made) {
    return tl::unexpected<Error>(made.error());
  }
  return std::vector<std::string>{"unix:" + directory + "/manager.sock"};
}

Result<std::vector<ListeningSocket>> open_sockets(const std::vector<std::string>& texts) {
  std::vector<ListeningSocket> sockets;
  for (const std::string& text : texts) {
    const auto address = wire::Address::parse(text);
    if (!address) return tl::unexpected<Error>(address.error());
    auto socket = ListeningSocket::open(*address, "resource manager");
    if (!socket) return tl::unexpected<Error>(socket.error());
    sockets.push_back(std::move(*socket));
  }
  return sockets;
}

/// Resolves with what is wrong once another manager has put its address in the place of this one's:
/// two would split the cluster between them.
kj::Promise<std::string> until_taken_over(kj::Timer& timer,
                                          std::shared_ptr<wire::SideThread> thread,
                                          std::string directory, std::string instance) {
  using Answer = std::optional<std::string>;
  return timer.afterDelay(kLookAtAddress)
      .then([thread, directory, instance] {
        return thread->run<Answer>([directory, instance] {
          return ManagerAddressKeeper::taken_over(directory, instance);
        });
      })
      .then(
          [&timer, thread, directory, instance](Answer&& why) mutable -> kj::Promise<std::string> {
            if (why) return std::move(*why);
            return until_taken_over(timer, std::move(thread), std::move(directory),
                                    std::move(instance));
          });
}

/// Null without --state-dir.
Result<kj::Own<manager::Ledger>> open_ledger(const po::variables_map& values, kj::Timer& timer,
                                             const ResourceManagerService::Clock& clock) {
  const auto wanted = prices(values);
  if (!wanted) return tl::unexpected<Error>(wanted.error());
  if (values.count("state-dir") == 0) return kj::Own<manager::Ledger>();
  auto ledger = manager::Ledger::open(values["state-dir"].as<std::string>(), *wanted, timer, clock);
  if (ledger) base::log().info("keeping the ledger in {}", (*ledger)->path());
  return ledger;
}

/// The next leases cost so.
kj::Promise<void> keep_prices(manager::Ledger& ledger, const manager::Prices& prices) {
  return ledger.set_prices(prices)
      .then([](Result<void>&& kept) {
        if (kept) return;
        base::log().error("writing the prices into the ledger: {}; send SIGHUP again",
                          kept.error().what());
      })
      .eagerlyEvaluate([](kj::Exception&& exception) {
        base::log().error("writing the prices into the ledger: {}", manager::text_of(exception));
      });
}

/// What grants are signed with: kept with the other state, so that those of before a restart are
/// good after it; else new.
Result<wire::SigningKey> grant_key(const po::variables_map& values) {
  if (::sodium_init() < 0) return fail(ErrorKind::kInternal, "libsodium does not initialise");
  if (values.count("state-dir") == 0) return wire::SigningKey::make();
  return wire::SigningKey::keep(values["state-dir"].as<std::string>() + "/grant.key");
}

std::vector<std::string> list_of(const po::variables_map& values, const char* option) {
  if (values.count(option) == 0) return {};
  return values[option].as<std::vector<std::string>>();
}

/// What --http asks for: nothing without it.
struct WebPlan {
  manager::web::WebAccess access;
  std::optional<ListeningSocket> socket;
};

Result<WebPlan> plan_web(const po::variables_map& values) {
  WebPlan plan;
  const auto& address = values["http"].as<std::string>();
  if (address.empty()) return plan;
  auto access = manager::web::WebAccess::load(list_of(values, "http-token-file"),
                                              list_of(values, "http-host"));
  if (!access) return tl::unexpected<Error>(std::move(access.error()));
  auto socket = manager::web::WebServer::listen(address, *access);
  if (!socket) return tl::unexpected<Error>(std::move(socket.error()));
  plan.access = std::move(*access);
  plan.socket = std::move(*socket);
  return plan;
}

Result<void> serve_resource_manager(Configuration& configuration) {
  const Values& values = configuration.values();
  const auto addresses = listen_addresses(values);
  if (!addresses) return tl::unexpected<Error>(addresses.error());
  const auto hosts = manager::advertised_hosts(
      values.count("advertise") == 0 ? std::vector<std::string>{}
                                     : values["advertise"].as<std::vector<std::string>>());
  if (!hosts) return tl::unexpected<Error>(hosts.error());
  const auto trust = daemon_trust(values, *addresses);
  if (!trust) return tl::unexpected<Error>(trust.error());
  const auto operators = manager::Operators::of_this_process(values["operators"].as<std::string>(),
                                                             (*trust)->insecure());
  if (!operators) return tl::unexpected<Error>(operators.error());
  const auto limits = desk_limits(values);
  if (!limits) return tl::unexpected<Error>(limits.error());
  Daemon daemon(configuration);
  const ResourceManagerService::Clock clock =
      std::bind_front(&manager::ManagerClock::now, manager::ManagerClock());
  // Before the sockets: who finds those may lease.
  auto ledger = open_ledger(values, daemon.timer(), clock);
  if (!ledger) return tl::unexpected<Error>(ledger.error());
  auto key = grant_key(values);
  if (!key) return tl::unexpected<Error>(key.error());
  const auto tolerance = clock_tolerance(values);
  if (!tolerance) return tl::unexpected<Error>(tolerance.error());
  auto web_plan = plan_web(values);
  if (!web_plan) return tl::unexpected<Error>(web_plan.error());
  auto sockets = open_sockets(*addresses);
  if (!sockets) return tl::unexpected<Error>(sockets.error());

  const auto connections = std::make_shared<manager::ServedConnections>(75, *trust);
  auto service = kj::refcounted<ResourceManagerService>(daemon.timer(), *operators, clock,
                                                        ledger->get(), *limits);
  service->sign_with(std::move(*key));
  service->set_clock_tolerance(*tolerance);
  KJ_DEFER(service->forget_records());  // calls under way outlive this
  std::vector<kj::Own<RpcListener>> listeners;
  std::vector<std::string> real;
  for (ListeningSocket& socket : *sockets) {
    listeners.push_back(kj::heap<RpcListener>(
        *daemon.io().lowLevelProvider, std::move(socket),
        [&service](std::shared_ptr<manager::Peer> peer) -> capnp::Capability::Client {
          return manager::make_resource_manager(kj::addRef(*service), std::move(peer));
        },
        connections));
    real.push_back(listeners.back()->address().to_string());
    base::log().info("listening at {}", real.back());
  }
  kj::Own<manager::web::WebServer> web;
  if (web_plan->socket) {
    web = kj::heap<manager::web::WebServer>(
        *daemon.io().lowLevelProvider, std::move(*web_plan->socket), std::move(web_plan->access),
        kj::addRef(*service), &connections->table.state());
    base::log().info("the page is at {}", web->url());
  }
  const auto web_file = AddressFile::write(
      values, web_plan->socket ? std::vector{web->url()} : std::vector<std::string>{},
      "http-address-file");
  if (!web_file) return tl::unexpected<Error>(web_file.error());
  const auto file = AddressFile::write(values, real);
  if (!file) return tl::unexpected<Error>(file.error());
  ManagerAddressKeeper keeper;
  if (values.count("address-dir") != 0) {
    auto kept = ManagerAddressKeeper::write(values["address-dir"].as<std::string>(), real, *hosts,
                                            service->instance());
    if (!kept) return tl::unexpected<Error>(kept.error());
    keeper = std::move(*kept);
  }
  manager::Alarms alarms;
  alarms.add(manager::descriptors_alarm);
  for (auto& listener : listeners) alarms.add([&listener] { return listener->alarm(); });
  if (ledger->get() != nullptr) {
    alarms.add([path = (*ledger)->path()] { return manager::disk_alarm(path); });
  }
  auto watched = alarms.watch(daemon.timer()).eagerlyEvaluate(nullptr);
  std::string loss;
  auto lost = kj::Promise<std::string>(kj::NEVER_DONE);
  if (values.count("address-dir") != 0) {
    lost = until_taken_over(daemon.timer(), std::make_shared<wire::SideThread>(),
                            values["address-dir"].as<std::string>(), service->instance())
               .then([&loss](std::string why) {
                 loss = std::move(why);
                 return std::string("the loss of its directory");
               });
  }
  kj::Promise<void> priced = kj::READY_NOW;
  daemon.serve([&](const Values& again) -> Result<void> {
    const auto reloaded = reloaded_options(again);
    if (!reloaded) return tl::unexpected<Error>(reloaded.error());
    service->set_limits(reloaded->desk);
    service->set_clock_tolerance(reloaded->clock_tolerance);
    if (ledger->get() != nullptr) priced = keep_prices(**ledger, reloaded->prices);
    return {};
  });
  const std::string why =
      daemon.stop_signal().exclusiveJoin(kj::mv(lost)).wait(daemon.wait_scope());
  daemon.stopping(std::chrono::seconds(30));
  base::log().info("ending on {}", why);
  if (!loss.empty()) return fail(ErrorKind::kDenied, loss);
  return {};
}

}  // namespace

int resource_manager_command(const std::vector<std::string>& words) {
  return daemon_command(resource_manager_command_line(), words, serve_resource_manager);
}

}  // namespace sublet::cli
