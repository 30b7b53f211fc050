#include <base/log.hpp>
#include <client/control_thread.hpp>
#include <client/recovery.hpp>

#include <algorithm>
#include <map>
#include <utility>

namespace sublet::client {
namespace {

/// Between two attempts, after one that failed.
constexpr auto kRetryPauseMin = std::chrono::milliseconds(10);
constexpr auto kRetryPauseMax = std::chrono::seconds(1);

}  // namespace

Recovery::Recovery(Background& background, std::shared_ptr<LeaseEvents> events,
                   std::shared_ptr<transport::Arena> arena, const Timeouts& timeouts)
    : background_(background),
      events_(std::move(events)),
      arena_(std::move(arena)),
      timeouts_(timeouts) {}

bool Recovery::under_way(const WorkerLink& link) const {
  return std::any_of(under_way_.begin(), under_way_.end(), [&](const Underway& attempt) {
    return attempt.worker == link.index() && attempt.share == link.share().get();
  });
}

void Recovery::step(Workers& workers, base::Ticks now) {
  collect(workers, now);
  if (now < again_at_) return;
  // Those of one node together: where a set-up takes round trips they overlap.
  std::map<const NodeShare*, std::vector<Attempt>> nodes;
  for (const auto& link : workers.links()) {
    const NodeState& state = *link->share()->state;
    if (state.departed() || state.lost() || under_way(*link)) continue;
    if (!link->may_return_to(state.generation()) || state.ended(state.generation())) continue;
    auto route = route_to(*link->share(), link->worker_on_node(), timeouts_);
    if (!route) {
      not_connected(workers, now, route.error().what());
      continue;
    }
    Attempt attempt;
    attempt.worker = link->index();
    attempt.share = link->share();
    attempt.route = std::move(*route);
    nodes[link->share().get()].push_back(std::move(attempt));
  }
  for (auto& [share, attempts] : nodes) connect(std::move(attempts), workers, now);
}

void Recovery::connect(std::vector<Attempt> attempts, Workers& workers, base::Ticks now) {
  for (const Attempt& attempt : attempts) {
    under_way_.push_back({attempt.worker, attempt.share.get()});
  }
  auto shared = std::make_shared<std::vector<Attempt>>(std::move(attempts));
  const bool started =
      background_.run([shared, mailbox = mailbox_, events = events_, arena = arena_] {
        std::vector<transport::Target> targets;
        for (const Attempt& attempt : *shared) targets.push_back(attempt.route.target);
        auto channels = transport::connect(targets, arena);
        {
          const std::lock_guard lock(mailbox->mutex);
          for (std::size_t i = 0; i < channels.size(); ++i) {
            Attempt& attempt = (*shared)[i];
            if (channels[i]) {
              attempt.channel.emplace(std::move(*channels[i]));
            } else {
              attempt.error = channels[i].error().what();
            }
            mailbox->done.push_back(std::move(attempt));
          }
        }
        events->call_attention();
      });
  if (started) return;
  for (const Attempt& attempt : *shared) {
    std::erase_if(under_way_, [&](const Underway& one) { return one.worker == attempt.worker; });
  }
  not_connected(workers, now, "there is no thread to connect on");
}

void Recovery::collect(Workers& workers, base::Ticks now) {
  std::vector<Attempt> done;
  {
    const std::lock_guard lock(mailbox_->mutex);
    done.swap(mailbox_->done);
  }
  for (Attempt& attempt : done) {
    std::erase_if(under_way_, [&](const Underway& one) {
      return one.worker == attempt.worker && one.share == attempt.share.get();
    });
    WorkerLink& link = *workers.links()[attempt.worker];
    if (link.share() != attempt.share || !link.down()) continue;  // replaced meanwhile
    if (!attempt.channel) {
      not_connected(workers, now,
                    "connecting to worker " + std::to_string(link.worker_on_node()) + " on node " +
                        attempt.share->grant.node_name + " by " +
                        to_string(attempt.route.target.kind) + ": " + attempt.error);
      continue;
    }
    pause_ = 0;
    again_at_ = 0;
    workers.note_obstacle({});
    link.take(std::move(*attempt.channel), attempt.route);
  }
}

void Recovery::not_connected(Workers& workers, base::Ticks now, const std::string& why) {
  const base::TickRate& rate = base::TickRate::get();
  if (pause_ == 0) base::log().info("a worker is not back yet: {}", why);
  pause_ = std::clamp(2 * pause_, rate.from(kRetryPauseMin), rate.from(kRetryPauseMax));
  again_at_ = now + pause_;
  workers.note_obstacle(why);
}

}  // namespace sublet::client
