#include <wire/limits.hpp>
#include <wire/placement.hpp>

#include <algorithm>
#include <limits>

namespace sublet::wire {
namespace {

/// A node's room for a request: whole parts first, then pieces of parts that are split over nodes.
/// Pieces pay for memory by the worker, rounded up, so a node may have room for a whole part whose
/// workers it could not take one by one.
struct Room {
  NodeNumber node{};
  std::uint32_t whole = 0;   ///< Parts.
  std::uint32_t pieces = 0;  ///< Workers, beside the whole parts.
  std::uint32_t single = 0;  ///< Workers when each is taken alone.

  [[nodiscard]] std::uint64_t workers(std::uint32_t per_part) const {
    return std::uint64_t{whole} * per_part + pieces;
  }
};

std::uint64_t bytes_per_worker(const sublet::LeaseRequest& request) {
  return request.memory_bytes / request.cores + (request.memory_bytes % request.cores != 0 ? 1 : 0);
}

std::uint32_t workers_by_memory(std::uint32_t workers, std::uint64_t memory,
                                std::uint64_t per_worker) {
  if (per_worker == 0) return workers;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(workers, memory / per_worker));
}

/// How many workers the free cores and GPUs of a node make.
std::uint32_t workers_by_cores(const sublet::LeaseRequest& request, const Capacity& free) {
  const bool too_wide = free.widest_worker != 0 && request.cores_per_worker > free.widest_worker;
  const std::uint32_t workers = too_wide ? 0 : free.cores / request.cores_per_worker;
  if (request.gpus_per_worker == 0) return workers;
  return std::min(workers, free.gpus / request.gpus_per_worker);
}

Room room_of(const sublet::LeaseRequest& request, const Capacity& free) {
  Room room;
  room.node = free.node;
  const std::uint64_t per_worker = bytes_per_worker(request);
  const std::uint32_t workers = workers_by_cores(request, free);
  room.single = std::min(workers_by_memory(workers, free.memory_bytes, per_worker),
                         wire::kMaxWorkersPerExecutor);
  if (request.cores > wire::kMaxWorkersPerExecutor) {
    // No executor holds a whole part: then a node takes one executor's worth at most.
    room.pieces = room.single;
    return room;
  }
  room.whole = workers / request.cores;
  if (request.memory_bytes != 0) {
    room.whole = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(room.whole, free.memory_bytes / request.memory_bytes));
  }
  const std::uint32_t workers_left = workers - room.whole * request.cores;
  const std::uint64_t memory_left = free.memory_bytes - room.whole * request.memory_bytes;
  room.pieces = std::min(workers_by_memory(workers_left, memory_left, per_worker),
                         wire::kMaxWorkersPerExecutor);
  return room;
}

/// Collects shares; divides a part's memory so that its shares sum up to it exactly.
class Shares {
 public:
  explicit Shares(const sublet::LeaseRequest& request) : request_(request) {}

  void add_whole(NodeNumber node) {
    shares_.push_back({next_part_++, node, request_.cores, request_.memory_bytes});
  }

  /// `count` workers on `node` for the parts that are next, splitting them as needed.
  void add_pieces(NodeNumber node, std::uint64_t count) {
    while (count > 0) {
      const auto workers =
          static_cast<std::uint32_t>(std::min<std::uint64_t>(count, request_.cores - part_done_));
      const std::uint64_t memory = memory_up_to(part_done_ + workers) - memory_up_to(part_done_);
      shares_.push_back({next_part_, node, workers, memory});
      part_done_ += workers;
      count -= workers;
      if (part_done_ == request_.cores) {
        part_done_ = 0;
        ++next_part_;
      }
    }
  }

  [[nodiscard]] std::uint32_t parts() const { return next_part_; }
  std::vector<Share> take() { return std::move(shares_); }

 private:
  [[nodiscard]] std::uint64_t memory_up_to(std::uint32_t workers) const {
    const std::uint64_t each = request_.memory_bytes / request_.cores;
    const std::uint64_t rest = request_.memory_bytes % request_.cores;
    return each * workers + rest * workers / request_.cores;
  }

  const sublet::LeaseRequest& request_;
  std::vector<Share> shares_;
  std::uint32_t next_part_ = 0;
  std::uint32_t part_done_ = 0;  ///< Workers of next_part_ placed so far.
};

/// Fills the nodes in this order: whole parts while they fit, then the rest in pieces.
std::vector<Share> fill(const sublet::LeaseRequest& request, const std::vector<Room>& rooms) {
  Shares shares(request);
  for (const Room& room : rooms) {
    for (std::uint32_t i = 0; i < room.whole && shares.parts() < request.parts; ++i) {
      shares.add_whole(room.node);
    }
  }
  std::uint64_t left = std::uint64_t{request.parts - shares.parts()} * request.cores;
  for (const Room& room : rooms) {
    const std::uint64_t count = std::min<std::uint64_t>(left, room.pieces);
    shares.add_pieces(room.node, count);
    left -= count;
  }
  return shares.take();
}

