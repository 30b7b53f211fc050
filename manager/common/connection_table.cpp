#include <common/connection_table.hpp>

#include <utility>

namespace sublet::manager {

std::unique_ptr<ConnectionTable::Place> ConnectionTable::take(const std::string& owner,
                                                              std::function<void()> close) {
  if (state_.connections >= state_.limit && !make_room()) {
    ++state_.refused;
    return nullptr;
  }
  const auto entry = owners_.try_emplace(owner).first;
  ++entry->second.connections;
  ++state_.connections;
  return std::make_unique<Place>(*this, entry, std::move(close));
}

bool ConnectionTable::make_room() {
  Owner* largest = nullptr;
  for (auto& [name, owner] : owners_) {
    if (owner.silent.empty() && owner.heard.empty()) continue;
    if (largest == nullptr || owner.connections > largest->connections) largest = &owner;
  }
  if (largest == nullptr) return false;
  bool silent = !largest->silent.empty();
  if (silent && !largest->heard.empty()) {
    const auto age = std::chrono::steady_clock::now() - largest->silent.front()->since_;
    silent = age >= first_word_;
  }
  Place& place = *(silent ? largest->silent : largest->heard).front();
  closed_last_ = place.name_;
  ++state_.closed;
  place.unlist();
  place.in_table_ = false;
  leave(place.owner_);
  place.close_();
  return true;
}

void ConnectionTable::leave(Owners::iterator owner) {
  --state_.connections;
  if (--owner->second.connections == 0) owners_.erase(owner);
}

ConnectionTable::Place::Place(ConnectionTable& table, Owners::iterator owner,
                              std::function<void()> close)
    : table_(table), name_(owner->first), owner_(owner), close_(std::move(close)) {
  enlist();
}

ConnectionTable::Place::~Place() {
  if (!in_table_) return;
  unlist();
  table_.leave(owner_);
}

void ConnectionTable::Place::enlist() {
  list_ = was_heard_ ? &owner_->second.heard : &owner_->second.silent;
  at_ = list_->insert(list_->end(), this);
}

void ConnectionTable::Place::unlist() {
  if (list_ != nullptr) list_->erase(at_);
  list_ = nullptr;
}

void ConnectionTable::Place::heard() {
  was_heard_ = true;
  if (!in_table_ || list_ == nullptr) return;
  auto& heard = owner_->second.heard;
  heard.splice(heard.end(), *list_, at_);
  list_ = &heard;
}

void ConnectionTable::Place::hold() {
  ++held_;
  if (in_table_) unlist();
}

void ConnectionTable::Place::let_go() {
  if (--held_ == 0 && in_table_) enlist();
}

}  // namespace sublet::manager
