// Each struct of the control plane's schema, as its readers take it.

#include "target.hpp"
#include <common/messages.hpp>
#include <wire/connect.hpp>
#include <wire/convert.hpp>
#include <wire/drain_report.hpp>
#include <wire/ledger_page.hpp>

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include <array>
#include <cstdint>

namespace sublet::fuzz {
namespace {

constexpr std::size_t kStructs = 12;

void read_one(std::uint32_t which, capnp::MessageReader& message) {
  switch (which % kStructs) {
    case 0:
      return (void)wire::read(message.getRoot<wire::LeaseRequest>());
    case 1:
      return (void)wire::read(message.getRoot<wire::Grant>());
    case 2:
      return (void)manager::read_terms(message.getRoot<wire::Grant>());
    case 3:
      return (void)manager::read(message.getRoot<wire::NodeDescription>());
    case 4:
      return (void)manager::read(message.getRoot<wire::EndedGrant>());
    case 5:
      return (void)wire::read(message.getRoot<wire::NodeStatus>());
    case 6:
      return (void)wire::read(message.getRoot<wire::LeaseStatus>());
    case 7:
      return (void)wire::read(message.getRoot<wire::LedgerQuery>());
    case 8:
      return (void)wire::read(message.getRoot<wire::LedgerEntry>());
    case 9:
      return (void)wire::read(message.getRoot<wire::DrainedNode>());
    case 10:
      return (void)wire::read(message.getRoot<wire::Failure>());
    default:
      return (void)manager::read(message.getRoot<wire::NodeRegistration::CallTimesParams>());
  }
}

void run(std::span<const std::byte> input) {
  Pieces pieces(input);
  const auto which = pieces.take<std::uint32_t>();
  const auto rest = pieces.rest();
  // As a stream has it: where words are aligned.
  std::vector<capnp::word> words(rest.size() / sizeof(capnp::word));
  if (!words.empty()) std::memcpy(words.data(), rest.data(), words.size() * sizeof(capnp::word));
  try {
    capnp::FlatArrayMessageReader message(kj::arrayPtr(words.data(), words.size()),
                                          wire::message_limits());
    read_one(which, message);
  } catch (const kj::Exception&) {  // malformed: the connection ends
  }
}

Bytes seed(std::uint32_t which, capnp::MessageBuilder& message) {
  Bytes bytes = bytes_of_value(which);
  const auto words = capnp::messageToFlatArray(message);
  const auto content = std::as_bytes(std::span(words.begin(), words.size()));
  bytes.insert(bytes.end(), content.begin(), content.end());
  return bytes;
}

manager::GrantTerms terms() {
  manager::GrantTerms terms;
  terms.key = {manager::LeaseId{17}, 1, {}};
  terms.workers = 2;
  terms.memory_bytes = 1 << 20;
  terms.expires = manager::Time(manager::milliseconds(1'800'000'000'000));
  terms.owner = "user@node";
  return terms;
}

std::vector<Bytes> seeds() {
  std::vector<Bytes> all;
  const auto add = [&all](std::uint32_t which, auto&& fill) {
    capnp::MallocMessageBuilder message;
    fill(message);
    all.push_back(seed(which, message));
  };
  using capnp::MallocMessageBuilder;
  add(0, [](MallocMessageBuilder& to) {
    wire::write(to.initRoot<wire::LeaseRequest>(), sublet::LeaseRequest{}, "boot/me", "user@me", 7);
  });
  for (const std::uint32_t which : {1u, 2u}) {
    add(which, [](MallocMessageBuilder& to) {
      manager::NodeOffer node{"n1", "boot/n1", 4, 1 << 30, "0-3", {"unix:@n1", "tcp:h:1"}};
      wire::write(to.initRoot<wire::Grant>(), manager::to_grant(terms(), node));
    });
    add(which,
        [](MallocMessageBuilder& to) { manager::write(to.initRoot<wire::Grant>(), terms()); });
  }
  add(3, [](MallocMessageBuilder& to) {
    manager::NodeOffer node{"n1", "boot/n1", 4, 1 << 30, "0-3", {"unix:@n1", "tcp:h:1"}, 2};
    manager::write(to.initRoot<wire::NodeDescription>(), node);
  });
  add(4, [](MallocMessageBuilder& to) {
    manager::write(to.initRoot<wire::EndedGrant>(),
                   manager::EndedGrant{terms(), {}, "released", manager::milliseconds(5)});
  });
  add(5, [](MallocMessageBuilder& to) {
    NodeInfo info;
    info.name = "n1";
    info.state = "up";
    wire::write(to.initRoot<wire::NodeStatus>(), info);
  });
  add(6, [](MallocMessageBuilder& to) {
    LeaseInfo info;
    info.owner = "user@n1";
    info.nodes = {"n1", "n2"};
    wire::write(to.initRoot<wire::LeaseStatus>(), info);
  });
  add(7, [](MallocMessageBuilder& to) {
    wire::LedgerFilter filter;
    filter.user = "alice";
    wire::write(to.initRoot<wire::LedgerQuery>(), filter);
  });
  add(8, [](MallocMessageBuilder& to) {
    wire::LedgerRow row;
    row.user = "alice";
    row.end = "reported";
    wire::write(to.initRoot<wire::LedgerEntry>(), row);
  });
  add(9, [](MallocMessageBuilder& to) {
    auto drained = to.initRoot<wire::DrainedNode>();
    drained.setNodeId("boot/n1");
    drained.initTally().setInOrder(3);
  });
  add(10, [](MallocMessageBuilder& to) {
    wire::write(to.initRoot<wire::Failure>(), Error(ErrorKind::kDenied, "no"));
  });
  add(11, [](MallocMessageBuilder& to) {
    wire::CallTimes times;
    times.calls[7] = 3;
    times.total_ns = 100;
    manager::write(to.initRoot<wire::NodeRegistration::CallTimesParams>(), times);
  });
  return all;
}

const Registered registered({"control_messages", run, seeds});

}  // namespace
}  // namespace sublet::fuzz
