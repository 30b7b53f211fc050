#include <base/children.hpp>
#include <base/log.hpp>
#include <common/async.hpp>
#include <executor_manager/container_pool.hpp>
#include <executor_manager/zygote_process.hpp>

#include <sys/wait.h>

#include <algorithm>
#include <fstream>
#include <utility>

namespace sublet::manager {
namespace {

std::string name_of_process(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(file, name);
  return name;
}

}  // namespace

struct ContainerPool::Container {
  Container(kj::UnixEventPort& port, ContainerPlace where, ZygoteProcess process)
      : place(std::move(where)), podman(process.pid), zygote(port, std::move(process)) {}

  const ContainerPlace place;
  const pid_t podman;
  Zygote zygote;
  unsigned uses = 0;
  kj::TimePoint idle_since = kj::origin<kj::TimePoint>();
};

Zygote& ContainerPool::Use::zygote() const noexcept {
  return container_.zygote;
}

ContainerPool::ContainerPool(kj::UnixEventPort& port, kj::Timer& timer, Node node)
    : port_(port), timer_(timer), node_(std::move(node)), tasks_(*this) {
  tasks_.add(keep_looking());
}

ContainerPool::~ContainerPool() noexcept(false) {
  end_all();
}

void ContainerPool::limit(const Limits& limits) {
  limits_ = limits;
  for (Container& container : containers_) container.zygote.allow_spares(limits.most_spares);
}

Result<kj::Own<ContainerPool::Use>> ContainerPool::use(const ContainerPlace& place) {
  auto found = std::find_if(containers_.begin(), containers_.end(), [&](const Container& one) {
    return one.place == place && !one.zygote.over();
  });
  if (found == containers_.end()) {
    auto process = start_zygote_in_container(node_.command(place), node_.ticks_per_ns);
    if (!process) return tl::unexpected<Error>(std::move(process.error()));
    found = containers_.emplace(containers_.end(), port_, place, std::move(*process));
    Container& made = *found;
    base::log().info("starting a container of {}", place.image);
    made.zygote.on_spares([this](std::uint32_t) { tell_spares(); });
    made.zygote.allow_spares(limits_.most_spares);
    tasks_.add(
        made.zygote.ready().exclusiveJoin(wire::after_running(timer_, kStart).then([&made, place] {
          base::log().warn("a container of {} did not become ready in time", place.image);
          made.zygote.end_container("has no container: it did not start in time");
        })));
  }
  ++found->uses;
  return kj::heap<Use>(*this, *found);
}

void ContainerPool::release(Container& container) {
  if (--container.uses != 0) return;
  container.idle_since = timer_.now();
  look();
}

void ContainerPool::end(std::list<Container>::iterator container, const std::string& reason) {
  base::log().info("ending a container of {}: {}", container->place.image, reason);
  container->zygote.end_container(reason);
  ending_.splice(ending_.end(), containers_, container);
  tell_spares();
}

/// Ends what is not to be kept, the one that has been idle for longest first, and forgets what has
/// gone.
void ContainerPool::look() {
  std::size_t idle = 0;
  for (const Container& one : containers_) idle += one.uses == 0 ? 1 : 0;
  const bool short_of_memory = idle != 0 && node_.memory_is_short();
  std::vector<std::list<Container>::iterator> all;
  for (auto at = containers_.begin(); at != containers_.end(); ++at) all.push_back(at);
  std::sort(all.begin(), all.end(),
            [](auto one, auto other) { return one->idle_since < other->idle_since; });
  for (const auto container : all) {
    if (container->zygote.over()) {
      idle -= container->uses == 0 ? 1 : 0;
      end(container, "it has ended");
    } else if (container->uses == 0) {
      const bool too_many = idle > limits_.most_idle;
      const bool too_long = timer_.now() - container->idle_since > to_kj(kKept);
      if (!too_many && !too_long && !short_of_memory) continue;
      --idle;
      end(container, short_of_memory ? "the node is short of memory" : "nobody needs it");
    }
  }
  ending_.remove_if([](Container& one) { return one.uses == 0 && one.zygote.gone(); });
}

kj::Promise<void> ContainerPool::keep_looking() {
  return timer_.afterDelay(to_kj(kLook)).then([this] {
    look();
    // What Podman has left to watch a container becomes this process's child, and ends with it.
    for (const pid_t child : base::children()) {
      const auto ours = [child](const Container& one) { return one.podman == child; };
      if (std::any_of(containers_.begin(), containers_.end(), ours) ||
          std::any_of(ending_.begin(), ending_.end(), ours)) {
        continue;
      }
      const std::string name = name_of_process(child);
      if (name == "conmon" || name == "podman") ::waitpid(child, nullptr, WNOHANG);
    }
    return keep_looking();
  });
}

void ContainerPool::tell_spares() {
  std::uint32_t sum = 0;
  for (const Container& one : containers_) sum += one.zygote.over() ? 0 : one.zygote.spares();
  spares_told_(sum);
}

void ContainerPool::end_all() {
  // All are killed before any is waited for.
  for (auto* const list : {&containers_, &ending_}) {
    for (Container& one : *list) one.zygote.end_container("ended with its node's containers");
  }
  ending_.splice(ending_.end(), containers_);
  ending_.remove_if([](const Container& one) { return one.uses == 0; });
  for (Container& one : ending_) one.zygote.wait_until_gone();
  tell_spares();
}

void ContainerPool::taskFailed(kj::Exception&& exception) {
  base::log().error("serving containers: {}", text_of(exception));
}

}  // namespace sublet::manager
