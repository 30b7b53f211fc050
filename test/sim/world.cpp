#include "world.hpp"

#include <common/async.hpp>

#include <kj/debug.h>
#include <sodium.h>

#include <cstring>

namespace sublet::sim {
namespace {

Dice* sodium_dice = nullptr;

void fill(void* const to, const std::size_t size) {
  auto* const bytes = static_cast<unsigned char*>(to);
  for (std::size_t at = 0; at < size; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = sodium_dice->raw();
    std::memcpy(bytes + at, &word, std::min(sizeof(word), size - at));
  }
}

randombytes_implementation& seeded() {
  static randombytes_implementation implementation = {
      [] { return "a simulation's dice"; },
      [] { return static_cast<std::uint32_t>(sodium_dice->raw()); },
      nullptr,
      nullptr,
      fill,
      nullptr};
  return implementation;
}

}  // namespace

World::World(std::uint64_t seed) : dice(seed) {
  KJ_REQUIRE(sodium_dice == nullptr, "one world at a time");
  sodium_dice = &dice;
  ::randombytes_set_implementation(&seeded());
}

World::~World() noexcept(false) {
  ::randombytes_set_implementation(&::randombytes_sysrandom_implementation);
  sodium_dice = nullptr;
}

Process& World::new_process(const std::string& name, const std::string& machine, std::uint32_t uid,
                            milliseconds clock_error) {
  return *processes_.emplace_back(
      std::make_unique<Process>(*this, name, machine, uid, clock_error));
}

void World::broken(const std::string& what) {
  note("BROKEN: " + what);
  if (!failure_) {
    const auto ms = std::chrono::duration_cast<milliseconds>(time.elapsed()).count();
    failure_ = "after " + std::to_string(ms) + " ms: " + what;
  }
}

kj::Own<void> World::wait_for(std::string what, std::chrono::nanoseconds limit) {
  const std::uint64_t number = next_wait_++;
  waiting_.emplace(number, Waiting{std::move(what), time.elapsed(), time.elapsed() + limit});
  auto end = kj::defer([this, number] { waiting_.erase(number); });
  return kj::heap(kj::mv(end));
}

void World::check_waits(std::chrono::nanoseconds begun) {
  for (const auto& [number, waiting] : waiting_) {
    if (time.elapsed() > waiting.until || waiting.since <= begun)
      broken("it never ended: " + waiting.what);
  }
}

void World::pass(std::chrono::nanoseconds duration) {
  time.timer().afterDelay(manager::to_kj(duration)).wait(scope);
}

void World::taskFailed(kj::Exception&& exception) {
  if (exception.getType() == kj::Exception::Type::DISCONNECTED) return;
  broken(std::string("a task failed: ") + exception.getDescription().cStr());
}

}  // namespace sublet::sim
