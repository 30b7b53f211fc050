#include <client/direct_leases.hpp>
#include <wire/placement.hpp>
#include <wire/signed_grant.hpp>

#include <sodium/randombytes.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

namespace sublet::client {
namespace {

/// For one executor manager to answer in; a list is often older than its nodes.
constexpr auto kLookLimit = std::chrono::seconds(1);
/// Others lease there too: what was free is taken by the time it is asked for.
constexpr int kMostAttempts = 4;
/// Of the reasons in one error.
constexpr std::size_t kMostReasons = 4;

std::uint64_t new_lease_number() {
  std::uint64_t number = 0;
  randombytes_buf(&number, sizeof(number));
  // Below 2^63: C's and Fortran's integers have a sign.
  return wire::kDirectLeases | (number & (wire::kDirectLeases - 1));
}

/// Nothing where there are none.
std::string gpus_text(std::uint64_t gpus) {
  if (gpus == 0) return {};
  return " and " + std::to_string(gpus) + (gpus == 1 ? " GPU" : " GPUs");
}

}  // namespace

struct DirectLeases::Looked {
  std::size_t index = 0;
  std::optional<wire::ExecutorManager::Client> manager{};
  NodeInfo node{};
  std::optional<Error> failure{};
};

struct DirectLeases::Asking {
  LeaseRequest wanted;
  base::NodeIdentity client;
  int attempts = 0;
};

kj::Promise<DirectLeases::Looked> DirectLeases::look(ControlLoop& loop, std::size_t index) {
  const std::string& address = executors_[index].address;
  auto looked = loop.connect(address).then(
      [index](Result<kj::Own<Connection>> connection) -> kj::Promise<Looked> {
        if (!connection) return Looked{.index = index, .failure = connection.error()};
        auto manager = (*connection)->bootstrap().castAs<wire::ExecutorManager>();
        return wire::ask_look(manager).then([index, manager, connection = kj::mv(*connection)](
                                                Result<NodeInfo>&& node) mutable -> Looked {
          if (!node) return Looked{.index = index, .failure = std::move(node.error())};
          return Looked{.index = index, .manager = kj::mv(manager), .node = std::move(*node)};
        });
      });
  auto late = wire::after_running(loop.timer(), kLookLimit).then([index, address] {
    return Looked{.index = index,
                  .failure = Error(ErrorKind::kDisconnected,
                                   "nothing answers at " + address + " within 1 s")};
  });
  return looked
      .catch_([index, address](kj::Exception&& exception) {
        return Looked{.index = index, .failure = to_error("looking at " + address, exception)};
      })
      .exclusiveJoin(kj::mv(late));
}

/// One that nobody leases from is a failure: fewer to look at.
kj::Promise<std::vector<DirectLeases::Looked>> DirectLeases::look_at_all(ControlLoop& loop) {
  auto looks = kj::heapArrayBuilder<kj::Promise<Looked>>(executors_.size());
  for (std::size_t i = 0; i < executors_.size(); ++i) looks.add(look(loop, i));
  return kj::joinPromises(looks.finish()).then([](kj::Array<Looked> all) {
    std::vector<Looked> looked;
    for (Looked& one : all) looked.push_back(std::move(one));
    return looked;
  });
}

namespace {

/// "; no answer of 2: why; why", for the end of an error.
template <class All>
std::string reasons_of(const All& looked) {
  std::string text;
  std::size_t failed = 0;
  for (const auto& one : looked) {
    if (!one.failure) continue;
    if (failed++ < kMostReasons) text += std::string("; ") + one.failure->what();
  }
  if (failed > kMostReasons) text += "; and " + std::to_string(failed - kMostReasons) + " more";
  return text;
}

template <class All>
std::optional<Error> none_usable(const All& looked) {
  const Error* first = nullptr;
  for (const auto& one : looked) {
    if (!one.failure) return std::nullopt;
    if (first == nullptr) first = &*one.failure;
  }
  return Error(first == nullptr ? ErrorKind::kInvalid : first->kind(),
               "none of the " + std::to_string(looked.size()) +
                   " executor managers that SUBLET_EXECUTORS names can be leased from" +
                   reasons_of(looked));
}

}  // namespace

kj::Promise<Result<std::vector<NodeInfo>>> DirectLeases::nodes(ControlLoop& loop) {
  return look_at_all(loop).then([](std::vector<Looked> looked) -> Result<std::vector<NodeInfo>> {
    if (auto none = none_usable(looked)) return tl::unexpected<Error>(std::move(*none));
    std::vector<NodeInfo> nodes;
    for (Looked& one : looked) {
      if (!one.failure) nodes.push_back(std::move(one.node));
    }
    return nodes;
  });
}

kj::Promise<Result<wire::Granted>> DirectLeases::ask(ControlLoop& loop, LeaseRequest wanted,
                                                     const base::NodeIdentity& client) {
  return attempt(loop, std::make_shared<Asking>(Asking{std::move(wanted), client}));
}

kj::Promise<Result<wire::Granted>> DirectLeases::attempt(ControlLoop& loop,
                                                         const std::shared_ptr<Asking>& asking) {
  ++asking->attempts;
  return look_at_all(loop).then([this, &loop, asking](std::vector<Looked> looked) {
    return take(loop, asking, std::move(looked));
  });
}

kj::Promise<Result<wire::Granted>> DirectLeases::take(ControlLoop& loop,
                                                      const std::shared_ptr<Asking>& asking,
                                                      std::vector<Looked> looked) {
  using Answer = Result<wire::Granted>;
  if (auto none = none_usable(looked)) return Answer(tl::unexpected<Error>(std::move(*none)));
  const LeaseRequest& wanted = asking->wanted;
  std::vector<wire::Capacity> free;
  std::optional<wire::NodeNumber> own;
  std::uint64_t free_cores = 0;
  std::uint64_t free_gpus = 0;
  for (const Looked& one : looked) {
    if (one.failure || one.node.state != "up") continue;
    const auto number = static_cast<wire::NodeNumber>(one.index);
    const std::uint32_t cores = std::min(one.node.free_cores, executors_[one.index].cores);
    free.push_back(
        {number, cores, one.node.free_memory_bytes, one.node.widest_worker, one.node.free_gpus});
    free_cores += cores;
    free_gpus += one.node.free_gpus;
    if (one.node.node_id == asking->client.id) own = number;
  }
  const auto shares = wire::place(wanted, own, free);
  if (!shares) {
    return Answer(fail(
        ErrorKind::kOverloaded,
        "asked for " +
            std::to_string(std::uint64_t{wanted.cores} * wanted.cores_per_worker * wanted.parts) +
            " cores" +
            gpus_text(std::uint64_t{wanted.cores} * wanted.gpus_per_worker * wanted.parts) +
            " in " + std::to_string(wanted.parts) + " parts; free are " +
            std::to_string(free_cores) + " cores" +
            (wanted.gpus_per_worker == 0 ? ""
                                         : " and " + std::to_string(free_gpus) + " of the GPUs") +
            " on " + std::to_string(free.size()) + " of the " + std::to_string(looked.size()) +
            " executor managers that SUBLET_EXECUTORS names" + reasons_of(looked)));
  }
  return take_shares(loop, asking, std::move(looked), *shares);
}

/// `looked` is by index.
kj::Promise<Result<wire::Granted>> DirectLeases::take_shares(
    ControlLoop& loop, const std::shared_ptr<Asking>& asking, std::vector<Looked> looked,
    const std::vector<wire::Share>& shares) {
  using Answer = Result<wire::Granted>;
  std::map<wire::NodeNumber, std::vector<wire::Share>> by_node;
  for (const wire::Share& share : shares) by_node[share.node].push_back(share);
  const std::uint64_t lease = new_lease_number();
  auto asked = kj::heapArrayBuilder<kj::Promise<Answer>>(by_node.size());
  for (const auto& [node, of_node] : by_node) {
    const auto index = static_cast<std::size_t>(node);
    asked.add(
        wire::ask_shares(*looked[index].manager, asking->wanted, asking->client.id,
                         base::user_at_node(asking->client), base::slurm_job(), {lease, of_node})
            .then([address = executors_[index].address](Answer&& answer) -> Answer {
              // What is known to lead there from here, beside what only its own node reaches.
              if (!answer) return kj::mv(answer);
              for (Grant& grant : answer->grants) {
                std::erase_if(grant.addresses,
                              [](const std::string& other) { return !other.starts_with("unix:"); });
                grant.addresses.push_back(address);
              }
              return kj::mv(answer);
            })
            .catch_([address = executors_[index].address](kj::Exception&& exception) {
              return Answer(tl::unexpected<Error>(to_error("leasing at " + address, exception)));
            }));
  }
  return kj::joinPromises(asked.finish())
      .then([this, &loop, asking](kj::Array<Answer> answers) -> kj::Promise<Answer> {
        wire::Granted all;
        for (Answer& answer : answers) {
          if (!answer) {
            const ErrorKind kind = answer.error().kind();
            const bool again = kind == ErrorKind::kOverloaded || kind == ErrorKind::kDisconnected;
            if (!again || asking->attempts == kMostAttempts) {
              return Answer(tl::unexpected<Error>(std::move(answer.error())));
            }
            answers = nullptr;  // gives back what others granted
            return attempt(loop, asking);
          }
          std::move(answer->grants.begin(), answer->grants.end(), std::back_inserter(all.grants));
          std::move(answer->handles.begin(), answer->handles.end(),
                    std::back_inserter(all.handles));
        }
        return Answer(kj::mv(all));
      });
}

}  // namespace sublet::client
