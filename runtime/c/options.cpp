// sublet_options: one table of names for leases and functions; those of sessions are the
// configuration file's.

#include <client/session_option.hpp>

#include <c/error.hpp>
#include <c/handles.hpp>

#include <algorithm>
#include <bit>
#include <charconv>
#include <chrono>
#include <limits>
#include <optional>
#include <string_view>

namespace sublet::c {
namespace {

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

/// Stores the number that `text` is; false when it is none, or not between the two.
template <class Store>
bool store(std::string_view text, std::int64_t least, std::int64_t most, Store&& to) {
  const auto value = number(text);
  if (!value || *value < least || *value > most) return false;
  to(*value);
  return true;
}

bool store_flag(std::string_view text, bool& flag) {
  const bool yes = text == "true" || text == "1" || text == "yes";
  if (!yes && text != "false" && text != "0" && text != "no") return false;
  flag = yes;
  return true;
}

bool store_placement(std::string_view text, Placement& placement) {
  if (text == "pack") {
    placement = Placement::kPack;
  } else if (text == "spread") {
    placement = Placement::kSpread;
  } else if (text == "near") {
    placement = Placement::kNear;
  } else {
    return false;
  }
  return true;
}

using std::chrono::milliseconds;
/// Beyond it nobody could tell the difference, and sums of times stay in range.
constexpr std::int64_t kMostMs = std::int64_t{1} << 40;
constexpr std::int64_t kMostSize = std::numeric_limits<std::int64_t>::max();

struct Row {
  const char* name;
  const char* wanted;  ///< What a value must be.
  bool (*set)(sublet_options& options, std::string_view value);
};
// clang-format off
constexpr Row kRows[] = {
    {"memory_bytes", "a number of bytes", [](sublet_options& o, std::string_view v) {
       return store(v, 0, kMostSize, [&](auto n) { o.lease.memory_bytes = static_cast<std::uint64_t>(n); });
     }},
    {"duration_s", "a positive number of seconds", [](sublet_options& o, std::string_view v) {
       return store(v, 1, kMostMs / 1000, [&](auto n) { o.lease.duration = std::chrono::seconds(n); });
     }},
    {"placement", "pack, spread or near", [](sublet_options& o, std::string_view v) {
       return store_placement(v, o.lease.placement);
     }},
    {"hot_timeout_ms", "-1, or a number of milliseconds", [](sublet_options& o, std::string_view v) {
       return store(v, -1, kMostMs, [&](auto n) { o.lease.hot_timeout = milliseconds(n); });
     }},
    {"arena_bytes", "a positive number of bytes", [](sublet_options& o, std::string_view v) {
       return store(v, 1, kMostSize, [&](auto n) { o.lease.arena_bytes = static_cast<std::uint64_t>(n); });
     }},
    {"slots", "a power of two, at most 1024", [](sublet_options& o, std::string_view v) {
       return store(v, 1, 1024, [&](auto n) { o.lease.slots = static_cast<std::uint32_t>(n); }) &&
              std::has_single_bit(o.lease.slots);
     }},
    {"cores_per_worker", "a positive number of cores, at most 4096", [](sublet_options& o, std::string_view v) {
       return store(v, 1, 4096, [&](auto n) { o.lease.cores_per_worker = static_cast<std::uint32_t>(n); });
     }},
    {"gpus_per_worker", "a number of GPUs, at most 64", [](sublet_options& o, std::string_view v) {
       return store(v, 0, 64, [&](auto n) { o.lease.gpus_per_worker = static_cast<std::uint32_t>(n); });
     }},
    {"replace", "true or false", [](sublet_options& o, std::string_view v) {
       return store_flag(v, o.lease.replace);
     }},
    {"worker_wait_ms", "a number of milliseconds", [](sublet_options& o, std::string_view v) {
       return store(v, 0, kMostMs, [&](auto n) { o.lease.worker_wait = milliseconds(n); });
     }},
    {"wait_ms", "a number of milliseconds, at most 604800000", [](sublet_options& o, std::string_view v) {
       return store(v, 0, 604'800'000, [&](auto n) { o.lease.wait = milliseconds(n); });
     }},
    {"priority", "a number from -100 to 100", [](sublet_options& o, std::string_view v) {
       return store(v, -100, 100, [&](auto n) { o.lease.priority = static_cast<std::int32_t>(n); });
     }},
    {"notice_ms", "a number of milliseconds, at most 3600000", [](sublet_options& o, std::string_view v) {
       return store(v, 0, 3'600'000, [&](auto n) { o.lease.notice = milliseconds(n); });
     }},
    {"function_timeout_ms", "a number of milliseconds", [](sublet_options& o, std::string_view v) {
       return store(v, 0, kMostMs, [&](auto n) { o.function.timeout = milliseconds(n); });
     }},
    {"idempotent", "true or false", [](sublet_options& o, std::string_view v) {
       return store_flag(v, o.function.idempotent);
     }},
};
// clang-format on

int set_in_session(sublet_options& options, const std::string& name, const std::string& value) {
  std::string key = name;
  std::ranges::replace(key, '_', '-');
  if (!client::is_session_option(key)) {
    return failed(SUBLET_ERR_OPTION,
                  "there is no option '" + name + "'; <sublet.h> lists those that there are");
  }
  SessionOptions tried;
  if (auto set = client::set_session_option(tried, "sublet_options_set", key, value); !set) {
    return failed(SUBLET_ERR_OPTION, set.error().what());
  }
  options.session.emplace_back(std::move(key), value);
  return SUBLET_SUCCESS;
}

int set(sublet_options& options, const std::string& name, const std::string& value) {
  const auto* const row =
      std::ranges::find_if(kRows, [&](const Row& one) { return name == one.name; });
  if (row == std::end(kRows)) return set_in_session(options, name, value);
  sublet_options changed = options;
  if (!row->set(changed, value)) {
    return failed(SUBLET_ERR_OPTION,
                  "option '" + name + "' is '" + value + "'; it must be " + row->wanted);
  }
  options = std::move(changed);
  return SUBLET_SUCCESS;
}

}  // namespace

Result<SessionOptions> session_options(const sublet_options* options) {
  const bool has_flags = options != nullptr && options->loaded;
  auto all = has_flags ? Result<SessionOptions>(*options->loaded) : SessionOptions::load();
  if (!all || options == nullptr) return all;
  for (const auto& [name, value] : options->session) {
    auto set = client::set_session_option(*all, "sublet_options_set", name, value);
    if (!set) return tl::unexpected<Error>(std::move(set.error()));
  }
  return all;
}

LeaseRequest lease_request(const sublet_options* options) {
  return options == nullptr ? LeaseRequest() : options->lease;
}

}  // namespace sublet::c

