#include <resource_manager/waiting_queue.hpp>

#include <algorithm>

namespace sublet::manager {

Result<void> WaitingQueue::add(WaitingRequest request, Time now) {
  const std::uint32_t uid = request.requester.caller.uid;
  const std::size_t own = of_user(uid);
  if (own >= limits_.of_user || places_.size() >= limits_.all) {
    return fail(ErrorKind::kOverloaded, "it cannot wait: " + std::to_string(own) +
                                            " requests of this user wait already (" +
                                            std::to_string(limits_.of_user) + " may), and " +
                                            std::to_string(places_.size()) + " of all (" +
                                            std::to_string(limits_.all) + " may)");
  }
  const LeaseId number = request.number;
  const Key key{uid, request.request.priority};
  Line& line = lines_[key];
  // One that was there before goes back to where it was.
  const auto before =
      std::find_if(line.requests.begin(), line.requests.end(),
                   [&request](const WaitingRequest& other) { return other.asked > request.asked; });
  deadlines_.emplace(request.deadline, number);
  unrank(line);
  const auto place = line.requests.insert(before, std::move(request));
  rank(line, now);
  places_.emplace(number, Place{key, place});
  ++users_[uid];
  return {};
}

std::optional<WaitingRequest> WaitingQueue::remove(LeaseId number, Time now) {
  const auto place = places_.find(number);
  if (place == places_.end()) return std::nullopt;
  const Key key = place->second.line;
  Line& line = lines_.at(key);
  unrank(line);
  WaitingRequest request = std::move(*place->second.request);
  line.requests.erase(place->second.request);
  places_.erase(place);
  deadlines_.erase({request.deadline, number});
  if (const auto user = users_.find(key.first); --user->second == 0) users_.erase(user);
  if (line.requests.empty()) {
    lines_.erase(key);
  } else {
    rank(line, now);
  }
  return request;
}

void WaitingQueue::unrank(Line& line) {
  if (!line.requests.empty()) order_.erase({line.rank, &line});
}

void WaitingQueue::rank(Line& line, Time now) {
  WaitingRequest& first = line.requests.front();
  if (first.number != line.rank.number) line.looked = line.checked = {};
  if (!first.first_since) first.first_since = now;
  const auto raised = std::max<std::int64_t>(0, (now - *first.first_since) / limits_.aging);
  line.raised = raised > 0;
  line.rank = {-(std::int64_t{first.request.priority} + raised), share_(first.requester.caller.uid),
               *first.first_since, first.number};
  order_.emplace(line.rank, &line);
}

WaitingQueue::Rank WaitingQueue::rank_of(const LeaseRequest& request, std::uint32_t uid,
                                         Time now) const {
  return {-std::int64_t{request.priority}, share_(uid), now, LeaseId{~std::uint64_t{0}}};
}

std::vector<WaitingRequest> WaitingQueue::expire(Time now) {
  std::vector<WaitingRequest> expired;
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    expired.push_back(*remove(deadlines_.begin()->second, now));
  }
  return expired;
}

void WaitingQueue::reorder(std::uint32_t uid, Time now) {
  for (auto line = lines_.lower_bound({uid, -wire::kMaxPriority});
       line != lines_.end() && line->first.first == uid; ++line) {
    unrank(line->second);
    rank(line->second, now);
  }
}

void WaitingQueue::refresh(Time now) {
  order_.clear();
  for (auto& [key, line] : lines_) rank(line, now);
}

std::size_t WaitingQueue::of_user(std::uint32_t uid) const {
  const auto user = users_.find(uid);
  return user == users_.end() ? 0 : user->second;
}

const WaitingRequest* WaitingQueue::find(LeaseId number) const {
  const auto place = places_.find(number);
  return place == places_.end() ? nullptr : &*place->second.request;
}

std::vector<const WaitingRequest*> WaitingQueue::all() const {
  std::vector<const WaitingRequest*> all;
  all.reserve(places_.size());
  for (const auto& [rank, line] : order_) {
    for (const WaitingRequest& request : line->requests) all.push_back(&request);
  }
  return all;
}

}  // namespace sublet::manager
