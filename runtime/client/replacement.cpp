#include <base/log.hpp>
#include <client/replacement.hpp>

#include <algorithm>
#include <utility>

namespace sublet::client {
namespace {

/// Between two attempts, after one that failed.
constexpr auto kAskPauseMin = std::chrono::milliseconds(50);
constexpr auto kAskPauseMax = std::chrono::seconds(1);

}  // namespace

Replacement::Replacement(Background& background, std::shared_ptr<LeaseEvents> events, Find find)
    : background_(background), events_(std::move(events)), find_(std::move(find)) {}

bool Replacement::start(std::function<Result<Standins>()> job) {
  under_way_ = background_.run([job = std::move(job), mailbox = mailbox_, events = events_] {
    auto found = job();
    {
      const std::lock_guard lock(mailbox->mutex);
      mailbox->found.emplace(std::move(found));
    }
    events->call_attention();
  });
  return under_way_;
}

std::optional<Standins> Replacement::step(Workers& workers, std::size_t places, base::Ticks now) {
  std::optional<Result<Standins>> found;
  {
    const std::lock_guard lock(mailbox_->mutex);
    found.swap(mailbox_->found);
  }
  if (found) {
    under_way_ = false;
    if (*found) {
      pause_ = 0;
      return std::move(**found);
    }
    not_found(workers, places, now, found->error().what());
  }
  if (places == 0 || under_way_ || now < again_at_) return std::nullopt;
  if (!start([find = find_, places] { return find(places); })) {
    not_found(workers, places, now, "there is no thread to ask on");
  }
  return std::nullopt;
}

void Replacement::prepare_again(Standins found, std::function<Result<Standins>(Standins)> again) {
  auto held = std::make_shared<Standins>(std::move(found));
  (void)start([held, again = std::move(again)] { return again(std::move(*held)); });
}

void Replacement::abandon() {
  const std::lock_guard lock(mailbox_->mutex);
  mailbox_->found.reset();
}

void Replacement::not_found(Workers& workers, std::size_t places, base::Ticks now,
                            const std::string& why) {
  // Logged once, until a worker has been found.
  if (pause_ == 0) base::log().info("no workers yet in place of {}: {}", places, why);
  const base::TickRate& rate = base::TickRate::get();
  pause_ = std::clamp(2 * pause_, rate.from(kAskPauseMin), rate.from(kAskPauseMax));
  again_at_ = now + pause_;
  workers.note_obstacle(why);
}

}  // namespace sublet::client
