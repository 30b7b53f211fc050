#include <otf2/otf2.h>
#include <trace/otf2_archive.hpp>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

namespace sublet::trace {
namespace {

constexpr std::uint64_t kEventChunk = std::uint64_t{1} << 20;
constexpr std::uint64_t kDefinitionChunk = std::uint64_t{4} << 20;
constexpr std::uint64_t kTicksPerSecond = 1'000'000'000;

OTF2_FlushType flush_always(void*, OTF2_FileType, OTF2_LocationRef, void*, bool) {
  return OTF2_FLUSH;
}

struct CloseArchive {
  void operator()(OTF2_Archive* archive) const noexcept { OTF2_Archive_Close(archive); }
};
using Archive = std::unique_ptr<OTF2_Archive, CloseArchive>;

/// The first error that OTF2 has returned; later calls are of no use then.
class Checked {
 public:
  void operator()(OTF2_ErrorCode code) {
    if (code_ == OTF2_SUCCESS) code_ = code;
  }
  [[nodiscard]] Result<void> result(const std::string& directory) const {
    if (code_ == OTF2_SUCCESS) return {};
    return fail(ErrorKind::kInternal, "writing the OTF2 archive '" + directory +
                                          "': " + OTF2_Error_GetDescription(code_));
  }

 private:
  OTF2_ErrorCode code_ = OTF2_SUCCESS;
};

struct Span {
  std::int64_t begin_ns = std::numeric_limits<std::int64_t>::max();
  std::int64_t end_ns = 0;
};

Span span_of(const Timeline& timeline) {
  Span span;
  for (const auto& [id, row] : timeline.rows) {
    for (const Timeline::Slice& slice : row.slices) {
      span.begin_ns = std::min(span.begin_ns, slice.begin_ns);
      span.end_ns = std::max(span.end_ns, slice.end_ns);
    }
  }
  span.begin_ns = std::min(span.begin_ns, span.end_ns);
  return span;
}

/// ENTER and LEAVE of one row's slices, which nest.
void write_events(OTF2_EvtWriter* writer, const Timeline::Row& row, Checked& check) {
  std::vector<const Timeline::Slice*> open;
  const auto leave_until = [&](std::int64_t ns) {
    while (!open.empty() && open.back()->end_ns <= ns) {
      check(OTF2_EvtWriter_Leave(writer, nullptr, static_cast<OTF2_TimeStamp>(open.back()->end_ns),
                                 open.back()->name));
      open.pop_back();
    }
  };
  for (const Timeline::Slice& slice : row.slices) {
    leave_until(slice.begin_ns);
    check(OTF2_EvtWriter_Enter(writer, nullptr, static_cast<OTF2_TimeStamp>(slice.begin_ns),
                               slice.name));
    open.push_back(&slice);
  }
  leave_until(std::numeric_limits<std::int64_t>::max());
}

/// The global definitions. Strings are numbered as they come.
class Definitions {
 public:
  Definitions(OTF2_GlobalDefWriter* writer, Checked& check) : writer_(writer), check_(check) {}

  void write(const Timeline& timeline) {
    const Span span = span_of(timeline);
    check_(OTF2_GlobalDefWriter_WriteClockProperties(
        writer_, kTicksPerSecond, static_cast<std::uint64_t>(span.begin_ns),
        static_cast<std::uint64_t>(span.end_ns - span.begin_ns + 1), OTF2_UNDEFINED_TIMESTAMP));
    const OTF2_StringRef nothing = string("");
    for (std::uint32_t name = 0; name < timeline.names.size(); ++name) {
      const OTF2_StringRef text = string(timeline.names[name]);
      check_(OTF2_GlobalDefWriter_WriteRegion(writer_, name, text, text, nothing,
                                              OTF2_REGION_ROLE_FUNCTION, OTF2_PARADIGM_USER,
                                              OTF2_REGION_FLAG_NONE, nothing, 0, 0));
    }
    constexpr OTF2_SystemTreeNodeRef kJob = 0;
    check_(OTF2_GlobalDefWriter_WriteSystemTreeNode(writer_, kJob, string("sublet"), string("job"),
                                                    OTF2_UNDEFINED_SYSTEM_TREE_NODE));
    std::map<std::uint64_t, OTF2_LocationGroupRef> groups;
    for (const auto& [pid, name] : timeline.processes) {
      const auto group = static_cast<OTF2_LocationGroupRef>(groups.size());
      groups[pid] = group;
      check_(OTF2_GlobalDefWriter_WriteLocationGroup(
          writer_, group, string(name.empty() ? "process " + std::to_string(pid) : name),
          OTF2_LOCATION_GROUP_TYPE_PROCESS, kJob, OTF2_UNDEFINED_LOCATION_GROUP));
    }
    OTF2_LocationRef location = 0;
    for (const auto& [id, row] : timeline.rows) {
      check_(OTF2_GlobalDefWriter_WriteLocation(
          writer_, location++, string(row.name.empty() ? std::to_string(id.second) : row.name),
          OTF2_LOCATION_TYPE_CPU_THREAD, 2 * row.slices.size(), groups[id.first]));
    }
  }

 private:
  OTF2_StringRef string(const std::string& text) {
    check_(OTF2_GlobalDefWriter_WriteString(writer_, strings_, text.c_str()));
    return strings_++;
  }

  OTF2_GlobalDefWriter* writer_;
  Checked& check_;
  OTF2_StringRef strings_ = 0;
};

}  // namespace

Result<void> write_otf2(const Timeline& timeline, const std::string& directory) {
  std::error_code error;
  if (std::filesystem::exists(directory, error)) {
    return fail(ErrorKind::kInvalid, "writing the OTF2 archive '" + directory +
                                         "': that is there already; name a directory that is not");
  }
  const Archive archive(OTF2_Archive_Open(directory.c_str(), "traces", OTF2_FILEMODE_WRITE,
                                          kEventChunk, kDefinitionChunk, OTF2_SUBSTRATE_POSIX,
                                          OTF2_COMPRESSION_NONE));
  if (archive == nullptr) {
    return fail(ErrorKind::kInvalid,
                "making the OTF2 archive '" + directory + "' failed; may it be written there?");
  }
  Checked check;
  const OTF2_FlushCallbacks flush{&flush_always, nullptr};
  check(OTF2_Archive_SetFlushCallbacks(archive.get(), &flush, nullptr));
  check(OTF2_Archive_SetSerialCollectiveCallbacks(archive.get()));
  check(OTF2_Archive_OpenEvtFiles(archive.get()));
  OTF2_LocationRef location = 0;
  for (const auto& [id, row] : timeline.rows) {
    OTF2_EvtWriter* const writer = OTF2_Archive_GetEvtWriter(archive.get(), location++);
    write_events(writer, row, check);
    check(OTF2_Archive_CloseEvtWriter(archive.get(), writer));
  }
  check(OTF2_Archive_CloseEvtFiles(archive.get()));
  check(OTF2_Archive_OpenDefFiles(archive.get()));
  for (location = 0; location < timeline.rows.size(); ++location) {
    check(OTF2_Archive_CloseDefWriter(archive.get(),
                                      OTF2_Archive_GetDefWriter(archive.get(), location)));
  }
  check(OTF2_Archive_CloseDefFiles(archive.get()));
  Definitions(OTF2_Archive_GetGlobalDefWriter(archive.get()), check).write(timeline);
  return check.result(directory);
}

}  // namespace sublet::trace
