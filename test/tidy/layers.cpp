#include "layers.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>

// The table of docs/architecture.md, "Who may include whom". Change both together.

namespace sublet::tidy {
namespace {

using std::string_view;

/// A part of the project and what it may include beside itself.
struct Module {
  string_view name;
  string_view path;  ///< Prefix of its files' paths; the longest that fits decides.
  std::vector<string_view> may_include;
  bool is_transport = false;
};

/// Stands for all transports in may_include.
constexpr string_view kEachTransport = "each transport";

const std::vector<Module>& modules() {
  static const std::vector<Module> kModules = {
      {"public", "runtime/include/", {}},
      {"base", "runtime/base/", {"public"}},
      {"topology", "runtime/topology/", {"public", "base"}},
      {"wire", "runtime/wire/", {"public", "base"}},
      {"transport", "runtime/transport/", {"public", "base", "topology", "wire"}},
      {"common", "runtime/transport/common/", {"public", "base", "wire", "transport"}},
      // The table is the one place that names the transports of this build.
      {"any",
       "runtime/transport/any/",
       {"public", "base", "topology", "wire", "transport", "common", kEachTransport}},
      {"client", "runtime/client/", {"public", "base", "topology", "wire", "transport", "any"}},
      {"c", "runtime/c/", {"public", "base", "client"}},
      // The benchmarks use the public API and, for what they compare with, the transports'
      // contract; the bare libfabric exchange takes the provider that the transport would.
      {"bench",
       "runtime/bench/",
       {"public", "base", "wire", "transport", "common", "any", "fabric"}},
      {"public mpi", "mpi_bindings/include/", {"public"}},
      {"mpi_bindings", "mpi_bindings/", {"public", "public mpi"}},
      {"executor", "executor/", {"public", "base", "topology", "wire", "transport", "any", "elf"}},
      // What the worker's loop costs beside one that does less.
      {"executor bench",
       "executor/bench/",
       {"public", "base", "wire", "transport", "any", "executor", "bench"}},
      // Reads function libraries without loading them: not only for executors.
      {"elf", "executor/library/elf_", {"public", "base", "wire"}},
      {"manager common", "manager/common/", {"public", "base", "topology", "wire"}},
      {"resource_manager",
       "manager/resource_manager/",
       {"public", "base", "topology", "wire", "manager common"}},
      {"ledger",
       "manager/ledger/",
       {"public", "base", "wire", "manager common", "resource_manager"}},
      {"web", "manager/web/", {"public", "base", "wire", "manager common", "resource_manager"}},
      {"executor_manager",
       "manager/executor_manager/",
       {"public", "base", "topology", "wire", "manager common", "elf"}},
      {"cli",
       "manager/cli/",
       {"public", "base", "topology", "wire", "client", "manager common", "resource_manager",
        "ledger", "web", "executor_manager", "elf", "any", "rdma devices", "bench"}},
      // `sublet-trace-otf2`, a program of its own.
      {"trace", "manager/trace/", {"public", "base"}},
      // What `sublet devices` lists.
      {"rdma devices",
       "runtime/transport/verbs/verbs_devices",
       {"public", "base", "transport", "common", "verbs"}},
      {"slurm", "slurm/", {"public", "base"}},
      {"examples", "examples/", {"public", "public mpi"}},
  };
  return kModules;
}

/// A library's headers and the only paths that include them.
struct Wrapped {
  string_view library;
  std::vector<string_view> headers;  ///< Prefixes, or suffixes when they start with '*'.
  std::vector<string_view> paths;    ///< Prefixes. test/ may always.
};

const std::vector<Wrapped>& wrapped() {
  static const std::vector<Wrapped> kWrapped = {
      {"MPI", {"mpi.h"}, {"mpi_bindings/", "examples/"}},
      {"hwloc", {"hwloc.h", "hwloc/"}, {"runtime/topology/"}},
      {"Cap'n Proto",
       {"capnp/", "kj/", "*.capnp.h"},
       {"runtime/wire/", "runtime/client/", "manager/"}},
      {"SQLite", {"sqlite3.h"}, {"manager/ledger/"}},
      {"libibverbs",
       {"infiniband/", "rdma/rdma_cma.h"},
       {"runtime/transport/verbs/", "runtime/bench/raw/verbs"}},
      {"libfabric",
       {"rdma/fabric.h", "rdma/fi_"},
       {"runtime/transport/fabric/", "runtime/bench/raw/fabric"}},
      {"OTF2", {"otf2/"}, {"manager/trace/"}},
      {"SystemTap's probes", {"sys/sdt.h"}, {"runtime/base/probes.hpp"}},
      {"MUNGE", {"munge.h"}, {"runtime/wire/munge"}},
      {"Slurm", {"slurm/"}, {"slurm/"}},
  };
  return kWrapped;
}

/// Who must not reach a library's headers even through ours.
struct Unreachable {
  string_view library;
  string_view path;
};
constexpr std::array kUnreachable = {
    Unreachable{"Cap'n Proto", "executor/"},  // It runs user code: small, and quick to fork.
    Unreachable{"Cap'n Proto", "runtime/transport/"},
    Unreachable{"MPI", "executor/"},
};

struct Include {
  std::size_t line;
  std::string name;  ///< What stands between the brackets.
};

std::vector<Include> includes_of(const SourceFile& file) {
  std::vector<Include> found;
  for (std::size_t i = 0; i < file.lines.size(); ++i) {
    string_view line = file.lines[i];
    if (!line.starts_with("#include ")) continue;
    line.remove_prefix(9);
    const auto end = line.find_first_of(">\"", 1);
    if (end == string_view::npos || (line[0] != '<' && line[0] != '"')) continue;
    found.push_back({i + 1, std::string(line.substr(1, end - 1))});
  }
  return found;
}

/// Finds our files by the names they are included by.
class Index {
 public:
  explicit Index(const std::vector<SourceFile>& files) {
    for (const auto& file : files) files_[file.path] = &file;
  }

