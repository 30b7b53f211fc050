// SessionOptions::load: the defaults, then the file, then the environment, then the flags.

#include <client/session_option.hpp>
#include <sublet/session.hpp>
#include <transport/any/kind.hpp>

#include <boost/program_options.hpp>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace sublet {
namespace {

namespace po = boost::program_options;

/// One list of names for all three sources: file key NAME, environment SUBLET_NAME, flag
/// --sublet-NAME.
struct Named {
  const char* name;
  const char* help;
};
constexpr Named kNames[] = {
    {"manager", "address of the resource manager, unix:PATH or tcp:HOST:PORT"},
    {"manager-dir", "directory in which the resource manager keeps its address"},
    {"executors", "executor managers to lease from without a resource manager, or their file"},
    {"allow-private", "start a private manager when none runs (true or false)"},
    {"node-name", "name of this node, when it is not the host name"},
    {"key-file", "file with a key that managers on a network share"},
    {"manager-user", "whose managers are believed beside root's and this user's own"},
    {"insecure", "talk to managers that do not prove who they are (true or false)"},
    {"transport", "its name, as `sublet doctor` tells; when it is not the best one that is wanted"},
    {"peer-timeout-ms", "a node that does not answer at all for so long is lost"},
    {"timeout-ms", "deadline of every exchange with a manager"},
    {"private-cpuset", "cores that a private manager offers, in hwloc syntax"},
    {"private-avoid", "of these cores, those to use only when no other is free"},
    {"private-oversubscribe", "how often a private manager offers each core"},
    {"lease", "file of a lease that `sublet lease` keeps, to be used by this program"},
    {"trace", "record every invocation for a timeline (true or false)"},
};

std::string environment_name(const std::string& name) {
  std::string out = "SUBLET_";
  for (const char c : name) out += c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return out;
}

std::string default_config_path() {
  if (const char* path = std::getenv("SUBLET_CONFIG")) return path;
  if (const char* base = std::getenv("XDG_CONFIG_HOME"); base != nullptr && *base != '\0') {
    return std::string(base) + "/sublet/sublet.conf";
  }
  const char* home = std::getenv("HOME");
  return home == nullptr ? std::string() : std::string(home) + "/.config/sublet/sublet.conf";
}

tl::unexpected<Error> bad(const std::string& source, const std::string& name,
                          const std::string& value, const std::string& wanted) {
  return fail(ErrorKind::kInvalid,
              "option '" + name + "' is '" + value + "' in " + source + "; it must be " + wanted);
}

Result<bool> to_bool(const std::string& source, const std::string& name, const std::string& value) {
  if (value == "true" || value == "1" || value == "yes") return true;
  if (value == "false" || value == "0" || value == "no") return false;
  return bad(source, name, value, "true or false");
}

Result<std::uint32_t> to_number(const std::string& source, const std::string& name,
                                const std::string& value, std::uint32_t least, std::uint32_t most) {
  std::uint64_t number = 0;
  const bool digits = !value.empty() && value.size() <= 10 &&
                      value.find_first_not_of("0123456789") == std::string::npos;
  if (digits) number = std::stoull(value);
  if (!digits || number < least || number > most) {
    return bad(source, name, value,
               "a number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return static_cast<std::uint32_t>(number);
}

Result<void> set(SessionOptions& options, const std::string& source, const std::string& name,
                 const std::string& value) {
  if (name == "manager") {
    options.manager = value;
  } else if (name == "manager-dir") {
    options.manager_directory = value;
  } else if (name == "executors") {
    options.executors = value;
  } else if (name == "node-name") {
    options.node_name = value;
  } else if (name == "key-file") {
    options.key_file = value;
  } else if (name == "manager-user") {
    options.manager_user = value;
  } else if (name == "transport") {
    if (!transport::kind_named(value)) {
      return bad(source, name, value, "one of " + transport::kind_names());
    }
    options.transport = value;
  } else if (name == "lease") {
    options.lease = value;
  } else if (name == "private-cpuset") {
    options.private_cpuset = value;
  } else if (name == "private-avoid") {
    options.private_avoid = value;
  } else if (name == "allow-private" || name == "trace" || name == "insecure") {
    auto flag = to_bool(source, name, value);
    if (!flag) return tl::unexpected<Error>(flag.error());
    (name == "trace"      ? options.trace
     : name == "insecure" ? options.insecure
                          : options.allow_private) = *flag;
  } else if (name == "timeout-ms" || name == "peer-timeout-ms") {
    const bool peer = name == "peer-timeout-ms";
    auto ms = to_number(source, name, value, peer ? 1000 : 1, 3'600'000);
    if (!ms) return tl::unexpected<Error>(ms.error());
    (peer ? options.peer_timeout : options.timeout) = std::chrono::milliseconds(*ms);
  } else {
    auto times = to_number(source, name, value, 1, 1024);
    if (!times) return tl::unexpected<Error>(times.error());
    options.private_oversubscribe = *times;
  }
  return {};
}

Result<void> from_file(SessionOptions& options) {
  const std::string path = default_config_path();
  std::ifstream file(path);
  if (!file) {
    if (std::getenv("SUBLET_CONFIG") == nullptr) return {};
    return fail(ErrorKind::kInvalid, "SUBLET_CONFIG names '" + path + "', which cannot be read");
  }
  po::options_description known;
  for (const Named& option : kNames) {
    known.add_options()(option.name, po::value<std::string>(), option.help);
  }
  try {
    for (const auto& entry : po::parse_config_file(file, known).options) {
      if (auto ok = set(options, "file '" + path + "'", entry.string_key, entry.value.front());
          !ok) {
        return ok;
      }
    }
  } catch (const po::error& error) {
    return fail(ErrorKind::kInvalid, "configuration file '" + path + "': " + error.what());
  }
  return {};
}

Result<void> from_environment(SessionOptions& options) {
  for (const Named& option : kNames) {
    const std::string variable = environment_name(option.name);
    const char* value = std::getenv(variable.c_str());
    if (value == nullptr || *value == '\0') continue;
    if (auto ok = set(options, "the environment (" + variable + ")", option.name, value); !ok) {
      return ok;
    }
  }
  return {};
}

/// Takes our flags out of argv and leaves the application's.
Result<void> from_flags(SessionOptions& options, int& argc, char** argv) {
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    constexpr std::string_view kPrefix = "--sublet-";
    if (argument == "--") {
      while (i < argc) argv[kept++] = argv[i++];
      break;
    }
    if (!argument.starts_with(kPrefix)) {
      argv[kept++] = argv[i];
      continue;
    }
    const std::size_t equals = argument.find('=');
    const std::string name = argument.substr(
        kPrefix.size(), equals == std::string::npos ? equals : equals - kPrefix.size());
    if (!client::is_session_option(name)) {
      std::string names;
      for (const Named& option : kNames) names += std::string(" --sublet-") + option.name;
      return fail(ErrorKind::kInvalid,
                  "there is no flag --sublet-" + name + "; there are:" + names);
    }
    std::string value;
    if (equals != std::string::npos) {
      value = argument.substr(equals + 1);
    } else if (i + 1 < argc) {
      value = argv[++i];
    } else {
      return fail(ErrorKind::kInvalid, "flag --sublet-" + name + " needs a value");
    }
    if (auto ok = set(options, "flag --sublet-" + name, name, value); !ok) return ok;
  }
  argc = kept;
  argv[argc] = nullptr;
  return {};
}

}  // namespace

bool client::is_session_option(const std::string& name) {
  return std::ranges::any_of(kNames, [&](const Named& option) { return name == option.name; });
}

std::vector<std::pair<std::string, std::string>> client::session_options() {
  std::vector<std::pair<std::string, std::string>> all;
  for (const Named& option : kNames) all.emplace_back(option.name, option.help);
  return all;
}

Result<void> client::set_session_option(SessionOptions& options, const std::string& source,
                                        const std::string& name, const std::string& value) {
  return set(options, source, name, value);
}

Result<SessionOptions> SessionOptions::load(int* argc, char** argv) {
  SessionOptions options;
  if (auto ok = from_file(options); !ok) return tl::unexpected<Error>(ok.error());
  if (auto ok = from_environment(options); !ok) return tl::unexpected<Error>(ok.error());
  if (argc != nullptr && argv != nullptr) {
    if (auto ok = from_flags(options, *argc, argv); !ok) return tl::unexpected<Error>(ok.error());
  }
  options.complete = true;
  return options;
}

Result<SessionOptions> SessionOptions::completed() const {
  if (complete) return *this;
  auto options = load();
  if (!options) return options;
  const SessionOptions defaults;
  const auto keep = [&](auto SessionOptions::*member) {
    if (this->*member != defaults.*member) (*options).*member = this->*member;
  };
  keep(&SessionOptions::manager);
  keep(&SessionOptions::manager_directory);
  keep(&SessionOptions::executors);
  keep(&SessionOptions::allow_private);
  keep(&SessionOptions::node_name);
  keep(&SessionOptions::transport);
  keep(&SessionOptions::peer_timeout);
  keep(&SessionOptions::timeout);
  keep(&SessionOptions::private_cpuset);
  keep(&SessionOptions::private_avoid);
  keep(&SessionOptions::private_oversubscribe);
  keep(&SessionOptions::key_file);
  keep(&SessionOptions::manager_user);
  keep(&SessionOptions::insecure);
  keep(&SessionOptions::lease);
  keep(&SessionOptions::trace);
  return options;
}

}  // namespace sublet