/// The fewest nodes with room for `wanted` workers: the largest ones, and the last as small as will
/// do, so that large gaps stay for large leases. `rooms` is sorted by falling room.
std::vector<Room> fewest(const std::vector<Room>& rooms, std::uint64_t wanted,
                         std::uint32_t per_part) {
  std::vector<Room> chosen;
  for (std::size_t i = 0; i < rooms.size() && wanted > 0; ++i) {
    if (rooms[i].workers(per_part) >= wanted) {
      std::size_t last = i;
      for (std::size_t next = i + 1; next < rooms.size(); ++next) {
        if (rooms[next].workers(per_part) < wanted) break;
        if (rooms[next].workers(per_part) < rooms[last].workers(per_part)) last = next;
      }
      chosen.push_back(rooms[last]);
      return chosen;
    }
    wanted -= rooms[i].workers(per_part);
    chosen.push_back(rooms[i]);
  }
  return chosen;
}

std::vector<Share> pack(const sublet::LeaseRequest& request, std::optional<NodeNumber> own_node,
                        std::vector<Room> rooms) {
  std::vector<Room> chosen;
  std::uint64_t wanted = std::uint64_t{request.cores} * request.parts;
  if (request.placement == sublet::Placement::kNear && own_node) {
    const auto own = std::find_if(rooms.begin(), rooms.end(),
                                  [&](const Room& room) { return room.node == *own_node; });
    if (own != rooms.end()) {
      chosen.push_back(*own);
      wanted -= std::min(wanted, own->workers(request.cores));
      rooms.erase(own);
    }
  }
  const std::vector<Room> others = fewest(rooms, wanted, request.cores);
  chosen.insert(chosen.end(), others.begin(), others.end());
  return fill(request, chosen);
}

/// One whole part to each node in turn.
std::optional<std::vector<Share>> spread_parts(const sublet::LeaseRequest& request,
                                               std::vector<Room> rooms) {
  Shares shares(request);
  bool any = true;
  while (any && shares.parts() < request.parts) {
    any = false;
    for (Room& room : rooms) {
      if (room.whole == 0 || shares.parts() == request.parts) continue;
      --room.whole;
      shares.add_whole(room.node);
      any = true;
    }
  }
  if (shares.parts() < request.parts) return std::nullopt;
  return shares.take();
}

/// One worker on each node in turn, then the parts one after the other over the nodes.
std::optional<std::vector<Share>> spread_workers(const sublet::LeaseRequest& request,
                                                 const std::vector<Room>& rooms) {
  std::vector<std::uint32_t> taken(rooms.size(), 0);
  std::uint64_t left = std::uint64_t{request.cores} * request.parts;
  for (bool any = true; any && left > 0;) {
    any = false;
    for (std::size_t i = 0; i < rooms.size() && left > 0; ++i) {
      if (taken[i] == rooms[i].single) continue;
      ++taken[i];
      --left;
      any = true;
    }
  }
  if (left > 0) return std::nullopt;
  Shares shares(request);
  for (std::size_t i = 0; i < rooms.size(); ++i) shares.add_pieces(rooms[i].node, taken[i]);
  return shares.take();
}

}  // namespace

std::optional<std::vector<Share>> place(const sublet::LeaseRequest& request,
                                        std::optional<NodeNumber> own_node,
                                        const std::vector<Capacity>& free) {
  if (request.cores == 0 || request.parts == 0 || request.cores_per_worker == 0) {
    return std::nullopt;
  }
  std::vector<Room> rooms;
  std::uint64_t total = 0;
  for (const Capacity& capacity : free) {
    const Room room = room_of(request, capacity);
    if (room.workers(request.cores) == 0) continue;
    total += room.workers(request.cores);
    rooms.push_back(room);
  }
  if (total < std::uint64_t{request.cores} * request.parts) return std::nullopt;
  std::sort(rooms.begin(), rooms.end(), [&](const Room& a, const Room& b) {
    if (a.workers(request.cores) != b.workers(request.cores)) {
      return a.workers(request.cores) > b.workers(request.cores);
    }
    return a.node < b.node;
  });
  if (request.placement == sublet::Placement::kSpread) {
    if (request.parts >= rooms.size()) {
      if (auto shares = spread_parts(request, rooms)) return shares;
    }
    if (auto shares = spread_workers(request, rooms)) return shares;
  }
  return pack(request, own_node, std::move(rooms));
}

}  // namespace sublet::wire