  /// Null when it is no file of ours.
  [[nodiscard]] const SourceFile* resolve(const SourceFile& from, const std::string& name) const {
    const std::string here = from.path.substr(0, from.path.rfind('/') + 1);
    for (const auto& root : {here, std::string("runtime/"), std::string("runtime/include/"),
                             std::string("mpi_bindings/include/"), std::string("mpi_bindings/"),
                             std::string("executor/"), std::string("manager/"), std::string()}) {
      const auto found = files_.find(root + name);
      if (found != files_.end()) return found->second;
    }
    return nullptr;
  }

 private:
  std::map<std::string, const SourceFile*> files_;
};

/// A folder of runtime/transport that the table does not name is a transport: none of them sees
/// another.
const Module* transport_of(const std::string& path) {
  constexpr string_view kRoot = "runtime/transport/";
  if (!path.starts_with(kRoot)) return nullptr;
  const auto slash = path.find('/', kRoot.size());
  if (slash == std::string::npos) return nullptr;
  static std::map<std::string, Module> transports;
  const auto [entry, is_new] = transports.try_emplace(path.substr(0, slash + 1));
  if (is_new) {
    const string_view root = entry->first;
    entry->second = {root.substr(kRoot.size(), slash - kRoot.size()),
                     root,
                     {"public", "base", "topology", "wire", "transport", "common", "rdma devices"},
                     true};
  }
  return &entry->second;
}

const Module* module_of(const std::string& path) {
  const Module* best = nullptr;
  for (const auto& module : modules()) {
    if (path.starts_with(module.path) &&
        (best == nullptr || module.path.size() > best->path.size())) {
      best = &module;
    }
  }
  const Module* const transport = transport_of(path);
  if (transport == nullptr || best->path.size() >= transport->path.size()) return best;
  return transport;
}

const Wrapped* wrapped_by(const std::string& header) {
  for (const auto& library : wrapped()) {
    for (const auto& pattern : library.headers) {
      const bool matches = pattern.starts_with('*') ? header.ends_with(pattern.substr(1))
                                                    : header.starts_with(pattern);
      if (matches) return &library;
    }
  }
  return nullptr;
}

/// Why `file` may not include our file `target`.
std::optional<std::string> forbidden(const SourceFile& file, const SourceFile& target) {
  const Module* from = module_of(file.path);
  const Module* to = module_of(target.path);
  if (from == nullptr || from == to) return {};
  if (to == nullptr) return "'" + target.path + "' belongs to no module of the table";
  const auto may_include = [&](string_view name) {
    return std::ranges::find(from->may_include, name) != from->may_include.end();
  };
  if (may_include(to->name) || (to->is_transport && may_include(kEachTransport))) return {};
  return std::string(from->name) + " must not include " + std::string(to->name) + " ('" +
         target.path + "')";
}

/// How `file` comes by a header of `library`: "a.hpp -> b.hpp -> capnp/rpc.h", empty if it does
/// not.
std::string path_to(string_view library, const SourceFile& file, const Index& index,
                    std::set<string_view>& seen) {
  if (!seen.insert(file.path).second) return {};
  for (const auto& [line, name] : includes_of(file)) {
    if (const auto* target = index.resolve(file, name)) {
      const auto rest = path_to(library, *target, index, seen);
      if (!rest.empty()) return file.path + " -> " + rest;
    } else if (const auto* found = wrapped_by(name); found && found->library == library) {
      return file.path + " -> " + name;
    }
  }
  return {};
}

}  // namespace

std::vector<Violation> check_layers(const std::vector<SourceFile>& files) {
  const Index index(files);
  std::vector<Violation> violations;
  for (const auto& file : files) {
    if (!file.is_cpp() || file.is_below("test/")) continue;
    for (const auto& [line, name] : includes_of(file)) {
      if (const auto* target = index.resolve(file, name)) {
        if (auto why = forbidden(file, *target)) violations.push_back({file.path, line, *why});
        continue;
      }
      const auto* library = wrapped_by(name);
      if (library == nullptr) continue;
      const bool allowed = std::ranges::any_of(
          library->paths, [&](string_view path) { return file.is_below(path); });
      if (!allowed) {
        violations.push_back({file.path, line,
                              "<" + name + ">: " + std::string(library->library) +
                                  " is wrapped by " + std::string(library->paths.front())});
      }
    }
  }
  return violations;
}

std::vector<Violation> check_reach(const std::vector<SourceFile>& files) {
  const Index index(files);
  std::vector<Violation> violations;
  for (const auto& [library, path] : kUnreachable) {
    for (const auto& file : files) {
      if (!file.is_cpp() || !file.is_below(path)) continue;
      std::set<string_view> seen;
      const auto chain = path_to(library, file, index, seen);
      if (!chain.empty()) {
        violations.push_back({file.path, 0, "reaches " + std::string(library) + ": " + chain});
      }
    }
  }
  return violations;
}

}  // namespace sublet::tidy