using namespace sublet::c;  // NOLINT(google-build-using-namespace): this file implements C names

int sublet_options_create(sublet_options** options) {
  if (options == nullptr) return null_pointer("options");
  return guarded("making options", [&]() -> sublet::Result<void> {
    *options = new sublet_options;
    return {};
  });
}

int sublet_options_set(sublet_options* options, const char* name, const char* value) {
  if (options == nullptr) return null_handle("options");
  if (name == nullptr) return null_pointer("name");
  if (value == nullptr) return null_pointer("value");
  int code = SUBLET_SUCCESS;
  const int thrown = guarded("setting an option", [&]() -> sublet::Result<void> {
    code = set(*options, name, value);
    return {};
  });
  return thrown != SUBLET_SUCCESS ? thrown : code;
}

int sublet_options_take_flags(sublet_options* options, int* argc, char** argv) {
  if (options == nullptr) return null_handle("options");
  if (argc == nullptr) return null_pointer("argc");
  if (argv == nullptr) return null_pointer("argv");
  if (*argc < 1) return bad_count("argc", *argc);
  int code = SUBLET_SUCCESS;
  const int thrown = guarded("taking flags from a command line", [&]() -> sublet::Result<void> {
    // What is wrong with one flag must not cost the program another.
    std::vector<char*> kept(argv, argv + *argc);
    kept.push_back(nullptr);
    int count = *argc;
    auto loaded = sublet::SessionOptions::load(&count, kept.data());
    if (!loaded) {
      code = failed(SUBLET_ERR_OPTION, loaded.error().what());
      return {};
    }
    options->loaded = std::move(*loaded);
    std::copy_n(kept.begin(), count + 1, argv);
    *argc = count;
    return {};
  });
  return thrown != SUBLET_SUCCESS ? thrown : code;
}

int sublet_options_free(sublet_options** options) {
  return free_handle(options, "options");
}
